"""The feature generator: a timm backbone, four chained RefineNet fusion blocks, and a head of three convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upseg.layers.backbone import TimmBackbone
from upseg.layers.refinenet import RefineNetDecoder
from upseg.methods.entity.extensions.positions import PointedWaves, PositionChannels


class EntityNetwork(nn.Module):
    """Image → raw features, one per pixel; normalised, they are points of the projective sphere.

    Paper: Sec. 3.6. With the defaults it has about 101 million parameters, the paper's figure. There is no batch
    normalisation but in the backbones that come with one (ConvNeXt has none).

    Args:
        backbone: Name of a timm model that gives feature maps at four strides.
        channels: Of the decoder.
        dimensions: d, of the features.
        positions: Period in pixels of the position channels beside the finest level and of the head's `PointedWaves`;
            None for none, as in the paper.
        pretrained: Whether the backbone starts from published weights, downloaded once.

    Raises:
        ModelError: If there is no such backbone, or its weights cannot be had.
        ValueError: If `channels` or `dimensions` is below 1, or `positions` below 2.
    """

    def __init__(
        self,
        backbone: str = "convnext_base",
        channels: int = 256,
        dimensions: int = 128,
        positions: int | None = None,
        *,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if channels < 1 or dimensions < 1:
            raise ValueError(f"channels and dimensions must be at least 1, got {channels} and {dimensions}")
        self.dimensions = dimensions
        self.backbone = TimmBackbone(backbone, pretrained=pretrained)
        finest, *coarser = self.backbone.channels
        self.positions: PositionChannels | None = None
        if positions is not None:
            self.positions = PositionChannels(positions, self.backbone.strides[0])
            finest += self.positions.channels
        self.decoder = RefineNetDecoder([finest, *coarser], channels)
        self.head = FeatureHead(channels, dimensions, positions)
        for module in [*self.decoder.modules(), *self.head.modules()]:
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)  # otherwise all pixels of a new network share nearly one line

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h w"]:
        """Compute raw features.

        Args:
            images: (B, 3, H, W) RGB values in [0, 1], of any size from 1x1 up.

        Returns:
            (B, d, H, W) in [-1, 1], of any length; the method divides by it.
        """
        height, width = images.shape[-2:]
        padded = self.backbone.padded_size((height, width))
        levels = self.backbone(images)
        if self.positions is not None:
            levels[0] = self.positions(levels[0])
        merged = self.decoder(levels, [2 * side for side in levels[0].shape[-2:]])
        raw: Tensor = self.head(merged, padded)
        return raw[..., :height, :width]


class FeatureHead(nn.Module):
    """Three convolutions that bring features back to the image's size, and tanh.

    3x3 to half the channels before the upsampling, 3x3 to d channels after it (MiDaS's 32 if that is more), then 1x1
    to d. Fewer than d in the middle would confine all features to as many dimensions before tanh, and so the number of
    entities that can be orthogonal.

    The first weights of each filter have the mean 0. What comes in is positive and alike everywhere, and other filters
    would turn that into one line that nearly all pixels of a new network share.

    Args:
        channels: C, of the input.
        dimensions: d, of the output.
        positions: Period in pixels of the `PointedWaves` that are added before tanh; None for none, as in the paper.
    """

    def __init__(self, channels: int, dimensions: int, positions: int | None = None) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, max(channels // 2, 1), 3, padding=1)
        self.expand = nn.Conv2d(self.reduce.out_channels, max(dimensions, 32), 3, padding=1)
        self.output = nn.Conv2d(self.expand.out_channels, dimensions, 1)
        with torch.no_grad():
            for convolution in (self.reduce, self.expand, self.output):
                convolution.weight -= convolution.weight.mean((1, 2, 3), keepdim=True)
        self.waves: PointedWaves | None = None
        if positions is not None:
            self.waves = PointedWaves(self.expand.out_channels, dimensions, positions)

    def forward(self, features: Float[Tensor, "b c h w"], size: Sequence[int]) -> Float[Tensor, "b d h2 w2"]:
        """Raw features (B, d, *size), in [-1, 1], of decoder features (B, C, H, W)."""
        reduced = F.relu(self.reduce(features), inplace=True)
        upsampled = F.interpolate(reduced, size=tuple(size), mode="bilinear", align_corners=False)
        expanded = F.relu(self.expand(upsampled), inplace=True)
        raw = self.output(expanded)
        return torch.tanh(raw if self.waves is None else raw + self.waves(expanded))
