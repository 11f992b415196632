"""The settings of DynaSeg with one network for a whole data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from upseg.functional.ranges import check_ranges

ClassExtractor = Literal["cnn", "resnet18-fpn", "lite0-fpn"]


@dataclass(frozen=True, slots=True)
class DynaSegClassesSettings:
    """What rebuilds the network, and what decides how an image gets its labels.

    Attributes:
        extractor: `cnn` (M blocks at full resolution), `resnet18-fpn`, or `lite0-fpn` (ours: EfficientNet-Lite0, whose
            ImageNet weights come with the package, in the place of ResNet-18).
        features: p, channels of the features.
        clusters: q, the labels that there are in all images together: the number of the data set's classes (Sec. 4.1).
        blocks: M, of the `cnn` extractor.
        size: Shorter side in pixels at which the network sees an image; None for its own.
        threads: Of the processor, for torch; None for as many as torch takes.
    """

    extractor: ClassExtractor = "resnet18-fpn"
    features: int = 100
    clusters: int = 27
    blocks: int = 3
    size: int | None = 320
    threads: int | None = None

    def __post_init__(self) -> None:
        check_ranges(self, clusters=2)

    @property
    def has_backbone(self) -> bool:
        """Whether there are ImageNet weights that the extractor can start from."""
        return self.extractor != "cnn"
