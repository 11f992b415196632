"""Metrics, one per file: plain functions of one image, and accumulators over a data set."""
