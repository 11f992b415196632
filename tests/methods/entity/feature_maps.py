"""Made-up features: the lines that a trained network would give to the pixels of a label map, with noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def features_of(lines: np.ndarray, dimensions: int, noise: float = 0.0, seed: int = 0) -> Tensor:
    """(d, H, W) unit vectors of either sign; pixels with the same number in (H, W) `lines` share an axis, -1 has none.

    Noise is about the length of the vector that is added to each pixel's; above 1 there is more noise than line.
    """
    generator = torch.Generator().manual_seed(seed)
    axes = torch.cat((torch.eye(dimensions), torch.zeros(1, dimensions))).T
    features = axes[:, torch.from_numpy(lines)]
    features = F.normalize(features + noise * torch.randn(features.shape, generator=generator) / dimensions**0.5, dim=0)
    return features * torch.where(torch.rand(lines.shape, generator=generator) < 0.5, -1.0, 1.0)


def tissue(height: int, width: int, per_side: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Discs on an uneven grid, most of them touching: a label map, 0 between them, and their centres."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    steps = np.array([height, width]) / per_side
    labels, nearest = np.zeros((height, width), np.int32), np.full((height, width), np.inf)
    centres = []
    for number, cell in enumerate(np.ndindex(per_side, per_side), start=1):
        centre = (np.array(cell) + 0.5 + random.uniform(-0.1, 0.1, 2)) * steps
        distance = np.hypot((rows - centre[0]) / steps[0], (columns - centre[1]) / steps[1])
        disc = (distance < random.uniform(0.45, 0.6)) & (distance < nearest)
        labels[disc], nearest[disc] = number, distance[disc]
        centres.append(centre)
    return labels, np.array(centres)


def lines_for(centres: np.ndarray, dimensions: int, reach: float, seed: int = 0) -> np.ndarray:
    """A line for each object, 1..d - 1, not shared by objects with centres within `reach`; 0 for background."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(centres) + 1, np.int64)
    for number, centre in enumerate(centres, start=1):
        near = np.abs(centres[: number - 1] - centre).max(1) < reach
        free = np.setdiff1d(np.arange(1, dimensions), chosen[1:number][near])
        chosen[number] = random.choice(free)
    return chosen


def same_partition(first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray) -> bool:
    """Whether two labellings differ in names only."""
    a, b = np.ravel(first), np.ravel(second)
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))
