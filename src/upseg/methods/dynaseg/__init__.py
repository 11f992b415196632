"""DynaSeg: unsupervised segmentation of one image by a small network fitted to it."""
