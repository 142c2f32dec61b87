"""Measured figures of the project: one file a benchmark, each writes `results/<name>.json`."""
