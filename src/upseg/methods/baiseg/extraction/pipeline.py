"""The mask extraction pipeline from a boundary map to instances, stage by stage (Appendix C)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from scipy import ndimage

from upseg.functional.label_maps import canonical_order, connected_components
from upseg.functional.peaks import prominent_peaks
from upseg.methods.baiseg.extraction.flooding import flood_relief, seeded_watershed, touching, with_unmarked
from upseg.methods.baiseg.extraction.markers import distance_transform, markers
from upseg.methods.baiseg.extraction.refinement import close_masks, remove_small_objects, semantic_filter
from upseg.methods.baiseg.extraction.thinning import dilate, non_maximum_suppression, without_specks
from upseg.methods.baiseg.settings import BaisegSettings

COMPACT = 4.0
"""A closed region that the dilation swallowed is an object if its area is at most that of so many discs of its radius.

What is longer lies between a boundary and the edge of the semantic region, or between two runs of one boundary.
"""
CORE = 4
"""And if it has at least so many pixels: objects of 20 have 6 inside of their outline, corners of others fewer."""
CONTACT = 0.5
"""Distance in pixels from a region's last pixel to a region of things on the other side of the contour."""


@dataclass(frozen=True, eq=False)
class ExtractedInstances:
    """The instances of the classes of things.

    Attributes:
        labels: (H, W) ids 1..K by first pixel, 0 void.
        classes: For each id the position of its class.
    """

    labels: Int32[np.ndarray, "h w"]
    classes: Mapping[int, int]


def extract(
    boundary: Float32[np.ndarray, "h w"],
    classes: Int64[np.ndarray, "h w"] | None,
    is_thing: Bool[np.ndarray, " c"],
    settings: BaisegSettings,
    image: Float32[np.ndarray, "h w 3"] | None = None,
    stages: dict[str, Any] | None = None,
) -> ExtractedInstances:
    """Cut the things of one image into instances along their boundaries.

    Paper: Sec. 3.6, Appendix C: thin, dilate, distance, threshold, label, watershed, closing, semantic filter.

    Choices where the paper is silent: lines of a few pixels far from others are noise; peaks are compared by their
    height before the dilation; small closed regions that it swallowed still get a marker; a connected part of a class
    of things that has no marker is one instance.
    Pieces of fewer than `minimum_area` pixels become holes, which refinement gives to the instances around them: it
    closes and fills them, and floods once more what is left. So all pixels of a class of things belong to an instance,
    but for parts that are too small themselves.

    Args:
        boundary: (H, W) probabilities, in [0, 1].
        classes: (H, W) positions of classes, -1 for none; None where nothing is known: then the whole image is cut into
            pieces of the first class of things.
        is_thing: (C,) which classes are things.
        settings: Everything from `boundary_threshold` to `minimum_area`.
        image: (H, W, 3) RGB in [0, 1], for the watershed in its gradient.
        stages: Filled with each stage's map, if given: `thinned`, `dilated`, `distance`, `markers`, `watershed`,
            `closed` (all of the refinement but the semantic filter), `filtered`; with the setting `prominence` without
            the first two.

    Raises:
        ValueError: If the shapes do not fit together, or the watershed lacks its image.
    """
    if classes is not None and classes.shape != boundary.shape:
        raise ValueError(f"boundary and classes must have one (H, W), got {boundary.shape} and {classes.shape}")
    if classes is None:
        classes = np.full(boundary.shape, int(is_thing.argmax()) if is_thing.any() else -1, np.int64)
    stages = {} if stages is None else stages
    heights = flood_relief(boundary, image, settings.flood)
    if boundary.size == 0:
        return ExtractedInstances(np.zeros(boundary.shape, np.int32), {})
    regions = _regions(classes, is_thing, settings)
    if settings.prominence is None:
        seeds = _marked(boundary, regions, settings, stages)
    else:
        heights, seeds = _peaks(boundary, regions, settings.prominence, settings.boundary_depth, stages)
    stages["watershed"] = labels = seeded_watershed(heights, with_unmarked(seeds, regions), regions)
    labels = remove_small_objects(labels, settings.minimum_area)
    if settings.refine:
        labels = remove_small_objects(_closed_within(labels, regions, settings.closing), settings.minimum_area)
        labels = seeded_watershed(heights, with_unmarked(labels, regions), regions)
    else:
        labels = with_unmarked(labels, regions)
    stages["closed"] = labels
    labels, kinds = semantic_filter(labels, classes, is_thing, settings.minimum_area, cut=settings.refine)
    labels, ids = canonical_order(labels)
    stages["filtered"] = labels
    return ExtractedInstances(labels, {number: kinds[int(old)] for number, old in enumerate(ids, start=1)})


