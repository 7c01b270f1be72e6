"""Dagster assets, thin: each reads its inputs, calls one function from a lower floor, and writes its output."""
