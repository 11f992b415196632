"""Predictions in files against ground truth, under the papers' protocols; the metrics themselves are in `metrics`."""
