"""The feature generator: a timm backbone, four chained RefineNet fusion blocks, and a head of three convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upseg.layers.backbone import TimmBackbone
from upseg.layers.refinenet import RefineNetDecoder


class PointedWaves(nn.Module):
    """Where each pixel points to, as a code in which places a few pixels apart are orthogonal.

    Each pixel chooses a displacement and a strength; plane waves at its displaced place, times the strength, are mapped
    to d dimensions. All pixels of an object that point to one place have one line, and objects that lie apart have
    different lines from the first step on, which a convolutional network learns only slowly by itself. (Novotny et al.,
    "Semi-convolutional Operators for Instance Segmentation", 2018, add the coordinates themselves; lines need a bounded
    code.) The waves have up to two whole periods in each direction, so places a fifth of the period apart are
    nearly orthogonal, and a whole period apart the same.

    Args:
        channels: C, of the features that displacement and strength are computed from.
        dimensions: d, of the code; with fewer than 24 places share dimensions.
        period: In pixels of the image, at least 2.
    """

    frequencies: Tensor

    def __init__(self, channels: int, dimensions: int, period: int) -> None:
        super().__init__()
        if period < 2:
            raise ValueError(f"the period of positions must be at least 2 pixels, got {period}")
        self.period = period
        half_plane = [(n, m) for n in range(3) for m in range(-2, 3) if n > 0 or m > 0]
        waves = torch.tensor(half_plane, dtype=torch.float32) * (2 * math.pi / period)
        self.register_buffer("frequencies", waves, persistent=False)
        self.point = nn.Conv2d(channels, 3, 1)
        self.code = nn.Conv2d(2 * len(half_plane), dimensions, 1, bias=False)
        nn.init.orthogonal_(self.code.weight)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The code (B, d, H, W) of the places that (B, C, H, W) features point to."""
        rows, columns, strength = self.point(features).float().unbind(1)
        height, width = features.shape[-2:]
        unit = self.period / 8  # displacements of the usual size of an activation are those that are needed
        rows = rows * unit + torch.arange(height, device=rows.device)[:, None]
        columns = columns * unit + torch.arange(width, device=rows.device)
        vertical, horizontal = self.frequencies[:, :, None, None].unbind(1)  # (12, 1, 1)
        angles = vertical * rows[:, None] + horizontal * columns[:, None]
        code: Tensor = self.code(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1).to(features.dtype))
        scaled: Tensor = code * (1 + strength[:, None]).to(code.dtype)
        return scaled


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


class PositionChannels(nn.Module):
    """Channels that say where in the image a pixel is, up to whole periods: sines and cosines of row and column.

    A convolutional network sees two equal objects side by side as the same, unless it is told where they are. Periodic
    positions are all that neighbours need to be told apart, and mean the same in images of any size.

    Args:
        period: In pixels of the image, at least 2. There are waves of this length and of half of it.
        stride: Of the map that the channels are for, in pixels of the image.
    """

    channels = 8

    def __init__(self, period: int, stride: int) -> None:
        super().__init__()
        if period < 2:
            raise ValueError(f"the period of positions must be at least 2 pixels, got {period}")
        self.period, self.stride = period, stride

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c8 h w"]:
        """The (B, C, H, W) features and the 8 channels behind them."""
        batch, _, height, width = features.shape
        angles = [
            (torch.arange(side, device=features.device) + 0.5) * (2 * math.pi * self.stride / self.period)
            for side in (height, width)
        ]
        waves = [torch.stack([f(n * a) for n in (1, 2) for f in (torch.sin, torch.cos)]) for a in angles]  # (4, side)
        rows, columns = waves[0][:, :, None].expand(-1, -1, width), waves[1][:, None].expand(-1, height, -1)
        positions = torch.cat([rows, columns]).to(features.dtype)
        return torch.cat([features, positions.expand(batch, -1, -1, -1)], dim=1)


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
