"""Class masks in, instances out."""
