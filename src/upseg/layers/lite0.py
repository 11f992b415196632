"""EfficientNet-Lite0, with timm's names, whose ImageNet weights come with the package.

Written out here, not taken from timm, because importing timm takes longer than segmenting a photo. Values, gradients
and first weights are those of timm's `tf_efficientnet_lite0`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from upseg.layers.folding import NormedConvolutions
from upseg.layers.pretrained_weights import shipped_weights

NAMES = ("tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k")
"""What timm calls it, and it with its only published weights."""
STAGES = (
    (1, 3, 1, 16),
    (2, 3, 2, 24),
    (2, 5, 2, 40),
    (3, 3, 2, 80),
    (3, 5, 1, 112),
    (4, 5, 2, 192),
    (1, 3, 1, 320),
)
"""Blocks, kernel, stride and channels of each stage."""
LEVELS = (0, 1, 2, 4, 6)
"""The stages whose output is a level: strides 2, 4, 8, 16 and 32."""
STEM_CHANNELS = 32
EXPANSION = 6
EPSILON = 1e-3
"""Of batch norm, as in TensorFlow."""
COLOURS = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
"""Of the values in [0, 1] of the images that the weights were trained on."""


class Lite0(NormedConvolutions):
    """Standardised images → feature maps at some of the strides 2, 4, 8, 16 and 32.

    Args:
        levels: Which of them to give out, as indices of `LEVELS` in rising order.
        stages: How many stages there are; those after the last level that is given out have no effect, but weights.

    Attributes:
        channels: Of each level.
        strides: Of each level, in pixels.
    """

    def __init__(self, levels: Sequence[int] = (0, 1, 2, 3, 4), stages: int = len(STAGES)) -> None:
        super().__init__()
        self.pretrained_cfg = COLOURS
        self.given = tuple(LEVELS[level] for level in levels)
        self.channels = [STAGES[stage][3] for stage in self.given]
        self.strides = [2 << level for level in levels]
        self.conv_stem = SameConv2d(3, STEM_CHANNELS, 3, 2)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS, EPSILON)
        self.blocks = nn.Sequential()
        channels = STEM_CHANNELS
        for index, (count, kernel, stride, out) in enumerate(STAGES[:stages]):
            stage = nn.Sequential()
            for block in range(count):
                stride_here = 1 if block else stride
                made = InvertedResidual(channels, out, kernel, stride_here) if index else Separable(channels, out)
                stage.append(made)
                channels = out
            self.blocks.append(stage)
        for convolution in self.modules():
            if isinstance(convolution, SameConv2d):
                fan_out = math.prod(convolution.kernel_size) * convolution.out_channels // convolution.groups
                nn.init.normal_(convolution.weight, 0, math.sqrt(2 / fan_out))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The levels of (B, 3, H, W) images: (B, channels, ⌈H / stride⌉, ⌈W / stride⌉), finest first."""
        features = _relu6(self.bn1(self.conv_stem(images)))
        levels = []
        for index, stage in enumerate(self.blocks):
            features = stage(features)
            if index in self.given:
                levels.append(features)
        return levels

    def load(self, weights: Path | None = None) -> None:
        """Take ImageNet's weights.

        Args:
            weights: A `.safetensors` file with timm's names, of any floating type; None for the one that comes with the
                package.
        """
        names = list(self.state_dict())
        with safe_open(weights or shipped_weights(NAMES[0]), "pt") as file:
            self.load_state_dict({name: file.get_tensor(name) for name in names})


class SameConv2d(nn.Conv2d):
    """A convolution without bias whose output has ⌈side / stride⌉ pixels: TensorFlow pads more at the end."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, groups: int = 1) -> None:
        # with stride 1 as much is missing at both ends, and the convolution pads by itself
        super().__init__(channels, out, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Convolve (B, C, H, W) features padded with zeros."""
        if self.stride == (1, 1):
            return super().forward(features)
        padding: list[int] = []
        for side, kernel, stride in zip(features.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(features, padding))


class Separable(NormedConvolutions):
    """A depthwise and a pointwise convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv_dw = SameConv2d(channels, channels, 3, 1, channels)
        self.bn1 = nn.BatchNorm2d(channels, EPSILON)
        self.conv_pw = SameConv2d(channels, out, 1, 1)
        self.bn2 = nn.BatchNorm2d(out, EPSILON)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Features (B, D, H, W) of features (B, C, H, W)."""
        result: Tensor = self.bn2(self.conv_pw(_relu6(self.bn1(self.conv_dw(features)))))
        return result


class InvertedResidual(NormedConvolutions):
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
        expanded = _relu6(self.bn1(self.conv_pw(features)))
        result: Tensor = self.bn3(self.conv_pwl(_relu6(self.bn2(self.conv_dw(expanded)))))
        return result + features if self.adds else result


def _relu6(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    return F.relu6(features, inplace=True)
