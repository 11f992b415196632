"""The watershed that grows markers into instances (Appendix C, stage three), and the relief in which it rises."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int32
from scipy import ndimage
from skimage.segmentation import watershed

from upseg.functional.label_maps import connected_components

GRADIENT = 1.0
"""Deviation in pixels of the smoothing in the image's gradient."""


def flood_relief(
    boundary: Float32[np.ndarray, "h w"],
    image: Float32[np.ndarray, "rows columns 3"] | None,
    flood: Literal["boundary", "image"],
) -> Float32[np.ndarray, "h w"]:
    """What the watershed rises in: the boundary map, or the image's largest gradient among its colours.

    Args:
        boundary: (H, W) probabilities.
        image: (H, W, 3) RGB in [0, 1]; only needed for its gradient.
        flood: Which of them.

    Raises:
        ValueError: If there is no image of the boundary map's size to take the gradient of.
    """
    if flood == "boundary":
        return boundary
    if image is None or image.shape[:2] != boundary.shape:
        found = "none" if image is None else f"one of {image.shape[:2]}"
        raise ValueError(f"to flood the image's gradient, an image of {boundary.shape} pixels is needed, got {found}")
    steepest = np.zeros_like(boundary)
    for colour in range(3):
        gradient = ndimage.gaussian_gradient_magnitude(image[..., colour], GRADIENT, mode="nearest")
        np.maximum(steepest, gradient, out=steepest)
    return steepest


def seeded_watershed(
    relief: Float32[np.ndarray, "h w"], markers: Int32[np.ndarray, "h w"], regions: Int32[np.ndarray, "h w"]
) -> Int32[np.ndarray, "h w"]:
    """Grow markers over the unmarked pixels of their region, the lowest first, until they meet.

    Paper: Appendix C, stage three. Pixels are neighbours if they share an edge.

    Args:
        relief: (H, W) heights.
        markers: (H, W) ids, 0 for none.
        regions: (H, W) regions from 1; no marker grows from one into another, nor into 0.

    Returns:
        (H, W) ids of `markers`, 0 outside of the regions and where no marker gets to.
    """
    labels = np.where(regions > 0, markers, 0).astype(np.int32)
    if not touching(regions):
        _flood(relief, labels, regions > 0)
        return labels
    for number, box in enumerate(ndimage.find_objects(regions), start=1):
        if box is not None:
            _flood(relief[box], labels[box], regions[box] == number)
    return labels


def touching(regions: Int32[np.ndarray, "h w"]) -> bool:
    """Whether a pixel of one region shares an edge with one of another; 0 is none."""
    return any(
        bool(((one != two) & (one > 0) & (two > 0)).any())
        for one, two in ((regions[1:], regions[:-1]), (regions[:, 1:], regions[:, :-1]))
    )


def with_unmarked(markers: Int32[np.ndarray, "h w"], regions: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Give each connected part of a region (from 1) that has no marker at all one of its own: the whole part.

    A choice, for the paper is silent: what is thin everywhere is all boundary, and would get lost.
    """
    parts = connected_components(regions)
    unmarked = np.ones(int(parts.max(initial=0)) + 1, bool)
    unmarked[parts[markers > 0]] = False
    unmarked[0] = False
    if not unmarked.any():
        return markers
    ids = np.zeros(len(unmarked), np.int32)
    ids[unmarked] = int(markers.max()) + np.arange(1, int(unmarked.sum()) + 1)
    return np.where(markers > 0, markers, ids[parts])


def _flood(
    relief: Float32[np.ndarray, "h w"], labels: Int32[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"]
) -> None:
    """Grow the labels in place. Of the labelled pixels only those beside an unlabelled one take part."""
    free = inside & (labels == 0)
    if not free.any():
        return
    rim = ndimage.binary_dilation(free) & inside & (labels > 0)
    rows, columns = (np.flatnonzero((free | rim).any(axis=axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    seeds = np.where(rim[box], labels[box], 0)
    grown = watershed(relief[box], seeds, mask=(free | rim)[box])  # type: ignore[no-untyped-call]
    labels[box][free[box]] = grown[free[box]]
