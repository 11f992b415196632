"""Outlines on the pixel grid: which pixels a shape covers, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from upseg.data.shapes.outlines import Outline

_FINE = 3  # sample points along each side of a pixel; odd, so that one of them is the pixel's centre


@dataclass(frozen=True)
class Raster:
    """A shape within its bounding box on the image.

    Attributes:
        rows: The box's rows in the image.
        columns: The box's columns in the image.
        inside: (h, w) whether the pixel's centre lies in the shape: the ground truth.
        coverage: (h, w) share of the pixel's area that lies in the shape, 0 to 1: the image.
    """

    rows: slice
    columns: slice
    inside: Bool[np.ndarray, "h w"]
    coverage: Float32[np.ndarray, "h w"]

    @property
    def box(self) -> tuple[slice, slice]:
        """Index of the box in an image."""
        return self.rows, self.columns


def rasterise(outline: Outline, shape: tuple[int, int]) -> Raster | None:
    """Find the pixels of a shape; None if its bounding box lies outside the image.

    Args:
        outline: In pixels; pixel (r, c) is the unit square from corner (r, c).
        shape: (H, W) of the image.
    """
    limits = np.array(shape)
    first = np.clip(np.floor(outline.vertices.min(axis=0)), 0, limits).astype(int)
    last = np.clip(np.ceil(outline.vertices.max(axis=0)), 0, limits).astype(int)
    height, width = (last - first).tolist()
    if min(height, width) == 0:
        return None
    fine = Outline((outline.vertices - first) * _FINE, outline.offsets, outline.groups)
    runs = fine.runs((height * _FINE, width * _FINE))
    steps = np.zeros(height * width * _FINE**2 + 1, np.int16)
    np.add.at(steps, runs.starts, 1)
    np.add.at(steps, runs.stops, -1)
    filled = (np.cumsum(steps[:-1], dtype=np.int16) > 0).reshape(height * _FINE, width * _FINE)
    in_rows = np.add.reduce([filled[row::_FINE].view(np.uint8) for row in range(_FINE)], dtype=np.uint8)
    counts = np.add.reduce([in_rows[:, column::_FINE] for column in range(_FINE)], dtype=np.uint8)
    inside = filled[_FINE // 2 :: _FINE, _FINE // 2 :: _FINE].copy()
    return Raster(
        slice(int(first[0]), int(last[0])),
        slice(int(first[1]), int(last[1])),
        inside,
        counts.astype(np.float32) / np.float32(_FINE**2),
    )


def pixel_centres(raster: Raster) -> tuple[Float64[np.ndarray, "h 1"], Float64[np.ndarray, "1 w"]]:
    """Rows and columns in the image of the centres of the box's pixels."""
    rows = np.arange(raster.rows.start, raster.rows.stop) + 0.5
    columns = np.arange(raster.columns.start, raster.columns.stop) + 0.5
    return rows[:, None], columns[None]
