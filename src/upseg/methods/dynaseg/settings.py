"""The settings of DynaSeg, and the named sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from upseg.functional.ranges import check_ranges

PAPER_ALPHA: Mapping[str, float] = MappingProxyType({"fsf": 15.0, "scf": 50.0, "fixed": 5.0})
"""alpha of each weighting in the paper's experiments (Sec. 4.1; for `fixed`, mu in Table 1)."""


@dataclass(frozen=True, slots=True)
class DynaSegSettings:
    """Everything that decides DynaSeg's answer; the defaults are the preset `default`.

    Attributes:
        extractor: `cnn` (M blocks at full resolution) or `resnet18-fpn`.
        features: p, channels of the features.
        clusters: q, the number of labels there are.
        blocks: M, of the `cnn` extractor.
        pretrained: Whether `resnet18-fpn` starts from ImageNet weights, downloaded once; None for: if it has no
            `weights`.
        weights: A `.safetensors` file with the weights of a ResNet-18 instead, for use offline.
        weighting: How mu balances the two losses: `fsf` (Eq. 8), `scf` (Eq. 9) or `fixed` (mu = alpha).
        alpha: Of the weighting; None for the paper's value for it (15, 50, 5).
        steps: T, the most optimisation steps; with 0 the hierarchy does without a network.
        learning_rate: Of SGD.
        momentum: Of SGD, in [0, 1).
        weight_decay: Of SGD.
        floor: q*, the fit stops when no more labels are in use: a number, or `silhouette` to read it off the image.
        crop: Side in pixels of the random square that each step sees; None for the whole image.
        precision: `bfloat16` computes convolutions in bfloat16 (weights and losses stay float32); `float32`.
        working_pixels: Larger images are reduced to about this many pixels for the fit; the borders of the result
            are then drawn at full size. None never reduces.
        grouping: `hierarchy` merges small regions up to a level of detail; `labels` gives the label map as it is.
        connected: For `labels`: whether the 4-connected parts of a label become segments of their own.
        compare_by: For `hierarchy`: what regions are compared by. `colour` alone; `imagenet`: also feature maps of a
            network that was trained on ImageNet (the first stages of EfficientNet-Lite0); `photos`: also what a small
            network above it learned from outlined things in photos of COCO. The weights come with the package.
        learned_level: For `compare_by=photos`: whether the level of detail 0.5 is the cut of the hierarchy that shows
            most whole entities, by what was learned from photos of COCO. Without it one height cuts the whole image.
        detail: For `hierarchy`: 0 (few large segments) to 1 (all regions); None for 0.5.
        threads: Of the processor, for torch. The order of sums, and with it the last digits and now and then a segment,
            depend on their number: with the default of 1 the answer is the same however many images are segmented
            side by side. None for as many as torch takes, which is faster for one large fit.
        seed: Of the network's first weights, the crops and the silhouette phase.
    """

    renamed: ClassVar[Mapping[str, str]] = MappingProxyType({"imagenet": "compare_by"})
    """Settings by the names that they had once."""
    renamed_values: ClassVar[Mapping[str, Mapping[str, str]]] = MappingProxyType(
        {"imagenet": {"true": "imagenet", "false": "colour"}}
    )

    extractor: Literal["cnn", "resnet18-fpn"] = "cnn"
    features: int = 64
    clusters: int = 64
    blocks: int = 3
    pretrained: bool | None = None
    weights: str | None = None
    weighting: Literal["fsf", "scf", "fixed"] = "fsf"
    alpha: float | None = None
    steps: int = 0
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    floor: Literal["silhouette"] | int = "silhouette"
    crop: int | None = 240
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    working_pixels: int | None = 1_000_000
    grouping: Literal["hierarchy", "labels"] = "hierarchy"
    connected: bool = True
    compare_by: Literal["colour", "imagenet", "photos"] = "photos"
    learned_level: bool = False
    detail: float | None = None
    threads: int | None = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self)
        self._check_extractor()
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                f"learning_rate must be above 0 and momentum in [0, 1), got {self.learning_rate} and {self.momentum}"
            )
        if self.alpha is not None and not self.alpha > 0:
            raise ValueError(f"alpha must be above 0, got {self.alpha}")
        if self.detail is not None and not 0 <= self.detail <= 1:
            raise ValueError(f"detail must be between 0 (few, large) and 1 (all), got {self.detail}")
        if self.detail is not None and self.grouping != "hierarchy":
            raise ValueError(
                "detail chooses a level of the region hierarchy; with grouping=labels there is none "
                "(the preset paper has none: use the preset default, or grouping=hierarchy)"
            )
        if self.learned_level and not (self.compare_by == "photos" and self.grouping == "hierarchy"):
            raise ValueError(
                "learned_level chooses a level of the region hierarchy by what photos taught: it needs "
                f"compare_by=photos and grouping=hierarchy, got {self.compare_by} and {self.grouping}"
            )
        if self.steps == 0 and self.grouping == "labels":
            raise ValueError("grouping=labels shows the labels of a fitted network: give steps, such as steps=30")

    def _check_extractor(self) -> None:
        if isinstance(self.floor, str) and self.floor != "silhouette":
            raise ValueError(f"floor must be a number or silhouette, got {self.floor!r}")
        if self.extractor == "cnn" and (self.pretrained or self.weights is not None):
            raise ValueError("pretrained and weights belong to the extractor resnet18-fpn, but it is cnn")
        if self.pretrained and self.weights is not None:
            raise ValueError("give either pretrained or weights, not both")

    @classmethod
    def preset(cls, name: str = "default", **changes: Any) -> DynaSegSettings:
        """A named set of settings, with changes.

        Args:
            name: `default` (tuned on the training images of BSDS500), `paper` (the paper's own: Sec. 4.1) or `resnet`
                (the paper's other extractor: a pretrained ResNet-18 with a feature pyramid, Sec. 3.2.2).
            changes: Fields that differ from it.

        Raises:
            ValueError: If there is no such preset, or a value is out of range.
        """
        if name not in PRESETS:
            raise ValueError(f"the presets are {', '.join(PRESETS)}, got {name!r}")
        return cls(**{**asdict(PRESETS[name]), **changes})

    @property
    def downloads_weights(self) -> bool:
        """Whether the fit starts from ImageNet weights of the Hugging Face Hub."""
        own = self.extractor == "resnet18-fpn" and self.weights is None
        return own if self.pretrained is None else self.pretrained

    @property
    def has_hierarchy(self) -> bool:
        """Whether results have several levels of detail."""
        return self.grouping == "hierarchy"

    @property
    def balance(self) -> float:
        """Alpha as the weighting takes it."""
        return PAPER_ALPHA[self.weighting] if self.alpha is None else self.alpha


_PAPER = DynaSegSettings(
    features=100,
    clusters=100,
    steps=1000,
    crop=None,
    precision="float32",
    working_pixels=None,
    grouping="labels",
    threads=None,
)
PRESETS: Mapping[str, DynaSegSettings] = MappingProxyType(
    {
        "default": DynaSegSettings(),
        "paper": _PAPER,
        "resnet": replace(_PAPER, extractor="resnet18-fpn"),
    }
)