def region_distance(lines: Bool[np.ndarray, "h w"], regions: Int32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """The distance to the nearest line or pixel of another region (from 1); 0 on lines and where there is no region.

    Contours between two regions are boundaries between pixels: no pixel of either side gets lost.
    """
    blocked = lines | (regions == 0)
    if not touching(regions):
        return distance_transform(blocked)
    beside = np.zeros(regions.shape, bool)
    for one, two in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        beside[one] |= (regions[one] != regions[two]) & (regions[two] > 0)
        beside[:, one] |= (regions[:, one] != regions[:, two]) & (regions[:, two] > 0)
    beside &= ~blocked
    distance = distance_transform(blocked | beside)
    distance[beside] = CONTACT
    return distance


def _regions(
    classes: Int64[np.ndarray, "h w"], is_thing: Bool[np.ndarray, " c"], settings: BaisegSettings
) -> Int32[np.ndarray, "h w"]:
    """Where markers lie and grow: each class of things is a region from 1; or all is one, if contours do not count."""
    if not settings.semantic_contours:
        return np.ones(classes.shape, np.int32)
    numbers = np.append(np.where(is_thing, np.arange(1, len(is_thing) + 1), 0), 0).astype(np.int32)
    return np.asarray(numbers[classes])


def _marked(
    boundary: Float32[np.ndarray, "h w"],
    regions: Int32[np.ndarray, "h w"],
    settings: BaisegSettings,
    stages: dict[str, Any],
) -> Int32[np.ndarray, "h w"]:
    """The markers of stages one and two."""
    contours = region_distance(np.zeros(regions.shape, bool), regions) if settings.semantic_contours else None
    stages["thinned"] = thin = non_maximum_suppression(boundary, settings.boundary_threshold, contours)
    lines = without_specks(thin > 0, settings.dilations)
    stages["dilated"] = thick = dilate(lines, settings.dilations)
    stages["distance"] = distance = region_distance(thick, regions)
    if settings.distance_threshold is not None:
        far = distance > settings.distance_threshold * distance.max(initial=0)
        stages["markers"] = seeds = connected_components(np.where(far, regions, 0))
        return seeds
    # the dilation took pixels from all sides of peaks and passes alike: they are compared as they were before
    heights = np.where(distance > 0, distance + np.float32(settings.dilations), 0)
    seeds = markers(heights, settings.marker_ratio, regions if touching(regions) else None)
    stages["markers"] = seeds = _with_swallowed(seeds, lines, regions, settings.marker_ratio)
    return seeds


def _peaks(
    boundary: Float32[np.ndarray, "h w"],
    regions: Int32[np.ndarray, "h w"],
    prominence: float,
    depth: float,
    stages: dict[str, Any],
) -> tuple[Float32[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]:
    """The relief to flood and markers in it, by contours and boundaries together; ours, for stages one and two.

    Where objects are of one size and round, the contour alone parts most of those that touch; the boundary map deepens
    the necks between them, and may have gaps where they are narrow.
    """
    distance = region_distance(np.zeros(regions.shape, bool), regions)
    relief = distance - np.float32(depth) * boundary
    seeds = np.zeros(regions.shape, np.int32)
    for number, box in enumerate(ndimage.find_objects(regions), start=1):
        if box is not None:
            found = prominent_peaks(relief[box], regions[box] == number, prominence)
            seeds[box][found > 0] = found[found > 0] + seeds.max()
    stages["distance"], stages["markers"] = relief, seeds
    return -relief, seeds


def _with_swallowed(
    seeds: Int32[np.ndarray, "h w"], lines: Bool[np.ndarray, "h w"], regions: Int32[np.ndarray, "h w"], ratio: float
) -> Int32[np.ndarray, "h w"]:
    """Add the markers of compact regions closed by the thin lines that are all boundary once those are dilated."""
    parts = connected_components(np.where(lines, 0, regions))
    areas = np.bincount(parts.ravel())
    areas[np.unique(parts[seeds > 0])] = 0
    areas[areas < CORE] = 0
    areas[0] = 0
    if not areas.any():
        return seeds
    distance = distance_transform(areas[parts] == 0)
    radius = np.zeros(len(areas), np.float32)
    np.maximum.at(radius, parts.ravel(), distance.ravel())
    compact = (areas > 0) & (areas <= COMPACT * np.pi * radius * radius)
    distance[~compact[parts]] = 0
    found = markers(distance, ratio, parts)
    return np.where(found > 0, found + int(seeds.max()), seeds)


def _closed_within(
    labels: Int32[np.ndarray, "h w"], regions: Int32[np.ndarray, "h w"], diameter: int
) -> Int32[np.ndarray, "h w"]:
    """Close masks without the pixels that are in another region than the instance."""
    region_of = np.zeros(int(labels.max()) + 1, np.int32)
    region_of[labels.ravel()] = regions.ravel()
    result = close_masks(labels, diameter)
    result[region_of[result] != regions] = 0
    return result
