"""A feature pyramid: coarse features handed down and merged into finer ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Top-down pathway with lateral connections (Lin et al., "Feature Pyramid Networks", 2017, Sec. 3).

    Each backbone level passes a 1x1 lateral convolution and is added to the coarser level's sum, brought to its size
    by nearest neighbour; a 3x3 convolution smooths each level that is given out. Levels may be of any size from 1x1
    up; they need not be exact halves of one another.

    Args:
        in_channels: Channels of the backbone's levels, finest first.
        out_channels: Channels of every level of the pyramid.
        outputs: How many of the finest levels to give out; None for all. Levels that are not given out have no
            smoothing convolution, so no parameter is idle.

    Raises:
        ValueError: If there is no level, or `outputs` is not between 1 and the number of levels.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, *, outputs: int | None = None) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.outputs = len(in_channels) if outputs is None else outputs
        if not 1 <= self.outputs <= len(in_channels):
            raise ValueError(
                f"outputs must be between 1 and the {len(in_channels)} levels of in_channels, got {self.outputs}"
            )
        self.laterals = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)
        self.smoothing = nn.ModuleList(nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in range(self.outputs))
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_uniform_(module.weight, a=1)  # no rectifier follows
                nn.init.zeros_(module.bias)

    def forward(self, levels: Sequence[Float[Tensor, "b _ _ _"]]) -> list[Float[Tensor, "b d _ _"]]:
        """Merge the levels of a backbone.

        Args:
            levels: One (B, in_channels[i], H_i, W_i) map per level, finest first.

        Returns:
            `outputs` maps (B, out_channels, H_i, W_i), finest first.

        Raises:
            ValueError: If the number of levels is not that of `in_channels`.
        """
        if len(levels) != len(self.laterals):
            raise ValueError(f"expected {len(self.laterals)} levels, finest first, got {len(levels)}")
        merged = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        for finer in range(len(merged) - 2, -1, -1):
            coarse = F.interpolate(merged[finer + 1], size=merged[finer].shape[-2:], mode="nearest")
            merged[finer] = merged[finer] + coarse
        return [smooth(level) for smooth, level in zip(self.smoothing, merged, strict=False)]
