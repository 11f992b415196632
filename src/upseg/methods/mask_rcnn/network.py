"""The network: torchvision's Mask R-CNN over any backbone of timm."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from upseg.layers.backbone import TimmBackbone
from upseg.layers.pyramid import FeaturePyramid
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings
from upseg.segmentation import Category

MASK_SIDE = 28
"""Pixels along one side of the mask that is drawn in each box, whatever the box's size."""

LOSSES: Mapping[str, str] = {
    "objectness": "loss_objectness",
    "proposals": "loss_rpn_box_reg",
    "classes": "loss_classifier",
    "boxes": "loss_box_reg",
    "masks": "loss_mask",
}
"""What torchvision calls each of the losses."""


@dataclass(frozen=True)
class Detections:
    """What the network finds in one image, highest score first.

    Attributes:
        boxes: (n, 4) left, top, right, bottom in pixels of what the network was given, half-open.
        positions: (n,) position of each one's class among the model's, from 0.
        scores: (n,) in [0, 1].
        masks: (n, 28, 28) probabilities that a point in the box belongs to the object.
    """

    boxes: Float[Tensor, "n 4"]
    positions: Int64[Tensor, " n"]
    scores: Float[Tensor, " n"]
    masks: Float[Tensor, "n m m"]


class MaskRcnnNetwork(nn.Module):
    """Image → detections; in training, images and objects → losses.

    Source: He et al., "Mask R-CNN", ICCV 2017, as torchvision has it; `PAPER.md` says what differs.

    Args:
        settings: Of the model.
        classes: Number of classes of things, at least 1.
        pretrained: Whether the encoder starts from ImageNet weights, which timm downloads.
        frozen_normalisation: Whether batch normalisation of the encoder stays as it is in training, as the few images
            of a batch ask for where its weights are published ones.
        box_samples: Of the boxes of each image, on how many the heads learn in a step.
        anchor_samples: Of the anchors of each image, on how many the search learns in a step.

    Raises:
        ModelError: If there is no such backbone, or its weights cannot be had.
        ValueError: If a number is less than 1.
    """

    def __init__(
        self,
        settings: MaskRcnnSettings,
        classes: int = 1,
        *,
        pretrained: bool = False,
        frozen_normalisation: bool = False,
        box_samples: int = 512,
        anchor_samples: int = 256,
    ) -> None:
        super().__init__()
        for name, value in {"classes": classes, "box_samples": box_samples, "anchor_samples": anchor_samples}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.frozen_normalisation = frozen_normalisation
        backbone = PyramidBackbone(settings.backbone, settings.channels, pretrained=pretrained)
        strides, outputs = backbone.encoder.strides, classes + 1  # torchvision's class 0 is "no object"
        box_pool, mask_pool = _pool(strides, 7), _pool(strides, MASK_SIDE // 2)
        self.detector = MaskRCNN(
            backbone,
            rpn_anchor_generator=_anchors(settings),
            rpn_pre_nms_top_n_train=2 * settings.proposals,
            rpn_post_nms_top_n_train=2 * settings.proposals,
            rpn_pre_nms_top_n_test=settings.proposals,
            rpn_post_nms_top_n_test=settings.proposals,
            rpn_batch_size_per_image=anchor_samples,
            box_roi_pool=box_pool,
            box_head=TwoMLPHead(settings.channels * 7**2, settings.box_width),
            box_predictor=FastRCNNPredictor(settings.box_width, outputs),
            box_batch_size_per_image=box_samples,
            mask_roi_pool=mask_pool,
            mask_head=MaskRCNNHeads(settings.channels, (settings.mask_width,) * settings.mask_layers, 1),
            mask_predictor=MaskRCNNPredictor(settings.mask_width, settings.mask_width, outputs),
        )
        self.detector.transform = Padding(backbone.encoder)
        if frozen_normalisation:
            for module in self._normalisations():
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> MaskRcnnNetwork:
        """Change the mode of all but frozen normalisations."""
        super().train(mode)
        if self.frozen_normalisation:
            for module in self._normalisations():
                module.eval()
        return self

    def forward(
        self, images: Float[Tensor, "b 3 h w"], targets: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, Float[Tensor, ""]]:
        """The losses, in training mode.

        Args:
            images: (B, 3, H, W) RGB values in [0, 1], of any size from 1x1 up.
            targets: The objects of each image, as `instance_targets` gives them.

        Returns:
            Each of `LOSSES`.

        Raises:
            ValueError: In evaluation mode.
        """
        if not self.training:
            raise ValueError("there are losses in training mode alone; call train(), or detect() for detections")
        found = self.detector(images, targets)
        return {ours: found[theirs] for ours, theirs in LOSSES.items()}

    def detect(self, images: Float[Tensor, "b 3 h w"], settings: MaskRcnnSettings) -> list[Detections]:
        """The detections in images of one size, in evaluation mode.

        Args:
            images: (B, 3, H, W) RGB values in [0, 1], of any size from 1x1 up.
            settings: `minimum_score`, `nms_threshold` and `max_detections` are taken from them.

        Raises:
            ValueError: In training mode.
        """
        if self.training:
            raise ValueError("there are detections in evaluation mode alone; call eval() first")
        heads = self.detector.roi_heads
        heads.score_thresh, heads.nms_thresh = settings.minimum_score, settings.nms_threshold
        heads.detections_per_img = settings.max_detections
        return [
            Detections(found["boxes"], found["labels"] - 1, found["scores"], found["masks"][:, 0])
            for found in self.detector(images)
        ]

    def _normalisations(self) -> list[nn.Module]:
        encoder = self.detector.backbone.encoder
        return [module for module in encoder.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


class PyramidBackbone(nn.Module):
    """Four levels of a timm model, merged into a pyramid, and a fifth at half the resolution of the coarsest.

    Args:
        name: Of the timm model.
        channels: Of every level of the pyramid.
        pretrained: Whether to start from published weights, downloaded once.
    """

    def __init__(self, name: str, channels: int, *, pretrained: bool = False) -> None:
        super().__init__()
        self.encoder = TimmBackbone(name, pretrained=pretrained)
        self.pyramid = FeaturePyramid(self.encoder.channels, channels)
        self.out_channels = channels

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> OrderedDict[str, Float[Tensor, "b d _ _"]]:
        """The levels by name, finest first, as torchvision's detectors take them."""
        levels = self.pyramid(self.encoder(images))
        named = OrderedDict((str(number), level) for number, level in enumerate(levels))
        named["pool"] = F.max_pool2d(levels[-1], kernel_size=1, stride=2)
        return named


class Padding(nn.Module):
    """Takes the place of torchvision's transform: pads images, and leaves size, colours and results as they are.

    The backbone normalises colours itself, the segmenter brings images to their size, and the grouping brings boxes and
    masks to the image's size, of which torchvision would make one full-sized map for each detection. The padding is the
    one that the backbone would choose, so that the stride of every level is what the anchors take it for.

    Args:
        encoder: It knows the padded size.
    """

    def __init__(self, encoder: TimmBackbone) -> None:
        super().__init__()
        self.padded_size = encoder.padded_size

    def forward(
        self, images: Float[Tensor, "b 3 h w"], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> tuple[ImageList, Sequence[Mapping[str, Tensor]] | None]:
        """The images padded at the bottom and on the right by repeating the last row and column; targets stay."""
        rows, columns = images.shape[-2:]
        height, width = self.padded_size((rows, columns))
        padded = F.pad(images, (0, width - columns, 0, height - rows), mode="replicate")
        return ImageList(padded, [(rows, columns)] * len(images)), targets

    def postprocess(
        self, result: list[dict[str, Tensor]], image_shapes: object, original_image_sizes: object
    ) -> list[dict[str, Tensor]]:
        """The detections as they are: torchvision calls this with what the heads give, and two lists of sizes."""
        del image_shapes, original_image_sizes
        return result


def class_count(categories: Sequence[Category]) -> int:
    """How many classes the network tells apart: those of the data, or one without a name where it has none."""
    return max(1, len(categories))


def _anchors(settings: MaskRcnnSettings) -> AnchorGenerator:
    sizes = tuple((size,) for size in settings.anchor_sizes)
    return AnchorGenerator(sizes, (settings.anchor_ratios,) * len(sizes))


def _pool(strides: Sequence[int], side: int) -> MultiScaleRoIAlign:
    """RoIAlign of the levels with these strides, whose scales torchvision would else guess from the first image."""
    pool = MultiScaleRoIAlign([str(number) for number in range(len(strides))], side, 2)
    pool.scales = [1 / stride for stride in strides]
    pool.map_levels = LevelMapper(round(math.log2(strides[0])), round(math.log2(strides[-1])))
    return pool
