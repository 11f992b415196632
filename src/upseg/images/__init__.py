"""Any image in: decoding, TIFF, pixels."""

import logging

# what tifffile says about tags of damaged files: errors say what counts, and who sets up logging still gets it
logging.getLogger("tifffile").addHandler(logging.NullHandler())
