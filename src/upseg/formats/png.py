"""Label map as a grey PNG of 8 or 16 bits: each pixel is its segment's id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import PngImagePlugin

from upseg.errors import FormatError
from upseg.files import write_picture
from upseg.formats.metadata import assemble_stored, facts_to_text, reading
from upseg.images.label_maps import read_label_map
from upseg.segmentation import Segmentation

MOST_SEGMENTS = 65_535
_KEY = "upseg"  # keyword of the text chunk


def write_png(segmentation: Segmentation, path: Path) -> Path:
    """Write the label map as grey PNG: 8 bits up to 255 segments, 16 bits up to 65,535; the facts as a text chunk.

    Raises:
        FormatError: If there are more segments.
    """
    count = len(segmentation)
    if count > MOST_SEGMENTS:
        raise FormatError(
            f"{path}: a label PNG holds at most {MOST_SEGMENTS:,} segments, got {count:,}; "
            "use tif, npz or coco, which have no such limit"
        )
    labels = segmentation.labels.astype(np.uint8 if count <= 255 else np.uint16)
    text = PngImagePlugin.PngInfo()
    text.add_itxt(_KEY, facts_to_text(segmentation))  # not compressed: Pillow refuses compressed texts over 1 MB
    return write_picture(path, labels, pnginfo=text)


def read_png(path: Path) -> Segmentation:
    """Read a label map from a grey or palette PNG, ours or another program's.

    Another program's grey values or palette indices are the segments, 0 is void; in a palette PNG so is 255, as in the
    files of PASCAL VOC.

    Raises:
        FormatError: If the file is broken or in colour.
    """
    with reading(path, "a label PNG"):
        return assemble_stored(read_label_map(path, key=_KEY))
