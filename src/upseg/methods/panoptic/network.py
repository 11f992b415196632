"""The network: an encoder, a shared decoder of four convolutions, and one projection for each head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upseg.layers.backbone import create_timm_model
from upseg.layers.conv_tokens import ConvTokens
from upseg.layers.vit_backbone import VitBackbone
from upseg.methods.panoptic.encodings import make_encoding
from upseg.methods.panoptic.extensions.own_positions import at_own_positions
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.segmentation import Category

GROUPS = 8
"""Of the decoder's channels, each normalised by itself; fewer where a width is no multiple of it."""
CONVOLUTIONAL_PATCH = 16
CONVOLUTIONAL_LEVELS = (2, 3, 4, 5)
"""Side of the tokens in pixels, and the levels that they are made of, where the encoder has no patches of its own."""
_INSTANCES: Mapping[str, int] = MappingProxyType({"instance": 16})  # two coordinates, each of four frequencies


class PanopticNetwork(nn.Module):
    """Image → the maps of all heads, from one decoder.

    Paper: Sec. 3.1 and 5.1. The maps have 2^n / p of the image's resolution, p being the patch size and n the number of
    decoder widths: 8 / 14 with the defaults. Exactly: the image is padded to whole patches at the bottom and on the
    right, each patch becomes 2^n x 2^n pixels of the maps, and what lies wholly in the padding is cut off. So pixel
    (i, j) of a map, whose centre is (i + 0.5, j + 0.5), covers the square of p / 2^n image pixels from row i p / 2^n
    and column j p / 2^n on, and its centre is at ((i + 0.5) p / 2^n, (j + 0.5) p / 2^n) of the image: nothing is
    stretched, and only the last row and column may reach beyond the image, by less than p / 2^n pixels.

    Args:
        backbone: Name of a timm vision transformer, or (ours) of a convolutional network that gives feature maps.
        layers: Blocks of it, counted from 1, whose tokens the decoder takes; None for `default_layers`. Of a
            convolutional network its levels, counted from the finest.
        decoder_channels: Widths of the transposed convolutions, each of which doubles the resolution.
        outputs: The channels of each head, such as `{"semantic": 133, "instance": 16}`. There is nothing in the
            network for a head that is not named. `output_channels` tells those of settings.
        patch: Side of the patches in pixels, other than the backbone's own.
        relative: The grid of centres, if what the head `instance` projects to is relative to each pixel's own place:
            see `at_own_positions`. None for the paper's absolute centres.
        pretrained: Whether the backbone starts from published weights, downloaded once.

    Attributes:
        scale: Pixels of the maps for each pixel of the image, along one side: 2^n / p.

    Raises:
        ModelError: If there is no such backbone, it has no such layers, or its weights cannot be had.
        ValueError: If there is no output or no decoder width, or one of them has no channel.
    """

    def __init__(
        self,
        backbone: str = "vit_base_patch14_dinov2",
        layers: Sequence[int] | None = None,
        decoder_channels: Sequence[int] = (512, 256, 256),
        outputs: Mapping[str, int] = _INSTANCES,
        *,
        patch: int | None = None,
        relative: tuple[int, int] | None = None,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        for what, numbers in (("outputs", outputs.values()), ("decoder_channels", decoder_channels)):
            if min(numbers, default=0) < 1:
                raise ValueError(f"{what} must be one or more, each of at least 1 channel, got {list(numbers)}")
        self.backbone = make_backbone(backbone, layers, patch, pretrained=pretrained)
        self.relative = relative
        self.upsampling = 2 ** len(decoder_channels)
        self.scale = self.upsampling / self.backbone.patch
        self.decoder = UpsamplingDecoder(sum(self.backbone.channels), decoder_channels)
        self.projections = nn.ModuleDict(
            {head: nn.Conv2d(decoder_channels[-1], channels, 1) for head, channels in outputs.items()}
        )

    def output_size(self, size: Sequence[int]) -> tuple[int, int]:
        """Height and width of the maps of images of this height and width."""
        return output_size(size, self.backbone.patch, self.upsampling)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _ h2 w2"]]:
        """Compute the maps.

        Args:
            images: (B, 3, H, W) RGB values in [0, 1], of any size from 1x1 up.

        Returns:
            For each head a (B, channels, h, w) map of raw values, (h, w) being `output_size((H, W))`.
        """
        height, width = self.output_size(images.shape[-2:])
        tokens = torch.cat(self.backbone(images), dim=1)
        features = self.decoder(tokens)[..., :height, :width]
        maps = {head: projection(features) for head, projection in self.projections.items()}
        if self.relative is not None and "instance" in maps:
            extent = (images.shape[-2] * self.scale, images.shape[-1] * self.scale)
            maps["instance"] = at_own_positions(maps["instance"], extent, self.relative)
        return maps


def make_backbone(
    name: str, layers: Sequence[int] | None, patch: int | None, *, pretrained: bool
) -> VitBackbone | ConvTokens:
    """The encoder: a model that makes patches is taken as a vision transformer, any other as a pyramid of levels.

    Arguments and errors as of `PanopticNetwork`.
    """
    with torch.device("meta"):
        makes_patches = hasattr(create_timm_model(name, {}, pretrained=False, needed="be known"), "patch_embed")
    if makes_patches:
        return VitBackbone(name, layers, patch=patch, pretrained=pretrained)
    return ConvTokens(name, layers or CONVOLUTIONAL_LEVELS, patch=patch or CONVOLUTIONAL_PATCH, pretrained=pretrained)


class UpsamplingDecoder(nn.Module):
    """Transposed convolutions that double height and width, and a 3x3 convolution, all normalised and with a ReLU.

    Paper: Sec. 5.1. The transposed ones have 2x2 kernels: no two of their outputs overlap, so they leave no pattern of
    uneven sums, and only the last convolution looks beyond a patch. The weights start with He et al.'s (2015) variance,
    which torch's own initialisation misses for transposed convolutions: there, little would be left of the tokens.

    The normalisation is a choice, for the paper is silent. Most pixels are void, whose code is 0, and without any
    normalisation a network that learns them from scratch switches units off. It is over groups of an image's own
    channels: statistics of batches would be poor where few images fit a device, and in use others than in training.

    Args:
        channels: Of the input.
        widths: Channels of each transposed convolution; the last width is that of the output too.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for incoming, outgoing in zip([channels, *widths], widths, strict=False):
            transposed = nn.ConvTranspose2d(incoming, outgoing, 2, stride=2, bias=False)
            nn.init.normal_(transposed.weight, std=(2 / incoming) ** 0.5)  # each output is a sum over one input pixel
            layers += [transposed, _normalisation(outgoing), nn.ReLU(inplace=True)]
        convolution = nn.Conv2d(widths[-1], widths[-1], 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        self.layers = nn.Sequential(*layers, convolution, _normalisation(widths[-1]), nn.ReLU(inplace=True))

    def forward(self, tokens: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """The (B, D, H 2^n, W 2^n) features of (B, C, H, W) tokens, n being the number of widths."""
        features: Tensor = self.layers(tokens)
        return features


def output_size(size: Sequence[int], patch: int, upsampling: int = 8) -> tuple[int, int]:
    """Height and width of the network's maps: upsampling / patch of the image's, rounded up.

    Args:
        size: Height and width of the image, in pixels.
        patch: Side of the backbone's patches, in pixels.
        upsampling: Side of what a patch becomes in the maps, in pixels of them.
    """
    height, width = (-(-upsampling * side // patch) for side in size)
    return height, width


def output_channels(settings: PanopticSettings, categories: Sequence[Category]) -> dict[str, int]:
    """The channels of each head of the settings: a logit for each class, the code of the centre, one depth.

    Args:
        settings: Of the method.
        categories: The classes; only the head `semantic` needs them.

    Raises:
        ValueError: If the head `semantic` is among those of the settings, and there are no classes.
    """
    if "semantic" in settings.heads and not categories:
        raise ValueError("the head semantic needs the classes of the data, and there are none")
    channels = {"semantic": len(categories), "instance": make_encoding(settings).channels, "depth": 1}
    return {head: channels[head] for head in settings.heads}


def _normalisation(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, GROUPS), channels)
