"""Pictures side by side, with captions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

_GAP = 1 / 60  # space around the pictures, as a share of their height
_TEXT = 1 / 18  # height of the captions, likewise


def side_by_side(images: Sequence[UInt8[np.ndarray, "_ _ 3"]], captions: Sequence[str]) -> UInt8[np.ndarray, "h w 3"]:
    """Put pictures in one row on white, each with its caption below.

    Args:
        images: RGB pictures of any sizes; they are scaled to the height of the first.
        captions: One text for each; empty for none. One that is wider than its picture is set smaller.

    Raises:
        ValueError: If there is no picture, or not one caption for each.

    Example:
        >>> grey = np.full((60, 80, 3), 128, np.uint8)
        >>> side_by_side([grey, grey], ["before", "after"]).shape
        (79, 166, 3)
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"give at least one picture and a caption for each, got {len(images)} and {len(captions)}")
    height = images[0].shape[0]
    pictures = [_scaled(image, height) for image in images]
    gap, text = max(2, round(height * _GAP)), max(10, round(height * _TEXT))
    foot = 2 * gap + round(1.3 * text) if any(captions) else gap
    width = sum(picture.width + gap for picture in pictures) + gap
    canvas = Image.new("RGB", (width, gap + height + foot), "white")
    pen = ImageDraw.Draw(canvas)
    left = gap
    for picture, caption in zip(pictures, captions, strict=True):
        canvas.paste(picture, (left, gap))
        middle = (left + picture.width / 2, gap + height + foot / 2)
        pen.text(middle, caption, font=_fitting_font(caption, text, picture.width), fill="black", anchor="mm")
        left += picture.width + gap
    return np.asarray(canvas)


def _scaled(image: UInt8[np.ndarray, "_ _ 3"], height: int) -> Image.Image:
    picture = Image.fromarray(image)
    if picture.height == height:
        return picture
    return picture.resize((max(1, round(picture.width * height / picture.height)), height), Image.Resampling.LANCZOS)


def _fitting_font(caption: str, size: int, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    font = ImageFont.load_default(size)
    wide = font.getlength(caption)
    return font if wide <= width else ImageFont.load_default(max(6.0, size * width / wide))
