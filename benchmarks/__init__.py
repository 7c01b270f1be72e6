"""One file a benchmark, each with SUMMARY and run(settings) -> figures whose names carry their units."""
