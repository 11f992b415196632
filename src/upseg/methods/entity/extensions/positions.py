"""`positions`: where in the image a pixel is, for images full of objects that look the same."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


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
        period: In pixels of the image, as of `PositionChannels`, which refuses what is too short.
    """

    frequencies: Tensor

    def __init__(self, channels: int, dimensions: int, period: int) -> None:
        super().__init__()
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
