"""What photos with outlined entities taught: an embedding of each pixel that differs between entities.

A small network over the frozen maps of `lite0`, trained on COCO by `tools/train_photos.py`. Its answers are only
compared between regions of one image: it does not say what a thing is, and it never sees borders sharply; the atoms do.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from upseg.layers.pretrained_weights import shipped_weights

LEVEL_CHANNELS = (16, 24, 40, 112)
"""Of the levels of `Lite0Stages`, strides 2, 4, 8 and 16."""
CONTEXT_CHANNELS = 64
CHANNELS = 48
DIMENSIONS = 24
"""Of the embedding."""
WEIGHTS = "photo_embedding"


class EmbeddingMaps(NamedTuple):
    """What the network says, at stride 4.

    Attributes:
        embedding: (B, 24, H, W): Euclidean distances between pixels of one entity are below `EntityEmbedding.margin`,
            those between pixels of different entities above it.
        boundary: (B, 1, H, W) logits: whether a border of entities passes through these 4 x 4 pixels.
        size: (B, 1, H, W) log2 of the square root of the area, in pixels, of the entity the pixel belongs to.
    """

    embedding: Float[Tensor, "b d h w"]
    boundary: Float[Tensor, "b 1 h w"]
    size: Float[Tensor, "b 1 h w"]


class EntityEmbedding(nn.Module):
    """The frozen levels, coarse to fine, to an embedding, a boundary and a size of entity for each 4 x 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        context, width = CONTEXT_CHANNELS, CHANNELS
        self.standardise = nn.ModuleList([Standardise(channels) for channels in LEVEL_CHANNELS])
        first, second, third, fourth = LEVEL_CHANNELS
        self.enter16 = nn.Conv2d(fourth, context, 1)
        self.near16 = nn.Conv2d(context, context, 3, padding=1)
        self.far16 = nn.Conv2d(context, context, 3, padding=3, dilation=3)
        self.leave16 = nn.Conv2d(context, width, 1)
        self.enter8 = nn.Conv2d(third, width, 1)
        self.near8 = nn.Conv2d(width, width, 3, padding=1)
        self.enter4 = nn.Conv2d(second, width, 1)
        self.enter2 = nn.Conv2d(first, width, 2, stride=2)
        self.near4 = nn.Conv2d(width, width, 3, padding=1)
        self.last4 = nn.Conv2d(width, width, 3, padding=1)
        self.embedding = nn.Conv2d(width, DIMENSIONS, 1)
        self.boundary = nn.Conv2d(width, 1, 1)
        self.size = nn.Conv2d(width, 1, 1)
        self.margin_logit = nn.Parameter(torch.tensor(2.0))

    @property
    def margin(self) -> Float[Tensor, ""]:
        """The distance at which two pixels are as likely of one entity as of two."""
        return F.softplus(self.margin_logit) + 1

    def forward(self, levels: list[Float[Tensor, "b _ _ _"]]) -> EmbeddingMaps:
        """The maps of what `Lite0Stages` gives for an image: each (B, channels, ⌈H / 4⌉, ⌈W / 4⌉)."""
        at2, at4, at8, at16 = (change(level) for change, level in zip(self.standardise, levels, strict=True))
        coarse = F.relu(self.enter16(at16))
        coarse = coarse + F.relu(self.near16(coarse))
        coarse = coarse + F.relu(self.far16(coarse))
        middle = self.enter8(at8)
        middle = F.relu(middle + _enlarged(self.leave16(coarse), middle))
        middle = middle + F.relu(self.near8(middle))
        odd = at2.shape[-1] % 2, at2.shape[-2] % 2
        fine = self.enter4(at4) + self.enter2(F.pad(at2, (0, odd[0], 0, odd[1])))
        fine = F.relu(fine + _enlarged(middle, fine))
        fine = fine + F.relu(self.near4(fine))
        fine = fine + F.relu(self.last4(fine))
        return EmbeddingMaps(self.embedding(fine), self.boundary(fine), self.size(fine))


class Standardise(nn.Module):
    """Channels less their mean, in units of their deviation, both measured once on training photos."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def forward(self, level: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Standardise (B, C, H, W) features."""
        return (level - self.mean) / self.deviation


def load_embedding(weights: Path | None = None) -> EntityEmbedding:
    """The trained network, frozen, in float32.

    Args:
        weights: A `.safetensors` file as `tools/train_photos.py` writes it; None for the one that comes with the
            package, which is read once.
    """
    return _shipped() if weights is None else _read(weights)


@cache
def _shipped() -> EntityEmbedding:
    return _read(shipped_weights(WEIGHTS))


def _read(file: Path) -> EntityEmbedding:
    network = EntityEmbedding()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(file).items()})
    return network.requires_grad_(False).eval().to(memory_format=torch.channels_last)


def _enlarged(features: Float[Tensor, "b c h w"], to: Float[Tensor, "b d h2 w2"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(features, size=to.shape[-2:], mode="bilinear", align_corners=False)
