"""Images and label maps on disk, in tiles: nothing is ever whole in the memory of the server or of the browser."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Integer, UInt8
from PIL import Image

from upseg.files import atomic_path

TILE = 512
"""Side of a tile in pixels."""
_QUALITY = 88
_THUMBNAIL = 160


def level_count(shape: tuple[int, int]) -> int:
    """How many sizes of an image there are, each half of the one before, until one tile holds it.

    Example:
        >>> level_count((3000, 4000)), level_count((10, 10))
        (4, 1)
    """
    return max(1, int(np.ceil(np.log2(max(max(shape) / TILE, 1)))) + 1)


def store_picture(pixels: Float32[np.ndarray, "h w 3"], folder: Path, name: str = "picture") -> None:
    """Write an image in all its sizes.

    Args:
        pixels: RGB in [0, 1].
        folder: Gets `NAME-0.npy`, `NAME-1.npy`, ..., (H, W, 3) uint8.
        name: What the picture is called.
    """
    current = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), TILE):  # no second copy in floats
        band = slice(top, top + TILE)
        current[band] = np.rint(np.clip(pixels[band], 0, 1) * 255)
    for level in range(level_count((pixels.shape[0], pixels.shape[1]))):
        if level:
            current = np.asarray(Image.fromarray(current).reduce(2))
        with atomic_path(folder / f"{name}-{level}.npy") as partial, partial.open("wb") as file:
            np.save(file, current)
    thumbnail = Image.fromarray(current)
    thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
    with atomic_path(folder / f"{name}.jpg") as partial:
        thumbnail.save(partial, format="JPEG", quality=_QUALITY)


def read_picture(folder: Path, name: str = "picture") -> Float32[np.ndarray, "h w 3"]:
    """The image at its full size, RGB in [0, 1]."""
    return picture_part(folder, (slice(None), slice(None)), name)


def picture_part(folder: Path, box: tuple[slice, slice], name: str = "picture") -> Float32[np.ndarray, "h w 3"]:
    """A part of the image at its full size, RGB in [0, 1]; the rest is not read."""
    part: UInt8[np.ndarray, "h w 3"] = np.load(folder / f"{name}-0.npy", mmap_mode="r")[box]
    return part.astype(np.float32) / np.float32(255)


def picture_tile(folder: Path, level: int, row: int, column: int, name: str = "picture") -> bytes | None:
    """A tile as JPEG; None where there is none."""
    path = folder / f"{name}-{level}.npy"
    if not path.is_file():
        return None
    part = tile_of(np.load(path, mmap_mode="r"), row, column)
    if part.size == 0:
        return None
    with io.BytesIO() as file:
        Image.fromarray(np.ascontiguousarray(part)).save(file, format="JPEG", quality=_QUALITY)
        return file.getvalue()


def label_tile(labels: Integer[np.ndarray, "h w"], level: int, row: int, column: int) -> bytes | None:
    """A tile of a label map as little-endian int32, deflated; each pixel is the middle one of those it stands for."""
    step = 1 << level
    side = TILE * step
    part = labels[row * side : (row + 1) * side, column * side : (column + 1) * side]
    if part.size == 0:
        return None
    rows = np.minimum(np.arange(step // 2, part.shape[0] + step // 2, step), part.shape[0] - 1)
    columns = np.minimum(np.arange(step // 2, part.shape[1] + step // 2, step), part.shape[1] - 1)
    sampled = np.ascontiguousarray(part[rows][:, columns], dtype="<i4")
    return zlib.compress(sampled.tobytes(), 1)


def tile_of(array: Any, row: int, column: int) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a tile, empty where there is none."""
    part: UInt8[np.ndarray, "h w 3"] = array[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
    return part
