"""The network: a backbone at several scales, and two branches, for the classes and for the boundaries of instances."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP, ASPPPooling

from upseg.layers.multi_scale import MultiScaleFeatures
from upseg.methods.baiseg.attention import convolution
from upseg.methods.baiseg.equations import joined
from upseg.methods.baiseg.fusion import BoundaryModule
from upseg.methods.baiseg.settings import BaisegSettings

ATROUS_RATES = (12, 24, 36)
"""Of DeepLabv3's head at a resolution of 8 pixels."""


class SmallBatchNorm(nn.BatchNorm2d):
    """Batch normalisation that takes its running statistics where a batch has a single value for each channel.

    One value has no deviation, and torch refuses it in training. A batch of one image has no more after global pooling.
    """

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise (B, C, H, W) features."""
        if features.numel() > features.shape[1]:
            return super().forward(features)
        return F.batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class SemanticBranch(nn.Module):
    """Atrous spatial pyramid pooling and two convolutions: with 256 channels the head of DeepLabv3.

    Paper: Sec. 4.1 (Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017).

    Args:
        incoming: Channels of the features.
        width: Of the head.
        classes: C, of the logits.
        reduction: How many times, along one side, the features are reduced for the head, by their averages.
        rates: Of the atrous convolutions, in pixels of the reduced features.
    """

    def __init__(
        self, incoming: int, width: int, classes: int, *, reduction: int = 1, rates: tuple[int, ...] = ATROUS_RATES
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.pyramid = ASPP(incoming, rates, out_channels=width)
        for module in self.pyramid.convs:
            if isinstance(module, ASPPPooling):
                module[2] = SmallBatchNorm(width)
        self.refine = convolution(width, width)
        self.output = nn.Conv2d(width, classes, 1)

    def forward(self, features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """The logits (B, classes, H / reduction, W / reduction) of (B, D, H, W) features; sizes are rounded up."""
        if self.reduction > 1:  # what is beyond the last row and column does not count in the average
            features = F.avg_pool2d(features, self.reduction, ceil_mode=True, count_include_pad=False)
        logits: Tensor = self.output(self.refine(self.pyramid(features)))
        return logits


class BaisegNetwork(nn.Module):
    """Image → the boundary map and, with a semantic branch, the classes, both at the image's size.

    Paper: Sec. 3.1 and Fig. 2 (a). Images are padded at the bottom and on the right for the backbone; maps are enlarged
    bilinearly, each value in the middle of the square of pixels that it stands for, and what lies in the padding is cut
    off. So pixel (i, j) of a map is pixel (i, j) of the image.

    Args:
        settings: Of the method.
        classes: C, how many the semantic branch tells apart. Without such a branch it does not count.
        pretrained: Whether the backbone starts from published weights, downloaded once.

    Raises:
        ModelError: If there is no such backbone, or its weights cannot be had.
        ValueError: If there is no class for the semantic branch, or the backbone does not give maps of the settings'
            resolutions.
    """

    def __init__(self, settings: BaisegSettings, classes: int, *, pretrained: bool = False) -> None:
        super().__init__()
        self.settings = settings
        self.features = MultiScaleFeatures(
            settings.backbone, settings.width, settings.resolution, pretrained=pretrained
        )
        self.boundary = BoundaryModule(
            self.features.channels,
            settings.hidden,
            settings.cascade,
            fusion=settings.fusion,
            attention=settings.attention,
            tapped=settings.contrast_module,
        )
        self.projection: nn.Conv2d | None = None
        if settings.contrast_dimensions:
            self.projection = nn.Conv2d(settings.hidden, settings.contrast_dimensions, 1)
        self.semantic: SemanticBranch | None = None
        if settings.semantic_width is not None:
            self._check_semantic(classes)
            reduction = settings.semantic_resolution // settings.resolution
            self.semantic = SemanticBranch(
                self.features.channels, settings.semantic_width, classes, reduction=reduction
            )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _ _ _"]]:
        """Compute the maps.

        Args:
            images: (B, 3, H, W) RGB values in [0, 1], of any size from 1x1 up.

        Returns:
            `boundary`: (B, 1, H, W) logits. `semantic`: (B, C, H, W) logits, where there is a semantic branch.
            `projection`, in training alone and with `contrast_dimensions` above 0: (B, d, h, w) raw values at the
            resolution of the features, of the padded image.
        """
        size = (images.shape[-2], images.shape[-1])
        features = joined(self.features(images))  # Eq. 8, (B, D, h, w)
        boundary, local = self.boundary(features)  # (B, 1, h, w), (B, hidden, h, w)
        maps = {"boundary": at_image(boundary, self.settings.resolution, size)}
        if self.semantic is not None:
            maps["semantic"] = at_image(self.semantic(features), self.settings.semantic_resolution, size)
        if self.training and self.projection is not None:
            maps["projection"] = self.projection(local)
        return maps

    def _check_semantic(self, classes: int) -> None:
        if classes < 1:
            raise ValueError(f"the semantic branch needs at least 1 class, got {classes}; give the data's categories")
        multiple = self.features.backbone.multiple
        if self.settings.semantic_resolution > multiple:  # batch normalisation needs more than one value per channel
            raise ValueError(
                f"semantic_resolution must be at most {multiple}, the coarsest of {self.settings.backbone}, "
                f"got {self.settings.semantic_resolution}"
            )


def at_image(
    logits: Float[Tensor, "b c h w"], resolution: int, size: tuple[int, int]
) -> Float[Tensor, "b c height width"]:
    """A map at the size of its image: enlarged bilinearly, without what lies in the padding.

    Args:
        logits: (B, C, H, W); each value is that of the middle of a square of the padded image.
        resolution: Side of such a square, in pixels.
        size: Height and width of the image, at most H and W times `resolution`.
    """
    covered = [side * resolution for side in logits.shape[-2:]]
    enlarged = F.interpolate(logits, size=covered, mode="bilinear", align_corners=False)
    return enlarged[..., : size[0], : size[1]]
