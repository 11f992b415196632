"""The feature maps of a timm backbone as tokens of one stride, as those of a vision transformer are."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upseg.layers.backbone import TimmBackbone


class ConvTokens(TimmBackbone):
    """Levels of a backbone, each brought to one stride, for RGB images of any size from 1x1 up.

    Nothing is lost of finer levels: the values of the square that a token stands for are put side by side as channels,
    so that transposed convolutions can spread them again. Coarser levels are enlarged bilinearly.

    Args:
        name: Of a timm model that gives feature maps, as `TimmBackbone` takes it.
        levels: Which of its levels, counted from 1, the finest.
        patch: Side of a token in pixels of the image.
        pretrained: Whether to start from published weights.

    Attributes:
        patch: As given.
        channels: Of the tokens of each level.

    Raises:
        ModelError: If there is no such backbone, or its weights cannot be had.
        ValueError: If the stride of a finer level does not divide `patch`, or `patch` not that of all levels.
    """

    def __init__(self, name: str, levels: Sequence[int], *, patch: int = 16, pretrained: bool = False) -> None:
        super().__init__(name, pretrained=pretrained, out_indices=[level - 1 for level in levels])
        if patch < 1 or self.multiple % patch or any(patch % stride for stride in self.strides if stride < patch):
            raise ValueError(
                f"tokens of {patch} pixels cannot be made of the levels of {name}, whose strides are {self.strides}"
            )
        self.patch = patch
        self.channels = [
            channels * max(1, patch // stride) ** 2
            for channels, stride in zip(self.channels, self.strides, strict=True)
        ]

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ h2 w2"]]:
        """Compute the tokens of RGB images in [0, 1].

        Returns:
            One (B, channels[i], H' / patch, W' / patch) map per level, where H' and W' are `padded_size((H, W))`.
        """
        height, width = (side // self.patch for side in self.padded_size(images.shape[-2:]))
        return [
            F.pixel_unshuffle(level, self.patch // stride)
            if stride < self.patch
            else F.interpolate(level, size=(height, width), mode="bilinear", align_corners=False)
            for level, stride in zip(super().forward(images), self.strides, strict=True)
        ]
