"""The first stages of EfficientNet-Lite0 with the ImageNet weights that come with the package.

Written out here, not taken from timm, because importing timm takes longer than segmenting a photo.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from upseg.layers.pretrained_weights import shipped_weights

STAGES = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112))
"""Blocks, kernel, stride and channels of each stage; the later ones, two thirds of the weights, are left out."""
LEVELS = (0, 1, 2, 4)
"""The stages whose output is a level: strides 2, 4, 8 and 16."""
STEM_CHANNELS = 32
EXPANSION = 6
EPSILON = 1e-3
"""Of batch norm, as in TensorFlow."""


class Lite0Stages(nn.Module):
    """RGB image → feature maps at strides 2, 4, 8 and 16, of 16, 24, 40 and 112 channels; frozen.

    Args:
        weights: A `.safetensors` file with timm's names; None for the one that comes with the package.
    """

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(3, STEM_CHANNELS, 3, 2)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS, EPSILON)
        self.blocks = nn.ModuleList()
        channels = STEM_CHANNELS
        for index, (count, kernel, stride, out) in enumerate(STAGES):
            stage = nn.Sequential()
            for block in range(count):
                stride_here = 1 if block else stride
                made = InvertedResidual(channels, out, kernel, stride_here) if index else Separable(channels, out)
                stage.append(made)
                channels = out
            self.blocks.append(stage)
        names = list(self.state_dict())
        with safe_open(weights or shipped_weights("tf_efficientnet_lite0"), "pt") as file:
            self.load_state_dict({name: file.get_tensor(name) for name in names})
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The levels of (B, 3, H, W) RGB values in [0, 1]: (B, channels, ⌈H / stride⌉, ⌈W / stride⌉), finest first."""
        features = F.relu6(self.bn1(self.conv_stem(image * 2 - 1)))
        levels = []
        for index, stage in enumerate(self.blocks):
            features = stage(features)
            if index in LEVELS:
                levels.append(features)
        return levels


class SameConv2d(nn.Conv2d):
    """A convolution without bias whose output has ⌈side / stride⌉ pixels: TensorFlow pads more at the end."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups, bias=False)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Convolve (B, C, H, W) features padded with zeros."""
        padding: list[int] = []
        for side, kernel, stride in zip(features.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(features, padding))


class Separable(nn.Module):
    """A depthwise and a pointwise convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv_dw = SameConv2d(channels, channels, 3, 1, channels)
        self.bn1 = nn.BatchNorm2d(channels, EPSILON)
        self.conv_pw = SameConv2d(channels, out, 1, 1)
        self.bn2 = nn.BatchNorm2d(out, EPSILON)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Features (B, D, H, W) of features (B, C, H, W)."""
        result: Tensor = self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(features)))))
        return result


class InvertedResidual(nn.Module):
    """Channels are expanded, convolved one by one and brought together again; added to the input where they can be."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = channels * EXPANSION
        self.conv_pw = SameConv2d(channels, wide, 1, 1)
        self.bn1 = nn.BatchNorm2d(wide, EPSILON)
        self.conv_dw = SameConv2d(wide, wide, kernel, stride, wide)
        self.bn2 = nn.BatchNorm2d(wide, EPSILON)
        self.conv_pwl = SameConv2d(wide, out, 1, 1)
        self.bn3 = nn.BatchNorm2d(out, EPSILON)
        self.adds = channels == out and stride == 1

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Features (B, D, ⌈H / stride⌉, ⌈W / stride⌉) of features (B, C, H, W)."""
        expanded = F.relu6(self.bn1(self.conv_pw(features)))
        result: Tensor = self.bn3(self.conv_pwl(F.relu6(self.bn2(self.conv_dw(expanded)))))
        return result + features if self.adds else result
