"""Feature maps and labels for the tests of the losses of `entity`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from upseg.methods.entity.equations import unit_features


def random_raw(seed: int, images: int = 3, dimensions: int = 6, height: int = 9, width: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, dimensions, height, width, generator=generator, dtype=torch.float64)


def random_features(seed: int, images: int = 3, dimensions: int = 6, height: int = 9, width: int = 7) -> Tensor:
    return unit_features(random_raw(seed, images, dimensions, height, width))


def mixed_labels(seed: int, height: int = 9, width: int = 7) -> Tensor:
    """Three images: four entities, two of ids 2 and 5 (1, 3 and 4 were eroded away), one; ignored pixels in each."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 5, (3, height, width), generator=generator)
    labels[1] = torch.tensor([-1, 0, 2, 5])[labels[1] % 4]
    labels[2].clamp_(max=1)
    return labels


def image_of(features: Tensor, index: int) -> np.ndarray:
    """One image as the loops take it: (H, W, d)."""
    return features[index].permute(1, 2, 0).double().numpy()


def shuffled_pixels(seed: int, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.randperm(labels[0].numel(), generator=torch.Generator().manual_seed(seed))
    return features.flatten(2)[..., order].view_as(features), labels.flatten(1)[:, order].view_as(labels)


def random_signs(seed: int, features: Tensor) -> Tensor:
    """The same points of the projective sphere."""
    signs = torch.randint(0, 2, features[:, :1].shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return features * signs


def same_lines(first: Tensor, second: Tensor, tolerance: float = 1e-6) -> bool:
    """Whether lines agree up to sign; zero rows must be zero in both."""
    cosines = (first * second).sum(-1).abs()
    lengths = first.norm(dim=-1) * second.norm(dim=-1)
    return bool((lengths - cosines).abs().max() <= tolerance)
