"""Configuration only: DeepSpeed JSON and dagster.yaml."""
