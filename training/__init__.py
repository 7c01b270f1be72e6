"""Recipes, data stream, networks, losses, methods, the loop, checkpoints. Knows no Dagster and no Ray."""
