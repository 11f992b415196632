"""All levels of a timm backbone, brought to one width and one resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upseg.layers import lite0
from upseg.layers.backbone import TimmBackbone, check_timm_name, create_timm_model


class MultiScaleFeatures(nn.Module):
    """Each level of a backbone through a 1x1 convolution to one width, then at one resolution.

    Paper: Eq. 8, Appendix E of BAISeg: E(P1) to E(P5), which are then put side by side. Finer levels are reduced by
    their largest values, so that thin structures stay; coarser ones are enlarged bilinearly. The maps cover the image
    padded at the bottom and on the right to `padded_size`, each value the square of `resolution` pixels where it is.

    Args:
        name: Of a timm model that gives feature maps; all its levels are taken, whatever their strides.
        width: Channels that each level is brought to.
        resolution: Pixels of the image, along one side, for each value of the maps.
        pretrained: Whether the backbone starts from published weights, downloaded once.
        levels: Which of the levels, counted from the finest, negative ones from the coarsest; None for all.

    Attributes:
        backbone: The `TimmBackbone`.
        channels: Of all levels side by side.

    Raises:
        ModelError: If there is no such backbone, or its weights cannot be had.
        ValueError: If `width` is below 1, or the padded images or a finer level cannot be divided into `resolution`.
    """

    def __init__(
        self,
        name: str,
        width: int = 48,
        resolution: int = 4,
        *,
        pretrained: bool = False,
        levels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        chosen = range(level_count(name)) if levels is None else levels
        self.backbone = TimmBackbone(name, pretrained=pretrained, out_indices=chosen)
        strides = self.backbone.strides
        _check_resolution(name, strides, resolution)
        self.resolution = resolution
        self.channels = width * len(strides)
        self.embeddings = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in self.backbone.channels)
        for embedding in self.embeddings:
            if isinstance(embedding, nn.Conv2d) and embedding.bias is not None:
                nn.init.kaiming_uniform_(embedding.weight, a=1)  # no rectifier follows
                nn.init.zeros_(embedding.bias)

    def padded_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width in pixels that images of this height and width are padded to: multiples of `resolution`."""
        return self.backbone.padded_size(size)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b d h2 w2"]]:
        """Compute the levels.

        Args:
            images: (B, 3, H, W) RGB values in [0, 1], of any size from 1x1 up.

        Returns:
            One (B, width, H' / resolution, W' / resolution) map per level, finest first, where H' and W' are
            `padded_size((H, W))`.
        """
        height, width = (side // self.resolution for side in self.padded_size((images.shape[-2], images.shape[-1])))
        levels = zip(self.embeddings, self.backbone(images), strict=True)
        return [at_size(embedding(level), (height, width)) for embedding, level in levels]


def at_size(level: Float[Tensor, "b d h w"], size: tuple[int, int]) -> Float[Tensor, "b d h2 w2"]:
    """Features at another size: reduced to the largest values of whole squares, or enlarged bilinearly.

    Args:
        level: (B, D, H, W) features.
        size: Height and width; H and W are the same multiple of them, or are not larger.
    """
    if level.shape[-2] > size[0]:
        return F.max_pool2d(level, level.shape[-2] // size[0])
    if tuple(level.shape[-2:]) == size:
        return level
    return F.interpolate(level, size=size, mode="bilinear", align_corners=False)


def level_count(name: str) -> int:
    """How many levels of feature maps a timm model has.

    Args:
        name: A name that `timm.list_models()` knows, with or without a tag.

    Raises:
        ModelError: If there is no such model, or it gives no feature maps.
    """
    if name in lite0.NAMES:
        return len(lite0.LEVELS)
    check_timm_name(name)
    needed = "give feature maps at several strides, as convnext_atto or resnet18 do"
    with torch.device("meta"):  # no weights are made, and no random numbers are drawn
        model = create_timm_model(name, {"features_only": True}, pretrained=False, needed=needed)
    return len(model.feature_info.channels())


def _check_resolution(name: str, strides: list[int], resolution: int) -> None:
    divides = resolution >= 1 and math.lcm(*strides) % resolution == 0
    if not divides or any(resolution % stride for stride in strides if stride < resolution):
        raise ValueError(
            f"the resolution must divide {math.lcm(*strides)}, to which {name} pads images, and be a multiple of its "
            f"finer strides among {strides}, got {resolution}"
        )
