"""Cutouts: each segment's pixels as a PNG with a transparent background, all of them in one ZIP archive."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from upseg.errors import FormatError
from upseg.files import atomic_path
from upseg.segmentation import Segmentation
from upseg.selection import cutout


def write_cutouts(segmentation: Segmentation, path: Path, image: Float32[np.ndarray, "h w 3"] | None) -> Path:
    """Write `1.png`, `2.png`, ...: the segments by id, each as large as its box, RGBA.

    Raises:
        FormatError: If there is no image.
    """
    if image is None:
        raise FormatError(
            f"{path}: cutouts need the image that was segmented: give write(..., image=...), "
            "or use Segmentation.cutout(id, image)"
        )
    digits = len(str(len(segmentation)))
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for segment in segmentation:
            data = io.BytesIO()
            Image.fromarray(cutout(segmentation, segment.id, image)).save(data, format="PNG")
            # its date is 1980 whenever it is written: same result, same bytes
            archive.writestr(zipfile.ZipInfo(f"{segment.id:0{digits}}.png"), data.getvalue())
    return path
