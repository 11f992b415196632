"""Any image in: decoding, TIFF, pixels."""
