"""Label map as a 32-bit TIFF: any number of segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from upseg.files import atomic_path
from upseg.formats.metadata import assemble_stored, facts_to_text, reading
from upseg.images.label_maps import read_label_map
from upseg.segmentation import Segmentation


def write_tif(segmentation: Segmentation, path: Path) -> Path:
    """Write the label map as one deflate-compressed page of unsigned 32-bit integers; the facts as ImageDescription."""
    import tifffile

    with atomic_path(path) as partial:
        tifffile.imwrite(
            partial,
            segmentation.labels.astype(np.uint32),
            photometric="minisblack",
            compression="zlib",
            description=facts_to_text(segmentation),
            metadata=None,
            software=False,
        )
    return path


def read_tif(path: Path) -> Segmentation:
    """Read a label map from a TIFF, ours or another program's: one page of whole numbers, 0 void.

    Raises:
        FormatError: If the file is broken, or has several pages or colours.
    """
    with reading(path, "a label TIFF"):
        return assemble_stored(read_label_map(path))
