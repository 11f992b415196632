"""The first stages of EfficientNet-Lite0, frozen."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from upseg.layers.lite0 import Lite0


class Lite0Stages(Lite0):
    """RGB image → feature maps at strides 2, 4, 8 and 16, of 16, 24, 40 and 112 channels; frozen.

    The two later stages, two thirds of the weights, are left out.

    Args:
        weights: As `Lite0.load` takes them.
    """

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__((0, 1, 2, 3), stages=5)
        self.load(weights)
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The levels of (B, 3, H, W) RGB values in [0, 1]: (B, channels, ⌈H / stride⌉, ⌈W / stride⌉), finest first."""
        return super().forward(image * 2 - 1)
