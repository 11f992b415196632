"""From a network's maps to objects: peaks of the inner distance, flooded inside the foreground."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32
from scipy import ndimage
from skimage.segmentation import watershed

from upseg.functional.label_maps import fill_enclosed_holes, segment_areas
from upseg.functional.peaks import prominent_peaks

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
    # in levels, so that the last digits make no peaks
    markers = prominent_peaks(np.round(relief * LEVELS) / LEVELS, inside, max(prominence, 0.5 / LEVELS))
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
