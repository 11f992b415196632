"""Label map as a 32-bit TIFF: any number of segments."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from upseg.files import atomic_path
from upseg.formats.metadata import assemble_stored, facts_to_text, reading
from upseg.images.label_maps import read_label_map
from upseg.segmentation import Segmentation


def write_tif(segmentation: Segmentation, path: Path) -> Path:
    """Write the label map as one page, as `write_label_pages` does; the facts as ImageDescription."""
    return write_label_pages([segmentation.labels], path, facts_to_text(segmentation))


def write_label_pages(
    maps: Iterable[Int32[np.ndarray, "h w"]], path: Path, description: str, *, bigtiff: bool = False
) -> Path:
    """Write label maps as deflate-compressed pages of unsigned 32-bit integers; one of them is in memory at a time.

    Args:
        maps: (H, W) each, all of one size.
        path: Where to.
        description: The ImageDescription of the first page.
        bigtiff: Whether there may be more than four gigabytes.
    """
    import tifffile

    with atomic_path(path) as partial, tifffile.TiffWriter(partial, bigtiff=bigtiff) as file:
        for number, labels in enumerate(maps):
            file.write(
                labels.astype(np.uint32),
                photometric="minisblack",
                compression="zlib",
                description=None if number else description,
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
