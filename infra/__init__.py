"""Configuration only: DeepSpeed JSON, dagster.yaml, the image, compose and Kubernetes files (docs/operations.md)."""
