"""From a network's maps to objects: peaks of the inner distance, flooded inside the foreground."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32
from scipy import ndimage
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from upseg.functional.label_maps import fill_enclosed_holes, segment_areas

LEVELS = 1000
"""Of the distance: what differs by less is one height, which makes plateaus of noise."""


@dataclass(frozen=True, eq=False)
class PixelMaps:
    """Probabilities of one image.

    Attributes:
        foreground: (H, W) of belonging to an object.
        border: (H, W) of being near to two objects.
        distance: (H, W) the inner distance, in [0, 1].
        size: (H, W) logarithm of the diameter in units of the canonical one.
    """

    foreground: Float32[np.ndarray, "h w"]
    border: Float32[np.ndarray, "h w"]
    distance: Float32[np.ndarray, "h w"]
    size: Float32[np.ndarray, "h w"]


@dataclass(frozen=True)
class FoundCells:
    """The objects of one image.

    Attributes:
        labels: (H, W) ids, 0 background; not every number up to the largest need occur.
        scores: For each id in the map its mean foreground probability.
    """

    labels: Int32[np.ndarray, "h w"]
    scores: Mapping[int, float]


def group_cells(
    maps: PixelMaps,
    *,
    foreground: float = 0.5,
    border_weight: float = 0.5,
    smoothing: float = 1.0,
    prominence: float = 0.1,
    minimum_area: float = 0.0,
    minimum_score: float = 0.0,
) -> FoundCells:
    """Each peak of the distance floods its surroundings; objects are parted where the floods meet.

    Args:
        maps: Of one image.
        foreground: Pixels above this probability belong to objects.
        border_weight: How much a border's probability lowers the distance.
        smoothing: Deviation of the smoothing of the distance in pixels.
        prominence: How far the distance must fall between two peaks.
        minimum_area: In pixels; smaller objects are left out.
        minimum_score: Objects with a lower mean foreground probability are left out.
    """
    labels, _ = flooded(maps, foreground, border_weight, smoothing, prominence)
    return without_doubtful(labels, maps.foreground, minimum_area, minimum_score)


def flooded(
    maps: PixelMaps, foreground: float, border_weight: float, smoothing: float, prominence: float
) -> tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]:
    """All objects, and the peaks that they were flooded from with the same numbers; arguments as of `group_cells`."""
    inside = maps.foreground > foreground
    relief = maps.distance - np.float32(border_weight) * maps.border
    if smoothing:
        relief = ndimage.gaussian_filter(relief, smoothing)
    markers = peaks(relief, inside, prominence)
    labels = watershed(-relief, markers, mask=inside).astype(np.int32)  # type: ignore[no-untyped-call]
    return fill_enclosed_holes(labels), markers


def without_doubtful(
    labels: Int32[np.ndarray, "h w"], foreground: Float32[np.ndarray, "h w"], minimum_area: float, minimum_score: float
) -> FoundCells:
    """The objects that are large and sure enough; arguments as of `group_cells`."""
    areas = segment_areas(labels)
    sums = np.bincount(labels.ravel(), foreground.ravel(), minlength=len(areas))
    scores = sums / np.maximum(areas, 1)
    wanted = (areas >= max(1.0, minimum_area)) & (scores >= minimum_score)
    wanted[0] = False
    kept = np.where(wanted[labels], labels, np.int32(0))
    return FoundCells(kept, {int(k): min(1.0, float(scores[k])) for k in np.flatnonzero(wanted)})


def peaks(
    relief: Float32[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"], prominence: float
) -> Int32[np.ndarray, "h w"]:
    """The parts of a relief that stand out by so much from the highest pass to anything higher.

    Args:
        relief: (H, W) heights.
        inside: (H, W) where to look; every connected part has at least one peak.
        prominence: Least height above the pass.

    Returns:
        (H, W) numbers of the peaks from 1, 0 elsewhere.
    """
    floor = float(relief.min(initial=0.0)) - 2 * prominence - 1
    # with low ground all around: what has none is no peak
    heights = np.pad(np.where(inside, np.round(relief * LEVELS) / LEVELS, floor), 1, constant_values=floor)
    least = max(prominence, 0.5 / LEVELS)
    filled = raised_under(np.maximum(heights - least, floor), heights)
    tops = inside & local_maxima(filled)[1:-1, 1:-1]  # type: ignore[no-untyped-call]
    return np.asarray(ndimage.label(tops, structure=np.ones((3, 3)))[0].astype(np.int32))


def raised_under(seed: Float32[np.ndarray, "h w"], heights: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Morphological reconstruction by dilation, over all eight neighbours: the seed grown as far as heights let it.

    Sweeps down, up, right and left, a row at a time, until nothing changes: objects are round, and a few are enough,
    where `skimage.morphology.reconstruction` sorts all pixels.

    Args:
        seed: (H, W), nowhere above `heights`.
        heights: (H, W).
    """
    raised, before = seed.copy(), np.empty_like(seed)
    across = np.ascontiguousarray(heights.T)
    while not np.array_equal(raised, before):
        np.copyto(before, raised)
        _sweep(raised, heights)
        _sweep(raised[::-1], heights[::-1])
        turned = np.ascontiguousarray(raised.T)
        _sweep(turned, across)
        _sweep(turned[::-1], across[::-1])
        np.copyto(raised, turned.T)
    return raised


def _sweep(raised: Float32[np.ndarray, "h w"], heights: Float32[np.ndarray, "h w"]) -> None:
    """Let each row, in order, rise to the one before it and to its neighbours to the left and right, in place."""
    highest = np.empty_like(raised[0])
    for above, row, limit in zip(raised[:-1], raised[1:], heights[1:], strict=True):
        np.maximum(row, above, out=highest)
        np.maximum(highest[1:], above[:-1], out=highest[1:])
        np.maximum(highest[:-1], above[1:], out=highest[:-1])
        np.minimum(highest, limit, out=row)


def typical_diameter(maps: PixelMaps, cells: FoundCells, canonical: float, least: int = 3) -> float | None:
    """The median diameter of an image's objects in pixels, as the network says it.

    Each object says the mean of its pixels' sizes. That is more than it can be seen to have where it is cut. Objects
    count by their diameter: crumbs into which one seen too large falls are many.

    Args:
        maps: Of the image.
        cells: Found in them.
        canonical: The diameter that sizes are relative to.
        least: With fewer objects there is no answer.

    Returns:
        The diameter, or None.
    """
    if len(cells.scores) < least:
        return None
    areas = segment_areas(cells.labels)
    sums = np.bincount(cells.labels.ravel(), maps.size.ravel(), minlength=len(areas))
    found = np.array(sorted(cells.scores))
    sizes = sums[found] / areas[found]
    order = np.argsort(sizes)
    below = np.cumsum(np.sqrt(areas[found])[order])
    return canonical * math.exp(float(sizes[order][np.searchsorted(below, below[-1] / 2)]))
