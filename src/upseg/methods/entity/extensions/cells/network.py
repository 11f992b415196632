"""An encoder of timm, a light decoder, and at each pixel what tells touching objects apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upseg.layers.backbone import TimmBackbone

MAPS = ("foreground", "border", "distance", "size")
"""The channels, in their order."""


@dataclass(frozen=True, eq=False)
class CellMaps:
    """What a network says about each pixel of B images.

    Attributes:
        foreground: (B, H, W) logits: is it a pixel of an object?
        border: (B, H, W) logits: is it near to two objects?
        distance: (B, H, W) logits of how deep inside its object it is: 1 where that is deepest, 0 at its rim.
        size: (B, H, W) the natural logarithm of its object's diameter in units of the canonical one.
    """

    foreground: Float[Tensor, "b h w"]
    border: Float[Tensor, "b h w"]
    distance: Float[Tensor, "b h w"]
    size: Float[Tensor, "b h w"]


class FusionBlock(nn.Module):
    """The next finer level: the coarser one twice as large beside the encoder's, and two convolutions to `channels`."""

    def __init__(self, coarse: int, skip: int, channels: int) -> None:
        super().__init__()
        self.coarse = coarse
        self.mix = _convolution(coarse + skip, channels)
        self.refine = _convolution(channels, channels)

    def forward(
        self, coarse: Float[Tensor, "b c h w"], skip: Float[Tensor, "b s 2*h 2*w"]
    ) -> Float[Tensor, "b o 2*h 2*w"]:
        """Merge both."""
        convolution, *rest = self.mix
        assert isinstance(convolution, nn.Conv2d)  # noqa: S101
        upper, lower = convolution.weight[:, : self.coarse], convolution.weight[:, self.coarse :]
        mixed = _convolved_twice_as_large(coarse, upper).add_(F.conv2d(skip, lower, convolution.bias, padding=1))
        for layer in rest:
            mixed = layer(mixed)
        merged: Tensor = self.refine(mixed)
        return merged


class CellNetwork(nn.Module):
    """Image → the maps of `MAPS`, one value per pixel.

    The decoder goes up to stride 2; the last convolution gives each of its pixels the 2x2 values of the image's.

    Args:
        backbone: Name of a timm model that gives feature maps at strides 2, 4, 8, 16 and 32.
        channels: Of the decoder from the coarsest level to the finest, one number for each stride below the largest.
        pretrained: Whether the backbone starts from published weights.

    Raises:
        ModelError: If there is no such backbone, or its weights cannot be had.
        ValueError: If the backbone has other strides, or the number of channels is wrong.
    """

    def __init__(
        self,
        backbone: str = "tf_efficientnet_lite0",
        channels: Sequence[int] = (96, 64, 48, 32),
        *,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = TimmBackbone(backbone, pretrained=pretrained, out_indices=(0, 1, 2, 3, 4))
        if self.backbone.strides != [2, 4, 8, 16, 32] or len(channels) != 4:
            raise ValueError(
                "a network of cells needs a backbone with the strides 2, 4, 8, 16, 32 and the channels of four decoder "
                f"levels, got {backbone} with {self.backbone.strides}, and {tuple(channels)}"
            )
        *skips, coarse = self.backbone.channels
        blocks = []
        for skip, width in zip(reversed(skips), channels, strict=True):
            blocks.append(FusionBlock(coarse, skip, width))
            coarse = width
        self.decoder = nn.ModuleList(blocks)
        self.head = nn.Conv2d(coarse, 4 * len(MAPS), 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> CellMaps:
        """Compute the maps.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], of any size from 1x1 up.
        """
        height, width = images.shape[-2:]
        *skips, merged = self.backbone(images.contiguous(memory_format=torch.channels_last))
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            merged = block(merged, skip)
        maps = F.pixel_shuffle(self.head(merged).float(), 2)[..., :height, :width]
        foreground, border, distance, log_size = maps.unbind(1)
        return CellMaps(foreground, border, distance, log_size)


def _convolved_twice_as_large(
    features: Float[Tensor, "b c h w"], weight: Float[Tensor, "o c 3 3"]
) -> Float[Tensor, "b o 2*h 2*w"]:
    """What a 3x3 convolution makes of features of which each value was written to 2x2 pixels.

    Of its nine weights those that meet one value are added first: 16 products for each value in place of 36.
    """
    sums = 4 * F.avg_pool2d(weight.flip(-1, -2), 2, stride=1, padding=1)
    return F.conv_transpose2d(features, sums.transpose(0, 1), stride=2, padding=1)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
