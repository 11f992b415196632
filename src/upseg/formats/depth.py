"""Depth as a grey PNG of 16 bits, and as a picture in colour beside it."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import PngImagePlugin

from upseg.errors import FormatError
from upseg.files import parse_json, write_picture
from upseg.formats.metadata import VERSION, check_version, dump_json, object_of, reading
from upseg.images.label_maps import read_label_map
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Segmentation

DEPTH_SUFFIX = ".depth.png"
PICTURE_SUFFIX = ".depth-picture.png"
MILLIMETRES = 1000  # for each metre
LARGEST = 65_535
_KEY = "upseg-depth"  # keyword of the text chunk
_UNKNOWN = (128, 128, 128)  # no colour of the map is so grey
_DARKEST, _LIGHTEST = 15.0, 92.0  # CIE L*
_FAR_HUE, _NEAR_HUE = 305.0, 95.0  # degrees in CIE a*b*: violet to yellow, over blue and green
_LEAST_CHROMA, _LEAST_AT, _CHROMA_GROWTH = 25.0, 0.37, 95.0  # a parabola within what screens can show


def write_depth(segmentation: Segmentation, path: Path, depth: PredictedDepth | None) -> Path:
    """Write `write_depth_png` of an image that was segmented, and `colour_depth` as a picture.

    Returns:
        The 16-bit PNG.

    Raises:
        FormatError: If there is no depth, or its size is not the segmentation's.
    """
    if depth is None:
        raise FormatError(
            f"{path}: this needs the depth that a model predicted with the segments: give write(..., depth=...)"
        )
    if depth.shape != segmentation.shape:
        raise FormatError(f"{path}: the segmentation is of {segmentation.shape} pixels, the depth of {depth.shape}")
    main, picture = depth_pair(path)
    write_picture(picture, colour_depth(depth))
    return write_depth_png(depth, main)


def depth_pair(path: Path) -> tuple[Path, Path]:
    """The 16-bit PNG and the picture beside it.

    Raises:
        FormatError: If the name does not end in `DEPTH_SUFFIX`.
    """
    if not path.name.lower().endswith(DEPTH_SUFFIX):
        raise FormatError(f"{path}: the name of a file with depth must end in {DEPTH_SUFFIX}")
    return path, path.with_name(path.name[: -len(DEPTH_SUFFIX)] + PICTURE_SUFFIX)


def write_depth_png(depth: PredictedDepth, path: Path) -> Path:
    """Write a grey PNG of 16 bits: millimetres, or relative disparity times 65,535; 0 is unknown in both.

    A text chunk says which of the two it is. Metres are rounded to whole millimetres, from 1 on.

    Warns:
        UserWarning: If a depth is beyond 65.535 m, which is what such pixels get.
    """
    scale = MILLIMETRES if depth.is_metric else LARGEST
    numbers = np.rint(depth.values * np.float64(scale))
    if beyond := int(np.count_nonzero(numbers > LARGEST)):
        warnings.warn(
            f"{path}: {beyond} pixels are deeper than {LARGEST / MILLIMETRES} m, the most that 16 bits of millimetres "
            "can say, and are written as that",
            stacklevel=2,
        )
    codes = np.where(depth.values > 0, np.clip(numbers, 1, LARGEST), 0).astype(np.uint16)
    text = PngImagePlugin.PngInfo()
    text.add_itxt(_KEY, dump_json({"upseg": VERSION, "unit": "millimetre" if depth.is_metric else "disparity"}))
    return write_picture(path, codes, pnginfo=text)


def read_depth_png(path: Path) -> PredictedDepth:
    """Read what `write_depth_png` wrote, or another program's PNG of millimetres.

    Raises:
        FormatError: If the file is broken, or not grey with 8 or 16 bits.
    """
    with reading(path, "a depth PNG"):
        stored = read_label_map(path, key=_KEY)
        if stored.has_palette:
            raise ValueError("depth is a grey image, this one is in colour")
        is_metric = stored.note is None or _is_metric(stored.note)
        return PredictedDepth((stored.values / (MILLIMETRES if is_metric else LARGEST)).astype(np.float32), is_metric)


def colour_depth(depth: PredictedDepth) -> UInt8[np.ndarray, "h w 3"]:
    """Depth in colour: yellow is the nearest of the image, dark violet the farthest, grey unknown.

    Returns:
        (H, W, 3) RGB.
    """
    nearness = depth.nearness
    known = ~np.isnan(nearness)
    table = np.concatenate((depth_colours(), np.array([_UNKNOWN], np.uint8)))
    numbers = np.where(known, np.rint(np.where(known, nearness, 0) * (len(table) - 2)), len(table) - 1)
    return np.asarray(table[numbers.astype(np.uint16)])


@cache
def depth_colours() -> UInt8[np.ndarray, "256 3"]:
    """256 RGB colours from far to near that look equally far from one to the next: a way through CIE L*a*b*.

    L* grows with each step, so that the order can be seen on a grey print and by colour-blind people too.
    """
    from skimage.color import lab2rgb

    share = np.linspace(0, 1, 4096)
    chroma = _LEAST_CHROMA + _CHROMA_GROWTH * (share - _LEAST_AT) ** 2
    hue = np.deg2rad(_FAR_HUE + (_NEAR_HUE - _FAR_HUE) * share)
    lightness = _DARKEST + (_LIGHTEST - _DARKEST) * share
    way = np.stack((lightness, chroma * np.cos(hue), chroma * np.sin(hue)), axis=1)
    length = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))))
    even = np.linspace(0, length[-1], 256)
    colours = lab2rgb(np.stack([np.interp(even, length, axis) for axis in way.T], axis=1))
    table: UInt8[np.ndarray, "256 3"] = np.rint(colours * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


def _is_metric(text: str) -> bool:
    data = object_of(parse_json(text), "the metadata")
    check_version(data.get("upseg"))
    if data.get("unit") not in ("millimetre", "disparity"):
        raise ValueError(f"its unit must be millimetre or disparity, got {data.get('unit')!r:.40}")
    return bool(data["unit"] == "millimetre")
