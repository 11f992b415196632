"""Overlay: the segments in colour over the image, with outlines and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Integer, UInt8
from PIL import Image, ImageDraw, ImageFont

from upseg.errors import FormatError
from upseg.files import atomic_path
from upseg.formats.colours import segment_colours
from upseg.segmentation import Segmentation

_JPEG_QUALITY = 90
_BAND = 256  # rows blended at a time, so that a 24-megapixel image needs no second copy in floats
_PIXELS_PER_LINE = 900  # length of the image's longer side for each pixel of an outline's width
_SMALLEST_TEXT, _LARGEST_TEXT = 11, 26  # font sizes, for an image whose longer side is up to _PIXELS_PER_LINE
_TEXT_TO_DEPTH = 1.2  # font size for each pixel between the text's middle and the segment's border


def write_overlay(segmentation: Segmentation, path: Path, image: Float32[np.ndarray, "h w 3"] | None) -> Path:
    """Write `draw_overlay` as PNG, or as JPEG where the path ends so.

    Raises:
        FormatError: If there is no image.
    """
    if image is None:
        raise FormatError(
            f"{path}: an overlay needs the image that was segmented: give write(..., image=...), "
            "or use Segmentation.overlay(image)"
        )
    drawn = Image.fromarray(draw_overlay(segmentation, image))
    with atomic_path(path) as partial:
        if path.suffix.lower() in (".jpg", ".jpeg"):
            drawn.save(partial, format="JPEG", quality=_JPEG_QUALITY)
        else:
            drawn.save(partial, format="PNG")
    return path


def draw_overlay(
    segmentation: Segmentation,
    image: Float32[np.ndarray, "hi wi 3"],
    *,
    alpha: float = 0.5,
    outlines: bool = True,
) -> UInt8[np.ndarray, "hi wi 3"]:
    """Draw the segments in colour over the image they came from; void stays as it is.

    Segments with a category carry its name where it fits, at their pixel furthest from the border.

    Args:
        segmentation: (H, W) segments.
        image: (H, W, 3) RGB in [0, 1].
        alpha: Opacity of the colours, 0 to 1.
        outlines: Whether to draw the segments' borders, a light line along a dark one so that they show on any image.

    Raises:
        ValueError: If the image has another size, or alpha is not in [0, 1].

    Example:
        >>> segmentation = Segmentation.from_labels(np.array([[7, 7, 9]]))
        >>> draw_overlay(segmentation, np.zeros((1, 3, 3), np.float32), alpha=1.0, outlines=False).tolist()
        [[[86, 180, 233], [86, 180, 233], [230, 159, 0]]]
    """
    if image.shape[:2] != segmentation.shape:
        raise ValueError(
            f"the image must have the segmentation's height and width {segmentation.shape}, got {image.shape[:2]}"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    labels = segmentation.labels
    colours = np.concatenate((np.zeros((1, 3), np.uint8), segment_colours(segmentation)))
    canvas = np.empty(image.shape, np.uint8)
    for top in range(0, len(labels), _BAND):
        band = slice(top, top + _BAND)
        opacity = np.where(labels[band] > 0, np.float32(alpha), np.float32(0))[..., None]
        blended = np.clip(image[band], 0, 1) * 255 * (1 - opacity) + colours[labels[band]] * opacity
        canvas[band] = np.rint(blended)
    if outlines:
        _draw_outlines(canvas, labels)
    if any(segment.category is not None for segment in segmentation):
        return _draw_names(canvas, segmentation)
    return canvas


def draw_labels(segmentation: Segmentation) -> UInt8[np.ndarray, "h w 3"]:
    """The segments in colour, void in black.

    Example:
        >>> draw_labels(Segmentation.from_labels(np.array([[7, 0]]))).tolist()
        [[[86, 180, 233], [0, 0, 0]]]
    """
    colours = np.concatenate((np.zeros((1, 3), np.uint8), segment_colours(segmentation)))
    return np.asarray(colours[segmentation.labels])


def _draw_outlines(canvas: UInt8[np.ndarray, "h w 3"], labels: Integer[np.ndarray, "h w"]) -> None:
    from scipy import ndimage

    width = max(1, round(max(labels.shape) / _PIXELS_PER_LINE))
    light, dark = _outline_sides(labels)
    for axis in (0, 1):
        # each line grows away from the border, into its own side
        light = ndimage.maximum_filter1d(light, width, axis, mode="constant", origin=-(width // 2))
        dark = ndimage.maximum_filter1d(dark, width, axis, mode="constant", origin=(width - 1) // 2)
    canvas[dark] = canvas[dark] // 4
    canvas[light] = 255 - (255 - canvas[light]) // 4


def _outline_sides(
    labels: Integer[np.ndarray, "h w"],
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The pixels on the upper or left side of a border, and those on its lower or right side."""
    below = labels[1:] != labels[:-1]
    beside = labels[:, 1:] != labels[:, :-1]
    first, second = np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    first[:-1] |= below
    first[:, :-1] |= beside
    second[1:] |= below
    second[:, 1:] |= beside
    return first, second


def _draw_names(canvas: UInt8[np.ndarray, "h w 3"], segmentation: Segmentation) -> UInt8[np.ndarray, "h w 3"]:
    """Write the categories' names: white with a black rim."""
    from scipy import ndimage

    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    scale = max(1.0, max(segmentation.shape) / _PIXELS_PER_LINE)
    named = [segment for segment in segmentation if segment.category is not None]
    inside = ~np.logical_or(*_outline_sides(segmentation.labels))
    depth = ndimage.distance_transform_cdt(np.pad(inside, 1), "chessboard")[1:-1, 1:-1]
    places = ndimage.maximum_position(depth, segmentation.labels, [segment.id for segment in named])
    for segment, (row, column) in zip(named, places, strict=True):
        name = segment.category.name if segment.category is not None else ""
        room = float(depth[row, column])
        size = min(_LARGEST_TEXT * scale, _TEXT_TO_DEPTH * room)
        if size >= _SMALLEST_TEXT * scale:
            # a name that is too wide is set smaller, as far as it can still be read
            fitting = size * 2 * room / max(1.0, ImageFont.load_default(size).getlength(name))
            size = max(_SMALLEST_TEXT * scale, min(size, fitting))
            _draw_name(pen, name, size, (int(column), int(row)), picture.width)
    return np.asarray(picture)


def _draw_name(pen: ImageDraw.ImageDraw, name: str, size: float, place: tuple[int, int], width: int) -> None:
    """White text with a black rim, centred on (x, y) but kept within the picture's left and right edges."""
    font, rim = ImageFont.load_default(size), max(1, round(size / 10))
    left, _, right, _ = pen.textbbox(place, name, font=font, anchor="mm", stroke_width=rim)
    x = place[0] + max(0, -left) + min(0, width - right)
    pen.text((x, place[1]), name, font=font, fill="white", anchor="mm", stroke_width=rim, stroke_fill="black")
