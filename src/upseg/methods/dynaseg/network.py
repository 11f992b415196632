"""The networks of DynaSeg: a feature extractor, a linear classifier, and batch norm over its response.

Batch norm with one image: a network that is fitted stays in training mode, where every batch norm uses the statistics
of the one image (or crop) it sees; that is what makes r' have zero mean and unit variance over the image's pixels
(Sec. 3.4). In evaluation mode the running averages of the steps so far stand in, which lag behind a short fit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from upseg.errors import ModelError
from upseg.layers.backbone import TimmBackbone, download_timm_weights
from upseg.layers.pyramid import FeaturePyramid

IMAGENET_RESNET18 = "timm/resnet18.tv_in1k"
"""Where the ImageNet weights come from: the Hugging Face Hub's copy of torchvision's first ResNet-18 weights."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the red, green and blue values in [0, 1] that those weights were trained on."""


class DynaSegNetwork(nn.Module):
    """Image → normalised response r'.

    Paper: Sec. 3.1 and 3.4: r = W_c x (a 1x1 convolution without bias), then batch norm.

    Args:
        extractor: What computes the p-dimensional features x.
        clusters: q, the number of labels there are.

    Raises:
        ValueError: If `clusters` is below 1.
    """

    def __init__(
        self, extractor: ConvolutionalExtractor | ResNetPyramidExtractor | Lite0PyramidExtractor, clusters: int = 100
    ) -> None:
        super().__init__()
        if clusters < 1:
            raise ValueError(f"clusters must be at least 1, got {clusters}")
        self.clusters = clusters
        self.extractor = extractor
        self.classifier = nn.Conv2d(extractor.out_channels, clusters, 1, bias=False)
        self.normalization = ImageBatchNorm2d(clusters)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b q h w"]:
        """The response r' (B, q, H, W) of images (B, 3, H, W) in [0, 1], at the images' size."""
        features = self.extractor(image)  # (B, p, H, W) or (B, p, ⌈H/4⌉, ⌈W/4⌉)
        response: Tensor = self.normalization(self.classifier(features))
        if response.shape[-2:] != image.shape[-2:]:
            response = F.interpolate(response, size=image.shape[-2:], mode="bilinear", align_corners=False)
        return response


class ConvolutionalExtractor(nn.Module):
    """M blocks of 3x3 convolution, ReLU and batch norm, without pooling: features at the image's own resolution.

    Paper: Sec. 3.2.1; M = 3 and p = 100 in Sec. 4.1.

    Args:
        features: p, the channels of every block.
        blocks: M.

    Raises:
        ValueError: If `features` or `blocks` is below 1.
    """

    def __init__(self, features: int = 100, blocks: int = 3) -> None:
        super().__init__()
        if features < 1 or blocks < 1:
            raise ValueError(f"features and blocks must be at least 1, got {features} and {blocks}")
        self.out_channels = features
        layers: list[nn.Module] = []
        for block in range(blocks):
            layers += [
                nn.Conv2d(features if block else 3, features, 3, padding=1),
                nn.ReLU(),
                ImageBatchNorm2d(features),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p h w"]:
        """Features x (B, p, H, W) of images (B, 3, H, W) in [0, 1]."""
        features: Tensor = self.layers(image)
        return features


class ResNetPyramidExtractor(nn.Module):
    """ResNet-18 without its pooling and classifier head, and a feature pyramid on its four stages.

    Paper: Sec. 3.2.2. The features are the pyramid's finest level, at a quarter of the image's height and width. The
    backbone is trained along.

    Args:
        features: p, the channels of the pyramid.
        pretrained: Whether to start from ImageNet weights, downloaded once from the Hugging Face Hub.
        weights: A `.safetensors` file with the weights of a ResNet-18 (timm's or torchvision's names), for use offline.

    Raises:
        ModelError: If the weights cannot be downloaded, read, or do not fit.
        ValueError: If both `pretrained` and `weights` are given.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int = 100, *, pretrained: bool = False, weights: Path | None = None) -> None:
        super().__init__()
        if pretrained and weights is not None:
            raise ValueError("give either pretrained=True or a weights file, not both")
        self.out_channels = features
        self.backbone = _resnet18()
        if pretrained:
            weights = _download_weights()
        if weights is not None:
            _load_backbone(self.backbone, weights)
        self.pyramid = FeaturePyramid(self.backbone.feature_info.channels(), features, outputs=1)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p h4 w4"]:
        """Features x (B, p, ⌈H/4⌉, ⌈W/4⌉) of RGB images (B, 3, H, W) in [0, 1]."""
        levels = self.backbone((image - self.mean) / self.std)  # strides 4, 8, 16, 32
        finest: Tensor = self.pyramid(levels)[0]
        return finest


class Lite0PyramidExtractor(nn.Module):
    """EfficientNet-Lite0, whose ImageNet weights come with the package, and a feature pyramid; ours, not the paper's.

    Args:
        features: p, the channels of the pyramid.
        pretrained: Whether to start from these weights.
    """

    def __init__(self, features: int = 100, *, pretrained: bool = False) -> None:
        super().__init__()
        self.out_channels = features
        self.backbone = TimmBackbone("tf_efficientnet_lite0", pretrained=pretrained)
        self.pyramid = FeaturePyramid(self.backbone.channels, features, outputs=1)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p h4 w4"]:
        """Features x (B, p, ⌈H/4⌉, ⌈W/4⌉) of RGB images (B, 3, H, W) in [0, 1]."""
        finest: Tensor = self.pyramid(self.backbone(image))[0]
        rows, columns = (-(-side // 4) for side in image.shape[-2:])  # without what the backbone pads
        return finest[..., :rows, :columns]


class ImageBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that also takes a single value per channel, such as the coarsest feature map of a small image.

    One value has no variance to divide by (the plain layer refuses it in training mode). It is normalised by the
    running statistics instead, which it leaves unchanged: the identity in a new layer, the statistics that came with
    the weights in a pretrained one.
    """

    def forward(self, features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """Normalise (B, D, H, W) features channel by channel."""
        if features.numel() == features.shape[1]:
            return F.batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(features)


def _resnet18() -> Any:
    import timm  # takes seconds, and the other network does without

    return timm.create_model(
        "resnet18",
        pretrained=False,
        features_only=True,
        out_indices=(1, 2, 3, 4),
        norm_layer=ImageBatchNorm2d,
        zero_init_last=False,  # as in torchvision: every block works from the first step on, a fit has only a few
    )


def _download_weights() -> Path:
    try:
        return download_timm_weights(IMAGENET_RESNET18.removeprefix("timm/"))
    except ModelError as error:
        raise ModelError(f"{error}, or give a .safetensors file with `weights`") from error


def _load_backbone(backbone: nn.Module, path: Path) -> None:
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path}: expected a .safetensors file with the weights of a ResNet-18, got {error}"
        ) from error
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}  # the ImageNet classifier
    try:
        backbone.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(f"{path} does not hold the weights of a ResNet-18: {error}") from error
