"""RefineNet's decoder: chained fusion blocks that refine coarse features with finer ones, from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualConvUnit(nn.Module):
    """x plus ReLU, 3x3 convolution, ReLU, 3x3 convolution of x (Lin et al., "RefineNet", 2017, Sec. 3.2; no norm).

    Args:
        channels: Of the input and the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """Refine (B, D, H, W) features."""
        hidden = F.relu(self.first(F.relu(features)), inplace=True)
        refined: Tensor = features + self.second(hidden)
        return refined


class FeatureFusionBlock(nn.Module):
    """Adds one level to the coarser features and brings the sum to a finer size, as MiDaS does.

    Ranftl et al., "Towards Robust Monocular Depth Estimation" (MiDaS), 2020: unit(coarse + unit(level)), then bilinear
    interpolation. The coarsest block has nothing to add its level to, and so only the second unit; in MiDaS the first
    one is there but idle.

    Args:
        channels: Of the level, the coarser features and the output.
        coarsest: Whether this is the coarsest block, which takes no coarser features.
    """

    def __init__(self, channels: int, *, coarsest: bool = False) -> None:
        super().__init__()
        self.level_unit = None if coarsest else ResidualConvUnit(channels)
        self.fused_unit = ResidualConvUnit(channels)

    def forward(
        self, level: Float[Tensor, "b d h w"], coarse: Float[Tensor, "b d h w"] | None, size: Sequence[int]
    ) -> Float[Tensor, "b d h2 w2"]:
        """Fuse one level.

        Args:
            level: (B, D, H, W) features of this level.
            coarse: (B, D, H, W) features of the coarser blocks, at this level's size; None for the coarsest level.
            size: Height and width of the output.

        Returns:
            (B, D, *size) features.

        Raises:
            ValueError: If coarser features are missing, or the coarsest block is given some.
        """
        if (coarse is None) != (self.level_unit is None):
            raise ValueError("every fusion block but the coarsest takes coarser features, the coarsest takes none")
        fused = level if coarse is None or self.level_unit is None else coarse + self.level_unit(level)
        return F.interpolate(self.fused_unit(fused), size=tuple(size), mode="bilinear", align_corners=False)


class RefineNetDecoder(nn.Module):
    """One 3x3 lateral convolution and one fusion block per level of a backbone, chained from coarse to fine.

    Args:
        in_channels: Channels of the levels, finest first.
        channels: Of all fusion blocks and the output.

    Raises:
        ValueError: If there is no level, or `channels` is below 1.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        if not in_channels or channels < 1:
            raise ValueError(f"expected at least one level and one channel, got {list(in_channels)} and {channels}")
        self.out_channels = channels
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 3, padding=1, bias=False) for width in in_channels)
        coarsest = len(in_channels) - 1
        self.blocks = nn.ModuleList(FeatureFusionBlock(channels, coarsest=i == coarsest) for i in range(coarsest + 1))

    def forward(self, levels: Sequence[Float[Tensor, "b _ _ _"]], size: Sequence[int]) -> Float[Tensor, "b d h w"]:
        """Merge the levels of a backbone.

        Args:
            levels: One (B, in_channels[i], H_i, W_i) map per level, finest first, of any sizes from 1x1 up.
            size: Height and width of the output, as a rule twice those of the finest level.

        Returns:
            (B, channels, *size) features.

        Raises:
            ValueError: If the number of levels is not that of `in_channels`.
        """
        if len(levels) != len(self.laterals):
            raise ValueError(f"expected {len(self.laterals)} levels, finest first, got {len(levels)}")
        sizes = [size, *(level.shape[-2:] for level in levels)]
        laterals = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        merged: Tensor = self.blocks[-1](laterals[-1], None, sizes[-2])
        for index in range(len(levels) - 2, -1, -1):
            merged = self.blocks[index](laterals[index], merged, sizes[index])
        return merged
