"""The settings of `panoptic`: what rebuilds the network, and what decides how its maps become segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar, Literal

from upseg.functional.ranges import check_ranges

HEADS = ("semantic", "instance", "depth")
"""What a model may predict of each pixel, in the order in which it is listed."""


@dataclass(frozen=True, slots=True)
class PanopticSettings:
    """Everything but the weights and the classes that decides the answer; `PAPER.md` says which are the paper's.

    Attributes:
        backbone: The vision transformer, or a convolutional network with feature maps, by timm's name.
        patch: Side of its patches in pixels; None for its own, or 16 where it has none. The targets' `patch` has to be
            the same.
        layers: The blocks, counted from 1, whose patch tokens the decoder takes; None for those of the paper where it
            names them, else four evenly spaced ones. Of a convolutional network its levels, from the finest; None for
            2 to 5.
        decoder_channels: Widths of the decoder's transposed convolutions, each of which doubles the resolution.
        heads: What the network predicts, of `HEADS`: semantic, instance or both of them, and depth if wanted.
        encoding: What the instance channels hold: the paper's sines and cosines of the centre (`positional`), its
            coordinates themselves (`rgb`), or probabilities of each row and column of the grid (`bins`).
        frequencies: L, of the positional encoding.
        relative: Whether the network says of each pixel where the centre is from there, which is then turned by the
            pixel's own code: for convolutions, which do not know where they are. Only with the encoding `positional`.
        grid: Rows and columns of the grid of centres to which predictions are decoded.
        maximum_depth: In metres, the most that the network can say; None where depth is a relative disparity.
        size: Longer side in pixels to which an image is brought for the network, larger or smaller; None for its own.
        suppression_radius: A centre with more votes removes all others that are at most so many cells of the grid away.
        minimum_votes: Cells with fewer votes are no centres; as a share of the pixels, each of which has one vote.
        minimum_thing_area: Things with fewer pixels are dropped; as a share of the image's pixels.
        minimum_stuff_area: Likewise what all of the image has of one class of stuff.
        minimum_score: Things whose mean vote confidence is below this are dropped, in [0, 1].
        threads: Of the processor, for torch. The last digits of sums, and now and then a pixel, depend on their
            number. None for as many as torch takes.
    """

    renamed: ClassVar[Mapping[str, str]] = MappingProxyType({"tasks": "heads"})
    """Settings by the names that they had once."""

    backbone: str = "vit_base_patch14_dinov2"
    patch: int | None = None
    layers: tuple[int, ...] | None = None
    decoder_channels: tuple[int, ...] = (512, 256, 256)
    heads: tuple[str, ...] = ("semantic", "instance")
    encoding: Literal["positional", "rgb", "bins"] = "positional"
    frequencies: int = 4
    relative: bool = False
    grid: tuple[int, int] = (80, 80)
    maximum_depth: float | None = None
    size: int | None = 840
    suppression_radius: float = 2.5
    minimum_votes: float = 0.00005
    minimum_thing_area: float = 0.00005
    minimum_stuff_area: float = 0.001
    minimum_score: float = 0.0
    threads: int | None = None

    def __post_init__(self) -> None:
        shares = ("minimum_votes", "minimum_thing_area", "minimum_stuff_area", "minimum_score")
        check_ranges(self, shares=shares)
        self._check_heads()
        self._check_network()
        if not 0 <= self.suppression_radius < float("inf"):
            raise ValueError(f"suppression_radius must be finite and at least 0, got {self.suppression_radius}")

    @property
    def predicts_depth(self) -> bool:
        """Whether a model with these settings predicts depth."""
        return "depth" in self.heads

    def _check_heads(self) -> None:
        if not {"semantic", "instance"} & set(self.heads) or not set(self.heads) <= set(HEADS):
            raise ValueError(
                f"heads must be semantic, instance or both, and depth if wanted, got {', '.join(self.heads) or 'none'}"
            )
        if list(self.heads) != [head for head in HEADS if head in self.heads]:
            raise ValueError(f"heads must be listed once each in the order {', '.join(HEADS)}, got {self.heads}")
        if self.maximum_depth is not None and not ("depth" in self.heads and 0 < self.maximum_depth < float("inf")):
            raise ValueError(
                f"maximum_depth must be above 0 metres, and given only with the head depth, got {self.maximum_depth}"
            )

    def _check_network(self) -> None:
        if self.layers is not None and not (self.layers and all(a < b for a, b in pairwise((0, *self.layers)))):
            raise ValueError(f"layers must be growing numbers from 1, got {self.layers}")
        if not self.decoder_channels or min(self.decoder_channels) < 1:
            raise ValueError(f"decoder_channels must be one or more numbers from 1, got {self.decoder_channels}")
        if self.relative and self.encoding != "positional":
            raise ValueError(f"relative needs the encoding positional, got {self.encoding}")
        if min(self.grid) < 2:
            raise ValueError(f"grid must have at least 2 rows and 2 columns, got {self.grid}")
