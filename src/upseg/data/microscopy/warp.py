"""Windows of an image and its label map, scaled, turned and mirrored in one step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int32
from torch import Tensor

from upseg.functional.label_maps import connected_components

LARGEST_ASPECT = 1.15


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of an image is looked at, and how.

    Attributes:
        size: Side of the square result in pixels.
        centre: (row, column) in pixels of the image that the result's centre shows.
        factor: Pixels of the result for one of the image.
        angle: By which the window is turned, in radians.
        aspect: How much taller than wide things become.
        mirrored: Whether left and right are swapped.
    """

    size: int
    centre: tuple[float, float]
    factor: float
    angle: float = 0.0
    aspect: float = 1.0
    mirrored: bool = False

    def grid(self, height: int, width: int) -> Float32[Tensor, "1 s s 2"]:
        """Where each pixel of the result lies in an image of (height, width), as `grid_sample` takes it."""
        offsets = torch.arange(self.size, dtype=torch.float32) - (self.size - 1) / 2
        rows, columns = torch.meshgrid(offsets, -offsets if self.mirrored else offsets, indexing="ij")
        rows = rows / (self.factor * math.sqrt(self.aspect))
        columns = columns / (self.factor / math.sqrt(self.aspect))
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        down = cosine * rows - sine * columns + self.centre[0]
        right = sine * rows + cosine * columns + self.centre[1]
        return torch.stack(((2 * right + 1) / width - 1, (2 * down + 1) / height - 1), dim=-1)[None]


def warp(
    image: Float32[np.ndarray, "h w 3"], labels: Int32[np.ndarray, "h w"], window: Window
) -> tuple[Float32[np.ndarray, "s s 3"], Int32[np.ndarray, "s s"]]:
    """Look at an image and its label map (0 background) through a window; beyond the edges both are mirrored.

    Objects in a mirror are objects of their own, unless they touch the edge, where they grow together with what they
    mirror. Images that get smaller are averaged first, so that nothing flickers.

    Returns:
        Both as the window shows them; ids are new, 1..K, one for each connected part.
    """
    grid = window.grid(*labels.shape)
    colours = torch.from_numpy(image).permute(2, 0, 1)[None]
    if (side := math.floor(1 / window.factor)) > 1:
        colours = F.avg_pool2d(colours, side, ceil_mode=True, count_include_pad=False)
    shown = F.grid_sample(colours, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    ids = torch.from_numpy(labels.astype(np.float32))[None, None]
    seen = F.grid_sample(ids, grid, mode="nearest", padding_mode="reflection", align_corners=False)
    pixels: Float32[np.ndarray, "s s 3"] = shown[0].permute(1, 2, 0).contiguous().numpy()
    return pixels, connected_components(seen[0, 0].numpy().astype(np.int32))


def draw_window(
    labels: Int32[np.ndarray, "h w"], size: int, factor: float, rng: np.random.Generator, on_object: float
) -> Window:
    """A random window, turned by any angle.

    Args:
        labels: (H, W) ids, 0 background.
        size: Side of the result in pixels.
        factor: Pixels of the result for one of the image.
        rng: Where all choices come from.
        on_object: Probability that its centre is near to a pixel of some object, if there is one.
    """
    height, width = labels.shape
    centre = rng.uniform(0, height), rng.uniform(0, width)
    inside = np.flatnonzero(labels) if rng.random() < on_object else np.empty(0, np.int64)
    if len(inside):
        row, column = divmod(int(rng.choice(inside)), width)
        reach = size / factor / 3
        centre = row + rng.uniform(-reach, reach), column + rng.uniform(-reach, reach)
    centre = _kept_inside(centre[0], height, size / factor), _kept_inside(centre[1], width, size / factor)
    quarters = rng.integers(4) * math.pi / 2
    angle = quarters + (rng.uniform(-math.pi / 4, math.pi / 4) if rng.random() < 0.5 else 0.0)
    aspect = float(np.exp(rng.uniform(-1, 1) * math.log(LARGEST_ASPECT)))
    return Window(size, centre, factor, angle, aspect, bool(rng.random() < 0.5))


def _kept_inside(position: float, length: int, extent: float) -> float:
    """A window's centre such that it does not look beyond the edge more than it must."""
    half = min(extent, length) / 2
    return min(max(position, half), length - half)
