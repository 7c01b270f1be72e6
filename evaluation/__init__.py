"""The judge: pairs, metrics, baselines, statistics, report, gate. Knows no Dagster, no Ray, no trainer internals."""
