"""Ground truth to what a network of cells learns from: inside, borders, depth inside, and size."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int32
from scipy import ndimage
from torch import Tensor

from upseg.data.sample import Sample
from upseg.functional.label_maps import segment_areas, segment_boxes


class CellTargets:
    """Computes the targets of a sample; a `DataLoader` calls it in its workers.

    Args:
        diameter: The canonical one in pixels, that `size` is relative to.
        border: Pixels at most so far from two objects are border, in pixels; at least 1.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, diameter: float = 22.0, border: float = 2.0) -> None:
        if diameter <= 0 or border < 1:
            raise ValueError(f"diameter must be positive and border at least 1, got {diameter} and {border}")
        self.diameter, self.border = diameter, border

    def __call__(self, sample: Sample) -> Mapping[str, Tensor]:
        """Compute the targets of one sample.

        Returns:
            `labels`: (H, W) int64, k >= 1 object k, 0 background, `IGNORE` on crowds.
            `border`: (H, W) float32, 1 near two objects, else 0.
            `distance`: (H, W) float32 in [0, 1], 0 outside objects.
            `size`: (H, W) float32, natural logarithm of the object's diameter over the canonical one, 0 outside.
        """
        labels = sample.entity_map()
        objects = np.maximum(labels, 0)
        return {
            "labels": torch.from_numpy(labels).long(),
            "border": torch.from_numpy(touching_borders(objects, self.border).astype(np.float32)),
            "distance": torch.from_numpy(inner_distance(objects)),
            "size": torch.from_numpy(log_diameters(objects, self.diameter)),
        }


def inner_distance(labels: Int32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """How deep inside its object each pixel is: its distance to the rest over the largest in the object; 0 outside.

    Ids have no gaps. The image's edge is no rim: an object that it cuts goes on behind it.
    """
    depth = np.zeros(labels.shape, np.float32)
    for number, (top, left, bottom, right) in enumerate(segment_boxes(labels), start=1):
        inside = labels[top:bottom, left:right] == number
        at_edge = ((top == 0, bottom == labels.shape[0]), (left == 0, right == labels.shape[1]))
        rim = [tuple(int(not edge) for edge in side) for side in at_edge]
        padded = np.pad(inside, rim)
        # without any rim there is no distance to it
        distance: Float64[np.ndarray, "h2 w2"] = (
            np.ones(padded.shape) if padded.all() else ndimage.distance_transform_edt(padded)
        )
        inner = distance[rim[0][0] : distance.shape[0] - rim[0][1], rim[1][0] : distance.shape[1] - rim[1][1]]
        depth[top:bottom, left:right][inside] = (inner / inner.max())[inside]
    return depth


def touching_borders(labels: Int32[np.ndarray, "h w"], reach: float) -> Bool[np.ndarray, "h w"]:
    """The pixels with two objects (0 is background) within a reach of at least 1 pixel."""
    radius = math.floor(reach)
    offsets = np.arange(-radius, radius + 1)
    disk = offsets[:, None] ** 2 + offsets**2 <= reach**2
    highest = ndimage.maximum_filter(labels, footprint=disk, mode="nearest")
    beyond = np.int32(np.iinfo(np.int32).max)
    lowest = ndimage.minimum_filter(np.where(labels > 0, labels, beyond), footprint=disk, mode="nearest")
    return np.asarray((lowest < beyond) & (lowest != highest))


def log_diameters(labels: Int32[np.ndarray, "h w"], unit: float) -> Float32[np.ndarray, "h w"]:
    """Ln of the diameter of the disk with as many pixels as each pixel's object, in units of `unit`; 0 outside.

    Args:
        labels: (H, W) ids, 0 background.
        unit: In pixels.
    """
    areas = segment_areas(labels)
    logarithms = np.log(np.sqrt(np.maximum(areas, 1) * (4 / math.pi)) / unit).astype(np.float32)
    logarithms[0] = 0
    return np.asarray(logarithms[labels])
