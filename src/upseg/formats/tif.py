"""Label map as a 32-bit TIFF: any number of segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from upseg.files import atomic_path
from upseg.formats.metadata import Facts, assemble, facts_from_text, facts_to_text, label_map_of, reading, size_of
from upseg.segmentation import Segmentation

_OURS = '{"upseg":'  # how our ImageDescription begins


def write_tif(segmentation: Segmentation, path: Path) -> Path:
    """Write the label map as one deflate-compressed page of unsigned 32-bit integers; the facts as ImageDescription."""
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
    """Read a label map from a TIFF, ours or another program's: one page of integers, 0 void.

    Raises:
        FormatError: If the file is broken, is not one page of one integer channel, or is compressed in a way that needs
            the package imagecodecs while that is not installed.
    """
    with reading(path, "a label TIFF"), tifffile.TiffFile(path) as file:
        if len(file.pages) != 1:
            raise ValueError(f"a label map is one page, this file has {len(file.pages)}")
        page = file.pages.first
        size_of(*page.shape[:2])  # before anything is decoded
        labels = label_map_of(np.asarray(page.asarray()))
        description = page.description
        return assemble(labels, facts_from_text(description) if description.startswith(_OURS) else Facts())
