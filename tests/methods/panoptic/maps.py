"""Outputs and targets for the tests of the equations of `panoptic`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tests.reference.panoptic_equations import Bins, Positional, Rgb
from upseg.methods.panoptic.encodings import BinsEncoding, Encoding, PositionalEncoding, RgbEncoding

GRID = (6, 4)
ENCODINGS: dict[str, tuple[Encoding, Positional | Rgb | Bins]] = {
    "positional": (PositionalEncoding(GRID, 3), Positional(3, GRID)),
    "rgb": (RgbEncoding(GRID), Rgb(GRID)),
    "bins": (BinsEncoding(GRID), Bins(GRID)),
}
"""Each encoding, and its loops."""


class Truth(NamedTuple):
    """Three images: four instances, two of ids 2 and 5, none; ignored pixels in each.

    Attributes:
        labels: (3, H, W) ids, 0 none, -1 ignored.
        centres: (3, 2, H, W), not a number to be looked at outside of instances.
        inside: (3, H, W).
        weights: (3, H, W).
    """

    labels: Tensor
    centres: Tensor
    inside: Tensor
    weights: Tensor


def random_numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_truth(seed: int, height: int = 5, width: int = 4) -> Truth:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 5, (3, height, width), generator=generator)
    labels[1] = torch.tensor([-1, 0, 2, 5])[labels[1] % 4]
    labels[2].clamp_(max=0)
    table = torch.rand(3, 2, 6, generator=generator, dtype=torch.float64) * 1.6 - 0.8
    rows = labels.clamp_min(0).flatten(1)[:, None].expand(-1, 2, -1)
    centres = table.gather(2, rows).view(3, 2, height, width)
    weights = torch.rand(3, height, width, generator=generator, dtype=torch.float64)
    return Truth(labels, centres.where(labels[:, None] > 0, 7.0), labels > 0, weights)


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def mean_of_images(losses: list[float]) -> float:
    return sum(losses) / len(losses)
