"""What ImageNet has to say about an image: frozen feature maps that regions are compared by."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from upseg.methods.dynaseg.extensions.lite0 import Lite0Stages

FIRST_LEVEL = 1
"""The level at stride 2 is left out: it sees little more than colours do."""
COMPONENTS = 16
"""Principal components that are kept of each level; with these two thirds of the numbers need not be compared."""
LEAST_DEVIATION = 1e-3
"""Channels that vary less over the image are not blown up."""


@torch.no_grad()
def imagenet_features(image: Float[Tensor, "1 3 h w"]) -> list[Float[Tensor, "1 _ _ _"]]:
    """Feature maps at strides 4, 8 and 16, made comparable within the image.

    Each channel has zero mean and unit variance over the image; a level is turned to its principal components and
    divided so that the variances of its channels sum to 1. Only distances between its values mean something.

    Args:
        image: (1, 3, H, W) in [0, 1].

    Returns:
        One (1, up to 16, ⌈H / stride⌉, ⌈W / stride⌉) map per level on the CPU, finest first.
    """
    levels = _stages().to(image.device)(image)
    return [_principal_components(level.float().cpu()) for level in levels[FIRST_LEVEL:]]


def sample_features(
    features: Float[Tensor, "1 f h2 w2"], rows: Int64[Tensor, " n"], columns: Int64[Tensor, " n"], size: tuple[int, int]
) -> Float[Tensor, "f n"]:
    """The values of a map at some pixels of the (H, W) image it belongs to, linear between its own: (F, N)."""
    height, width = size
    places = torch.stack(((columns + 0.5) / width, (rows + 0.5) / height), dim=-1) * 2 - 1
    values = F.grid_sample(features, places[None, None], padding_mode="border", align_corners=False)
    return values[0, :, 0]


@cache
def _stages() -> Lite0Stages:
    return Lite0Stages()


def _principal_components(level: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 f h w"]:
    values = level[0].flatten(1)
    values = values - values.mean(1, keepdim=True)
    values = values / values.std(1, keepdim=True, correction=0).clamp(min=LEAST_DEVIATION)
    channels, count = values.shape
    _, vectors = torch.linalg.eigh(values @ values.T / count)  # ascending
    components: Tensor = vectors.flip(1)[:, :COMPONENTS].T @ values / channels**0.5
    return components.view(1, -1, *level.shape[2:])
