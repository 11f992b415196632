"""Label map as a grey PNG of 8 or 16 bits: each pixel is its segment's id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import Image, PngImagePlugin

from upseg.errors import FormatError
from upseg.files import atomic_path
from upseg.formats.metadata import Facts, assemble, facts_from_text, facts_to_text, label_map_of, reading, size_of
from upseg.segmentation import Segmentation

MOST_SEGMENTS = 65_535
_KEY = "upseg"  # keyword of the text chunk
_VOC_VOID = 255  # the unlabelled border in the palette PNGs of PASCAL VOC
_GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L")


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
    with atomic_path(path) as partial:
        Image.fromarray(labels).save(partial, format="PNG", pnginfo=text)
    return path


def read_png(path: Path) -> Segmentation:
    """Read a label map from a grey or palette PNG, ours or another program's.

    Another program's grey values or palette indices are the segments, 0 is void; in a palette PNG so is 255, as in the
    files of PASCAL VOC.

    Raises:
        FormatError: If the file is broken or in colour.
    """
    with reading(path, "a label PNG"):
        pixels, palette, text = load_png(path)
        pixels = label_map_of(pixels)
        if text is not None:
            return assemble(pixels, facts_from_text(text))
        if palette:
            pixels = np.where(pixels == _VOC_VOID, 0, pixels)
        return assemble(pixels, Facts())


def load_png(path: Path, *, key: str = _KEY) -> tuple[Shaped[np.ndarray, "h w *channels"], bool, str | None]:
    """The pixels of a PNG, whether they are palette indices, and our text chunk `key`; call it inside `reading`.

    Opened as PNG and nothing else, and without Pillow's own limit of pixels, which warns first: `size_of` has one.
    """
    with PngImagePlugin.PngImageFile(path) as image:
        size_of(image.height, image.width)
        image.load()
        text = image.text.get(key)
        if image.mode in _GREY_MODES:
            return np.asarray(image), False, text
        if image.mode == "P":
            return np.asarray(image), True, text
        return np.asarray(image.convert("RGB")), False, text
