"""Objects from a class mask alone, without an image: what a trained splitter has to be better than."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int32, Integer
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from upseg.functional.label_maps import canonical_order, connected_components, segment_areas, segment_boxes


def component_objects(
    classes: Integer[np.ndarray, "h w"], *, connectivity: int = 1, minimum_area: int = 0
) -> Int32[np.ndarray, "h w"]:
    """One object for each connected component of each class: touching objects of a class stay one.

    Args:
        classes: (H, W) numbers of classes, 0 no object.
        connectivity: 1 for the four neighbours that share an edge, 2 for all eight.
        minimum_area: Smaller components are left out, in pixels.

    Returns:
        (H, W) objects 1..K in the order of their first pixels, 0 for none.
    """
    return without_small(connected_components(classes, connectivity), minimum_area)


def distance_objects(
    classes: Integer[np.ndarray, "h w"], *, prominence: float = 1.0, connectivity: int = 1, minimum_area: int = 0
) -> Int32[np.ndarray, "h w"]:
    """One object for each peak of the distance to the class's border, cut by a watershed of that distance.

    Two peaks are two objects if the way between them falls by more than `prominence` below the lower one: touching
    discs come apart at their neck, and so do long or ragged objects that are one. Every component of a class is at
    least one object.

    Args:
        classes: (H, W) numbers of classes, 0 no object.
        prominence: In pixels, above 0.
        connectivity: 1 for the four neighbours that share an edge, 2 for all eight.
        minimum_area: Smaller objects are left out, in pixels.

    Returns:
        (H, W) objects 1..K in the order of their first pixels, 0 for none.

    Raises:
        ValueError: If `prominence` is not above 0.
    """
    if not prominence > 0:
        raise ValueError(f"prominence must be above 0, got {prominence}")
    components = connected_components(classes, connectivity)
    objects = np.zeros(classes.shape, np.int32)
    count = 0
    for number, (top, left, bottom, right) in enumerate(segment_boxes(components), start=1):
        around = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
        inside = components[around] == number  # one at a time, so that time and memory are those of its box
        parts = _divided(inside, prominence, connectivity)
        objects[around][inside] = parts[inside] + count
        count += int(parts.max())
    return without_small(canonical_order(objects)[0], minimum_area)


def without_small(objects: Int32[np.ndarray, "h w"], minimum_area: int) -> Int32[np.ndarray, "h w"]:
    """Leave out the objects with fewer pixels, and number the others anew in the same order.

    Args:
        objects: (H, W) objects 1..K, 0 for none.
        minimum_area: In pixels.
    """
    kept = segment_areas(objects) >= minimum_area
    kept[0] = False
    table: Int32[np.ndarray, " k1"] = np.cumsum(kept, dtype=np.int32)
    table[~kept] = 0
    numbered: Int32[np.ndarray, "h w"] = table[objects]
    return numbered


def _divided(inside: Bool[np.ndarray, "h w"], prominence: float, connectivity: int) -> Int32[np.ndarray, "h w"]:
    """The objects 1..K of one component; what lies beyond the map is no border of it."""
    if inside.all():
        return inside.astype(np.int32)
    distance = ndimage.distance_transform_edt(inside)
    if distance.max() <= 1 + prominence:  # at least 1 between two peaks, so the lower one is above this
        return inside.astype(np.int32)
    neighbours = ndimage.generate_binary_structure(2, connectivity)
    lowered = reconstruction(distance - prominence, distance, footprint=neighbours)  # type: ignore[no-untyped-call]
    maxima = local_maxima(lowered, footprint=neighbours)  # type: ignore[no-untyped-call]
    peaks = ndimage.label(maxima, neighbours)[0]
    flooded: Int32[np.ndarray, "h w"] = watershed(  # type: ignore[no-untyped-call]
        -distance, peaks, connectivity=neighbours, mask=inside
    ).astype(np.int32)
    return flooded
