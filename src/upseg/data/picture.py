"""Pictures of samples, to see whether a data set is read as it is meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from PIL import Image, ImageDraw, ImageFont

from upseg.data.sample import Sample
from upseg.formats.colours import segment_colours
from upseg.formats.depth import colour_depth
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Segmentation

_HEIGHT = 320  # pixels of a row
_LONGEST_NAME = 40  # characters of a sample's name
_NAMELESS = "(no category)"
_MOST_ANNOTATORS = 3  # maps shown of one image
_LINE, _SWATCH = 18, 12  # pixels of a line of the list of names, and of the square before each


def draw_samples(samples: Sequence[Sample]) -> UInt8[np.ndarray, "h w 3"]:
    """Draw one row for each sample: the image, its segments over it, what they are, further annotators' maps, depth.

    Raises:
        ValueError: If there is no sample.
        DataError: If an image cannot be decoded.

    Example:
        >>> from upseg.data import draw_scene
        >>> draw_samples([draw_scene(7), draw_scene(8)]).shape[0]
        716
    """
    if not samples:
        raise ValueError("there is no sample to draw")
    rows = [_draw_row(sample) for sample in samples]
    width = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    )


def _draw_row(sample: Sample) -> UInt8[np.ndarray, "h w 3"]:
    image = _resized(np.clip(sample.image * 255 + 0.5, 0, 255).astype(np.uint8), Image.Resampling.LANCZOS)
    shape = (image.shape[0], image.shape[1])
    as_floats: Float32[np.ndarray, "h w 3"] = image.astype(np.float32) / np.float32(255)
    pictures, captions = [image], [_shortened(sample.name)]
    if sample.segments:
        shown = Segmentation.from_labels(_nearest(sample.segment_map, shape), categories=sample.categories)
        pictures.append(draw_overlay(shown, as_floats, alpha=0.6))
        captions.append(f"{len(sample.segments)} segments")
        if sample.categories:
            pictures.append(_draw_names(sample, shown))
            captions.append("")
    for number, other in enumerate(sample.annotations[1:_MOST_ANNOTATORS], start=2):
        pictures.append(draw_overlay(Segmentation.from_labels(_nearest(other, shape)), as_floats, alpha=0.6))
        captions.append(f"annotator {number} of {len(sample.annotations)}")
    if sample.depth is not None:
        known = sample.depth[sample.depth > 0]
        depth = PredictedDepth(sample.depth.copy(), is_metric=True)  # it makes what it is given read-only
        pictures.append(_resized(colour_depth(depth), Image.Resampling.NEAREST))
        captions.append(f"depth {known.min():.2f} to {known.max():.2f} m" if known.size else "no depth")
    return side_by_side(pictures, captions)


def _shortened(name: str) -> str:
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}\u2026{name[-half:]}"


def _resized(image: UInt8[np.ndarray, "_ _ 3"], how: Image.Resampling) -> UInt8[np.ndarray, "h w 3"]:
    """The image at the height of a row."""
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((max(1, round(width * _HEIGHT / height)), _HEIGHT), how))


def _nearest(labels: Int32[np.ndarray, "_ _"], shape: tuple[int, int]) -> Int32[np.ndarray, "h w"]:
    """The label map at another size."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
        for old, new in zip(labels.shape, shape, strict=True)
    )
    return np.asarray(labels[rows[:, None], columns])


def _draw_names(sample: Sample, shown: Segmentation) -> UInt8[np.ndarray, "h w 3"]:
    """A list of the classes with their colours and how many segments each has, the largest first.

    Args:
        sample: The sample.
        shown: Its segments as they are drawn, without those that are too small for the picture.
    """
    areas: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    crowds: Counter[str] = Counter()
    for segment in sample.segments:
        name = _NAMELESS if segment.category is None else segment.category.name
        areas[name] += segment.area
        counts[name] += 1
        crowds[name] += segment.is_crowd
    swatches: dict[str, tuple[int, ...]] = {}
    for drawn, colour in zip(shown, segment_colours(shown).tolist(), strict=True):
        swatches.setdefault(_NAMELESS if drawn.category is None else drawn.category.name, tuple(colour))
    ranked = [name for name, _ in areas.most_common()]
    lines = [(_line(name, counts[name], crowds[name]), swatches.get(name)) for name in ranked]
    fitting = _HEIGHT // _LINE - 1
    if len(lines) > fitting:
        lines = [*lines[: fitting - 1], (f"and {len(lines) - fitting + 1} more", None)]
    font = ImageFont.load_default(12)
    width = round(max(font.getlength(line) for line, _ in lines)) + _SWATCH + 14
    canvas = Image.new("RGB", (width, _HEIGHT), "white")
    pen = ImageDraw.Draw(canvas)
    for number, (line, swatch) in enumerate(lines):
        top = 4 + number * _LINE
        if swatch is not None:
            pen.rectangle((2, top + 2, 2 + _SWATCH, top + 2 + _SWATCH), fill=swatch)
        pen.text((8 + _SWATCH, top), line, font=font, fill="black")
    return np.asarray(canvas)


def _line(name: str, count: int, crowds: int) -> str:
    number = f"{count} x " if count > 1 else ""
    return f"{number}{name}" + (f" ({crowds} crowd)" if crowds else "")
