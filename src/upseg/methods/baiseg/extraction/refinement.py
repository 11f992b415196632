"""What Appendix C calls refinement: masks are closed, and cut down to the semantic region of their class."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Int32, Int64
from scipy import ndimage

from upseg.functional.label_maps import connected_components, fill_enclosed_holes

BLOCK_ROWS = 512
"""Counted at once, so that memory stays bounded."""


def close_masks(labels: Int32[np.ndarray, "h w"], diameter: int) -> Int32[np.ndarray, "h w"]:
    """Close the mask of each instance with a disc of an odd diameter, and fill its holes; only void (0) is taken.

    Paper: Appendix C, "a (5, 5) elliptical structure to perform dilation followed by erosion". A pixel that two
    instances could take goes to the one of the smaller id; a hole is filled only if all around it is one instance. The
    image's edge closes nothing.
    """
    result = labels.copy()
    if labels.all():
        return result
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or labels[box].all():
            continue
        mask = _closed_mask(labels[box] == number, diameter)
        part = result[box]
        part[mask & (part == 0)] = number
    return fill_enclosed_holes(result)


def semantic_filter(
    labels: Int32[np.ndarray, "h w"],
    classes: Int64[np.ndarray, "h w"],
    is_thing: Bool[np.ndarray, " c"],
    minimum_area: int,
    *,
    cut: bool = True,
) -> tuple[Int32[np.ndarray, "h w"], dict[int, int]]:
    """Give each instance the class that most of its pixels have, and take the pixels of other classes from it.

    Paper: Appendix C, "to select only the pixels within the semantic region". An instance is dropped if more than half
    of its pixels are of no class of things; otherwise classes of things alone have a vote.

    Args:
        labels: (H, W) ids, 0 void.
        classes: (H, W) positions of classes, -1 for none.
        is_thing: (C,) which are things; pixels of other classes belong to no instance.
        minimum_area: In pixels; what is left of an instance in parts smaller than this is dropped.
        cut: Whether to take pixels of other things too.

    Returns:
        (H, W) ids, and the class of each id that is still there.
    """
    counts = _class_counts(labels, classes, len(is_thing)) * is_thing
    majority = counts.argmax(axis=1)
    mostly_things = 2 * counts.sum(axis=1) >= np.bincount(labels.ravel(), minlength=len(counts))
    thing_at = np.append(is_thing, np.False_)  # the last is that of no class, -1
    kept = np.where(thing_at[classes] & mostly_things[labels], labels, 0)
    if cut:
        kept[majority[kept] != classes] = 0
    kept = remove_small_objects(kept, minimum_area)
    left = np.flatnonzero(np.bincount(kept.ravel(), minlength=1))
    return kept, {int(number): int(majority[number]) for number in left if number}


def remove_small_objects(labels: Int32[np.ndarray, "h w"], minimum_area: int) -> Int32[np.ndarray, "h w"]:
    """Make void (0) the 4-connected parts of instances that have fewer pixels."""
    if minimum_area <= 1 or labels.size == 0:
        return labels
    parts = connected_components(labels)
    return np.asarray(np.where(np.bincount(parts.ravel())[parts] < minimum_area, 0, labels))


def _closed_mask(mask: Bool[np.ndarray, "h w"], diameter: int) -> Bool[np.ndarray, "h w"]:
    # room for the dilated mask, and as much again, so that erosion sees void on all sides of it
    padded = np.pad(mask, 2 * (diameter // 2))
    grown = ~_dilated_by_disc(padded, diameter)
    inner = slice(diameter // 2 * 2, -(diameter // 2 * 2) or None)
    return ~_dilated_by_disc(grown, diameter)[inner, inner]


def _dilated_by_disc(mask: Bool[np.ndarray, "h w"], diameter: int) -> Bool[np.ndarray, "h w"]:
    """Dilation: each row of the disc is a stretch, found from the next shorter one, and moved up and down."""
    radius = diameter // 2
    result, stretched, reach = np.zeros_like(mask), mask.copy(), 0
    for down in range(radius, -1, -1):
        wanted = round(math.sqrt(radius * radius - down * down))  # how far the disc reaches to either side there
        while reach < wanted:
            reach += 1
            stretched[:, reach:] |= mask[:, :-reach]
            stretched[:, :-reach] |= mask[:, reach:]
        result[down:] |= stretched[: len(mask) - down]
        result[: len(mask) - down] |= stretched[down:]
    return result


def _class_counts(
    labels: Int32[np.ndarray, "h w"], classes: Int64[np.ndarray, "h w"], count: int
) -> Int64[np.ndarray, "k1 c"]:
    """How many pixels of each class each id has."""
    ids = int(labels.max(initial=0)) + 1
    counts = np.zeros(ids * count, np.int64)
    for start in range(0, len(labels), BLOCK_ROWS):
        part, kinds = labels[start : start + BLOCK_ROWS], classes[start : start + BLOCK_ROWS]
        known = kinds >= 0
        counts += np.bincount(part[known].astype(np.int64) * count + kinds[known], minlength=len(counts))
    return counts.reshape(ids, count)
