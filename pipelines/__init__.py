"""Dagster wiring and the `samae` command line: the only code that knows where it runs."""
