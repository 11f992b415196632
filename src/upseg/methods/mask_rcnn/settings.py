"""The settings of `mask_rcnn`: what rebuilds the network, and what decides how its detections become segments."""

from __future__ import annotations

from dataclasses import dataclass

from upseg.functional.ranges import check_ranges

LEVELS = 5
"""Of the pyramid: four levels of the backbone, and the coarsest of them once more at half its resolution."""


@dataclass(frozen=True, slots=True)
class MaskRcnnSettings:
    """Everything but the weights and the classes that decides the answer; `PAPER.md` says which are torchvision's.

    Attributes:
        backbone: The encoder, by timm's name, with feature maps at four strides.
        channels: Of the feature pyramid.
        box_width: Of the two layers that classify a box and move its sides.
        mask_width: Channels of the convolutions that draw the mask in a box.
        mask_layers: How many of these convolutions there are.
        anchor_sizes: Sides in pixels of the boxes that the search begins with, one for each level of the pyramid,
            finest first: about the sizes of the objects, as the network sees them.
        anchor_ratios: Heights of these boxes for each width; every size has all of them.
        proposals: How many boxes the search may hand on for each image; twice as many in training.
        min_size: Shorter side in pixels to which an image is brought for the network, larger or smaller; None for its
            own size.
        max_size: The longer side is at most so many pixels, whatever `min_size` says; None for no limit.
        minimum_score: Detections with a lower score are dropped, in [0, 1].
        nms_threshold: Of two boxes of one class that overlap more than this (IoU), the one with the lower score is
            dropped, in [0, 1].
        max_detections: The most detections for each image; those of the highest score stay.
        mask_threshold: Pixels of a box with at least this probability belong to its mask, in [0, 1].
        minimum_visible: Masks of which masks with a higher score cover more than all but this share are dropped, in
            [0, 1].
        minimum_area: Segments with fewer pixels are dropped, in pixels of the image.
        threads: Of the processor, for torch. The last digits of sums, and now and then a pixel, depend on their
            number. None for as many as torch takes.
    """

    backbone: str = "resnet50"
    channels: int = 256
    box_width: int = 1024
    mask_width: int = 256
    mask_layers: int = 4
    anchor_sizes: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    proposals: int = 1000
    min_size: int | None = 800
    max_size: int | None = 1333
    minimum_score: float = 0.5
    nms_threshold: float = 0.5
    max_detections: int = 100
    mask_threshold: float = 0.5
    minimum_visible: float = 0.5
    minimum_area: int = 1
    threads: int | None = None

    def __post_init__(self) -> None:
        shares = ("minimum_score", "nms_threshold", "mask_threshold", "minimum_visible")
        check_ranges(self, shares=shares, minimum_area=1)
        if len(self.anchor_sizes) != LEVELS or not all(1 <= size < float("inf") for size in self.anchor_sizes):
            raise ValueError(
                f"anchor_sizes must be {LEVELS} numbers of at least 1 pixel, one for each level of the pyramid, "
                f"got {self.anchor_sizes}"
            )
        if not self.anchor_ratios or not all(0 < ratio < float("inf") for ratio in self.anchor_ratios):
            raise ValueError(f"anchor_ratios must be one or more numbers above 0, got {self.anchor_ratios}")
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise ValueError(f"min_size must be at most max_size ({self.max_size}), got {self.min_size}")
