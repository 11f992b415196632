"""The settings of `cells`: what rebuilds the network, and what decides how its maps become segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from upseg.functional.ranges import check_ranges


@dataclass(frozen=True, slots=True)
class CellSettings:
    """Everything but the weights that decides the answer.

    Attributes:
        backbone: The encoder, by timm's name; it must give feature maps at strides 2, 4, 8, 16 and 32.
        channels: Of the decoder's four levels, coarsest first.
        canonical: Diameter in pixels of the objects that the network sees best: images are scaled so that theirs is it.
        diameter: Of the objects in the image's own pixels; `auto` for what the network finds.
        passes: With `auto`, the most times that the diameter is estimated anew at the scale found before.
        largest: Side in pixels of an image that is estimated from: larger ones are reduced.
        enlarged: The most that images are enlarged, along a side.
        stretch: Whether the contrast of images is stretched, by percentiles.
        flips: Whether the maps are the mean of those of the image and of its mirror images, four passes for one.
        tile: Side in pixels of the squares in which larger images pass through the network.
        overlap: Of neighbouring tiles, in pixels: at least this many, less than `tile`.
        foreground: Pixels above this probability belong to objects, in [0, 1].
        border_weight: How much the probability of a border lowers the distance before its peaks are looked for.
        smoothing: Deviation of the smoothing of the distance, in pixels of the scaled image.
        prominence: How far the distance must fall between two peaks for them to be two objects, in [0, 1].
        minimum_area: Of an object, in shares of the area of the disk with the canonical diameter.
        minimum_score: Objects whose mean foreground probability is below this are left out, in [0, 1].
        threads: Of the processor, for torch; None for as many as torch takes.
    """

    backbone: str = "tf_efficientnet_lite0"
    channels: tuple[int, ...] = (96, 64, 48, 32)
    canonical: float = 22.0
    diameter: float | Literal["auto"] = "auto"
    passes: int = 2
    largest: int = 768
    enlarged: float = 2.5
    stretch: bool = True
    flips: bool = False
    tile: int = 1024
    overlap: int = 128
    foreground: float = 0.5
    border_weight: float = 0.25
    smoothing: float = 1.5
    prominence: float = 0.12
    minimum_area: float = 0.12
    minimum_score: float = 0.65
    threads: int | None = None

    def __post_init__(self) -> None:
        check_ranges(self, shares=("foreground", "prominence", "minimum_score"), largest=64, tile=64)
        if self.diameter != "auto" and not (isinstance(self.diameter, float) and self.diameter > 0):
            raise ValueError(f"diameter must be 'auto' or a positive number of pixels, got {self.diameter!r}")
        if not (self.canonical > 0 and self.enlarged > 0):
            raise ValueError(f"canonical and enlarged must be positive, got {self.canonical} and {self.enlarged}")
        if not self.overlap < self.tile:
            raise ValueError(f"overlap must be less than tile, got {self.overlap} and {self.tile}")
