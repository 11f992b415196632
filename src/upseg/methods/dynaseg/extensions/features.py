"""What networks that know photos say about an image: frozen maps that regions and borders are compared by."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from upseg.functional.resizing import resize_image, scaled_size
from upseg.layers.folding import folded
from upseg.methods.dynaseg.extensions.embedding import load_embedding
from upseg.methods.dynaseg.extensions.lite0 import Lite0Stages

FIRST_LEVEL = 1
"""The level at stride 2 is left out: it sees little more than colours do."""
COMPONENTS = 16
"""Principal components that are kept of each level; with these two thirds of the numbers need not be compared."""
LEAST_PIXELS, MOST_ENLARGED = 90_000, 4.0
"""Smaller images are enlarged for the networks, which know photos, but at most so many times a side."""
LEAST_DEVIATION = 1e-3
"""Channels that vary less over the image are not blown up."""


class PhotoMaps(NamedTuple):
    """What the pretrained networks say about one image, on the CPU.

    Attributes:
        features: One (1, F, H2, W2) map per level, finest first: those of ImageNet at strides 4, 8 and 16, then the
            embedding at stride 4. Only distances between their values mean something.
        boundary: (1, 1, H2, W2) in [0, 1] at stride 4: whether a border between entities passes there.
        size: (1, 1, H2, W2) at stride 4: log2 of the square root of the area of the entity each pixel belongs to.
    """

    features: tuple[Float[Tensor, "1 _ _ _"], ...] = ()
    boundary: Float[Tensor, "1 1 _ _"] | None = None
    size: Float[Tensor, "1 1 _ _"] | None = None


@torch.no_grad()
def photo_maps(image: Float[Tensor, "1 3 h w"], compare_by: Literal["colour", "imagenet", "photos"]) -> PhotoMaps:
    """What regions of an RGB image in [0, 1] are compared by beside colours.

    `imagenet`: of the levels of a network that names what photos show, each channel has zero mean and unit variance
    over the image; a level is turned to its principal components and divided so that the variances of its channels sum
    to 1. `photos`: the same, and the maps of the network that was trained on outlined entities. `colour`: nothing.
    """
    if compare_by == "colour":
        return PhotoMaps()
    height, width = image.shape[-2:]
    factor = min(max((LEAST_PIXELS / (height * width)) ** 0.5, 1.0), MOST_ENLARGED)
    if factor > 1:
        image = resize_image(image, scaled_size(height, width, factor)).clamp(0, 1)
    levels = _stages().to(image.device)(image.contiguous(memory_format=torch.channels_last))
    frozen = tuple(_principal_components(level.float().cpu()) for level in levels[FIRST_LEVEL:])
    if compare_by == "imagenet":
        return PhotoMaps(frozen)
    embedding, boundary, size = (found.float().cpu() for found in load_embedding().to(image.device)(levels))
    return PhotoMaps((*frozen, embedding.contiguous()), boundary.sigmoid(), size - math.log2(factor))


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
    return folded(Lite0Stages())


def _principal_components(level: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 f h w"]:
    values = level[0].flatten(1)
    values = values - values.mean(1, keepdim=True)
    values = values / values.std(1, keepdim=True, correction=0).clamp(min=LEAST_DEVIATION)
    channels, count = values.shape
    _, vectors = torch.linalg.eigh(values @ values.T / count)  # ascending
    components: Tensor = vectors.flip(1)[:, :COMPONENTS].T @ values / channels**0.5
    return components.view(1, -1, *level.shape[2:])
