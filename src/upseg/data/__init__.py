"""Ground truth: one type, readers of data sets, made-up scenes, transforms."""
