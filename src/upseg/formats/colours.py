"""Colours for segments: the same in every run, and told apart by colour-blind people too."""

from __future__ import annotations

from collections import Counter

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8

from upseg.functional.label_maps import neighbour_pairs
from upseg.segmentation import Category, Segmentation

# Okabe and Ito, Color Universal Design (2008), without the black, in the order in which the least difference
# between neighbours is largest, for the kind of eye (all cones, or one kind missing) for which it is least.
OKABE_ITO: UInt8[np.ndarray, "7 3"] = np.array(
    [
        (86, 180, 233),  # sky blue
        (230, 159, 0),  # orange
        (0, 114, 178),  # blue
        (240, 228, 66),  # yellow
        (0, 158, 115),  # bluish green
        (213, 94, 0),  # vermillion
        (204, 121, 167),  # reddish purple
    ],
    np.uint8,
)
# Shares of white (positive) or black (negative) for the rounds through the seven hues.
_TINTS: Float64[np.ndarray, " t"] = np.array((0.0, 0.55, -0.5, 0.3, -0.3))
_HUE_COUNT = len(OKABE_ITO)
_COLOUR_COUNT = _HUE_COUNT * len(_TINTS)  # colour number n has the hue n mod 7 and the tint n // 7

_THIN = 60  # what is thinner than this fraction of the image does not part the segments on its two sides


def segment_colours(segments: Segmentation | int) -> UInt8[np.ndarray, "k 3"]:
    """RGB colours of the segments 1..K.

    A category has one hue, and its segments differ in lightness. A segment without a category has the colour of its
    id, of which there are 35 before they repeat; where a larger neighbour has that hue, it takes the next hue that
    none of its larger neighbours has.

    Args:
        segments: The segments to colour, or just their number.

    Example:
        >>> segment_colours(2).tolist()
        [[86, 180, 233], [230, 159, 0]]
    """
    if isinstance(segments, int):
        return _to_rgb(np.arange(segments) % _COLOUR_COUNT)
    fixed = _category_colours(segments)
    neighbours = _neighbours(segments.labels, len(segments))
    chosen: dict[int, int] = dict(fixed)
    for segment in sorted(segments, key=lambda s: (-s.area, s.id)):
        if segment.id not in fixed:
            around = {chosen[other] for other in neighbours[segment.id].tolist() if other in chosen}
            chosen[segment.id] = _free_colour((segment.id - 1) % _COLOUR_COUNT, around)
    return _to_rgb(np.array([chosen[segment.id] for segment in segments], np.int64))


def class_colour(category: Category) -> list[int]:
    """The RGB colour of a class, from which those of its segments are made."""
    colour: list[int] = OKABE_ITO[category.id % _HUE_COUNT].tolist()
    return colour


def _category_colours(segmentation: Segmentation) -> dict[int, int]:
    """Colour numbers by segment id: the hue from the category, the tint from the count of its segments so far."""
    seen: Counter[int] = Counter()
    numbers = {}
    for segment in segmentation:
        if segment.category is not None:
            # the eighth category has the first one's hue, but begins at another tint
            rounds, hue = divmod(segment.category.id, _HUE_COUNT)
            numbers[segment.id] = (hue + (rounds + seen[segment.category.id]) * _HUE_COUNT) % _COLOUR_COUNT
            seen[segment.category.id] += 1
    return numbers


def _free_colour(wanted: int, around: set[int]) -> int:
    """The first colour from `wanted` on with a hue that is not around, or else that is not itself around."""
    hues = {number % _HUE_COUNT for number in around}
    for step in range(_HUE_COUNT):
        number = (wanted + step) % _COLOUR_COUNT
        if number % _HUE_COUNT not in hues:
            return number
    order = ((wanted + step) % _COLOUR_COUNT for step in range(_COLOUR_COUNT))
    return next((number for number in order if number not in around), wanted)


def _neighbours(labels: Int32[np.ndarray, "h w"], count: int) -> list[Int64[np.ndarray, " n"]]:
    """For each id 0..count the segments that share a pixel edge with it, or lie straight across a thin one from it."""
    small, large = neighbour_pairs(labels, {1, max(1, max(labels.shape) // _THIN)}).T
    owners, others = np.concatenate((small, large)), np.concatenate((large, small))
    order = np.argsort(owners, kind="stable")
    return np.split(others[order], np.searchsorted(owners[order], np.arange(1, count + 1)))


def _to_rgb(numbers: Int64[np.ndarray, " k"]) -> UInt8[np.ndarray, "k 3"]:
    tints, hues = np.divmod(numbers, _HUE_COUNT)
    share = _TINTS[tints][:, None]
    mixed = OKABE_ITO[hues] * (1 - np.abs(share)) + np.where(share > 0, 255.0, 0.0) * np.abs(share)
    return np.asarray(np.rint(mixed).astype(np.uint8))
