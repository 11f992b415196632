"""The settings of `baiseg`: what rebuilds the network, and what decides how its maps become instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from upseg.functional.ranges import check_ranges


@dataclass(frozen=True, slots=True)
class BaisegSettings:
    """Everything but the weights and the classes that decides the answer; `PAPER.md` says which are the paper's.

    The defaults of the extraction are those that were best for trained networks, and that the recipes have; the preset
    `paper` is Appendix C: one threshold of the distance for the image, two dilations, a watershed in the image.

    Attributes:
        backbone: The encoder, by timm's name, with feature maps at several strides.
        levels: Which of the encoder's levels, counted from the finest; None for all (Eq. 8), `[-1]` for the coarsest
            alone, the single scale of Table 6.
        width: Channels to which each of the encoder's levels is brought before they are put side by side (Eq. 8).
        resolution: Pixels of the image, along one side, for each pixel of the features and the boundary map: coarser
            levels are enlarged to it, finer ones reduced.
        cascade: R, how many fusion modules follow one another.
        hidden: Channels of the fusion modules.
        fusion: Whether there are cascade fusion modules at all; else the boundary map is read off the encoder's levels.
        attention: Whether they have deep mutual attention; else a plain convolution in its place.
        contrast_dimensions: Of the projection on which boundary pixels are contrasted in training; 0 for none.
        contrast_projection: `linear`, one 1x1 convolution, or `mlp`, two with batch normalisation and ReLU between
            them, as Wang et al. 2021 have it.
        contrast_module: The fusion module, counted from 1, whose features are projected.
        semantic_width: Channels of the semantic branch; None for a model without one, which needs class masks.
        semantic_resolution: Pixels of the image for each pixel of the semantic branch, a multiple of `resolution`.
        background: Whether pixels without a label are a class of their own, the first; else they are ignored.
        size: Longer side in pixels to which an image is brought for the network, larger or smaller; None for its own.
        max_pixels: Larger images are reduced to so many pixels for the network and the extraction.
        tile: Largest side in pixels that the network sees at once.
        overlap: Of neighbouring tiles, in pixels.
        boundary_threshold: Thinned boundaries below this are none, in [0, 1].
        dilations: How often the thin boundaries are dilated by 3x3.
        marker_ratio: Two peaks of the distance to the boundary are one object if the way between them stays above this
            share of the lower peak, in (0, 1].
        distance_threshold: In the place of `marker_ratio`: markers are the parts of an image that are farther from
            boundaries than this share of its largest distance, in (0, 1); None for `marker_ratio`.
        prominence: In the place of both, for objects of about one size: markers are the peaks of the distance to the
            class's contour, less `boundary_depth`, that stand out by more than so many pixels, above 0; the watershed
            rises in the same relief. None for lines and markers.
        boundary_depth: With `prominence`, by how many pixels the distance is lowered where a boundary is certain.
        flood: What the watershed rises in: the `boundary` map, or the gradient of the `image`.
        semantic_contours: Whether the contours of the semantic map count as boundaries.
        refine: Whether masks are closed, and cut down to the semantic region of their class.
        closing: Diameter in pixels of the disc that closes masks, odd.
        minimum_area: Instances with fewer pixels are dropped, in pixels of the image.
        minimum_score: Instances with a lower score are dropped, in [0, 1].
        threads: Of the processor, for torch. The last digits of sums, and now and then a pixel, depend on their
            number. None for as many as torch takes.
    """

    backbone: str = "hrnet_w48"
    levels: tuple[int, ...] | None = None
    width: int = 48
    resolution: int = 4
    cascade: int = 4
    hidden: int = 128
    fusion: bool = True
    attention: bool = True
    contrast_dimensions: int = 1
    contrast_projection: Literal["linear", "mlp"] = "linear"
    contrast_module: int = 2
    semantic_width: int | None = 256
    semantic_resolution: int = 8
    background: bool = False
    size: int | None = None
    max_pixels: int = 4_000_000
    tile: int = 1024
    overlap: int = 128
    boundary_threshold: float = 0.9
    dilations: int = 0
    marker_ratio: float = 0.75
    distance_threshold: float | None = None
    prominence: float | None = None
    boundary_depth: float = 3.0
    flood: Literal["boundary", "image"] = "boundary"
    semantic_contours: bool = True
    refine: bool = True
    closing: int = 5
    minimum_area: int = 20
    minimum_score: float = 0.0
    threads: int | None = None

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "default": MappingProxyType({}),
            "paper": MappingProxyType({"dilations": 2, "distance_threshold": 0.5, "flood": "image"}),
        }
    )

    def __post_init__(self) -> None:
        check_ranges(self, shares=("boundary_threshold", "minimum_score"), tile=32)
        self._check_network()
        if not 0 < self.marker_ratio <= 1:
            raise ValueError(f"marker_ratio must be above 0 and at most 1, got {self.marker_ratio}")
        if self.distance_threshold is not None and not 0 < self.distance_threshold < 1:
            raise ValueError(f"distance_threshold must be between 0 and 1, got {self.distance_threshold}")
        if self.prominence is not None and not self.prominence > 0:
            raise ValueError(f"prominence must be above 0, got {self.prominence}")
        if self.prominence is not None and self.distance_threshold is not None:
            raise ValueError("prominence and distance_threshold both say what is a marker: give one of them")
        if self.closing % 2 == 0:
            raise ValueError(f"closing must be odd, got {self.closing}")

    def _check_network(self) -> None:
        if self.levels is not None and not self.levels:
            raise ValueError("levels must name at least one of the encoder's levels, or be null for all")
        if self.contrast_module > self.cascade:
            raise ValueError(
                f"contrast_module must be one of the {self.cascade} fusion modules, got {self.contrast_module}"
            )
        if self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution must be a power of 2, got {self.resolution}")
        if self.semantic_resolution % self.resolution:
            raise ValueError(
                f"semantic_resolution must be a multiple of resolution ({self.resolution}), "
                f"got {self.semantic_resolution}"
            )
        if self.overlap >= self.tile:
            raise ValueError(f"overlap must be less than tile ({self.tile}), got {self.overlap}")
