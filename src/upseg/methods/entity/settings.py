"""The settings of `entity`: what rebuilds the network, and what decides how its features become segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from upseg.functional.ranges import check_ranges

BYTES_OF_A_FEATURE = 4
"""Features are float32 wherever they are clustered."""


@dataclass(frozen=True, slots=True)
class EntitySettings:
    """Everything but the weights that decides the answer; the defaults are the paper's, or the choices in `PAPER.md`.

    Attributes:
        backbone: The encoder, by timm's name; it must give feature maps at strides 4, 8, 16 and 32.
        channels: Of the decoder.
        dimensions: d, of the features.
        positions: Period in pixels of the sines and cosines of row and column that the network is given, for images
            full of objects that look the same; None for none, as in the paper.
        background: What the network was trained to do with pixels of no entity: `unlabelled` is the paper's (every
            pixel belongs to some segment), `void` gives the background the line e_1, and its pixels stay void.
        size: Shorter side of the image in pixels at the lowest resolution; smaller images keep their own size. None
            for the image's own size, and that alone.
        scales: Of the resolutions that are refined one by the other, in multiples of `size`, growing; none goes above
            the image's own size.
        tile: Side in pixels of the squares in which resolutions larger than it pass through the network.
        overlap: Of neighbouring tiles, in pixels: at least this many, less than `tile`.
        memory: Of the features of one resolution, in GiB: larger resolutions are reduced to fit. Grouping needs up to
            half of it again.
        bandwidth: Of the mean shift, in degrees: in (0, 90].
        window: Side in pixels, at least 2, of the windows that are clustered one by one and merged over their seams;
            None clusters the whole image at once.
        connected: Whether the 4-connected parts of a cluster become segments of their own.
        minimum_area: 4-connected parts with fewer pixels, counted in the image's own, join a neighbouring segment.
        minimum_thickness: Parts that are nowhere so many pixels thick join a neighbour likewise, if they have one.
        minimum_score: Segments whose mean |f . mode| is below this become void, in [0, 1].
        fill_holes: Whether void pixels that one segment surrounds become its own.
        trim: Pixels of segments at most so many pixels, counted in the image's own, from void become void, for networks
            that draw objects too large. Segments that would vanish stay as they are.
        minimum_added_area: The least area, in pixels of the image, of a segment that a finer resolution adds.
        threads: Of the processor, for torch. The last digits of sums, and now and then a pixel, depend on their
            number. None for as many as torch takes.
        seed: Of the samples on which modes are found.
    """

    backbone: str = "convnext_base"
    channels: int = 256
    dimensions: int = 128
    positions: int | None = None
    background: Literal["unlabelled", "void"] = "unlabelled"
    size: int | None = 384
    scales: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0)
    tile: int = 768
    overlap: int = 128
    memory: float = 2.0
    bandwidth: float = 45.0
    window: int | None = None
    connected: bool = False
    minimum_area: int = 0
    minimum_thickness: int = 0
    minimum_score: float = 0.0
    fill_holes: bool = False
    trim: int = 0
    minimum_added_area: int = 64
    threads: int | None = None
    seed: int = 0

    trained_with: ClassVar[tuple[str, ...]] = ("background",)
    """What weights were trained for, and settings of a model therefore cannot change."""

    def __post_init__(self) -> None:
        check_ranges(self, shares=("minimum_score",))
        pairs = zip(self.scales, self.scales[1:], strict=False)
        if not self.scales or not 0 < self.scales[0] < float("inf") or not all(a < b < float("inf") for a, b in pairs):
            raise ValueError(f"scales must be one or more growing numbers above 0, got {self.scales}")
        if not self.overlap < self.tile:
            raise ValueError(f"overlap must be less than tile, got {self.overlap} and {self.tile}")
        if not 0 < self.bandwidth <= 90:
            raise ValueError(f"bandwidth must be above 0 and at most 90 degrees, got {self.bandwidth}")
        if not 0 < self.memory < float("inf"):
            raise ValueError(f"memory must be above 0 GiB, got {self.memory}")

    @property
    def max_pixels(self) -> int:
        """The most pixels a resolution may have for its features to fit into `memory`."""
        return max(1, int(self.memory * 2**30) // (BYTES_OF_A_FEATURE * self.dimensions))
