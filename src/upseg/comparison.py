"""Where segmentations of one image agree: a map of common borders, and how far apart each two of them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8
from scipy import ndimage

from upseg.formats.depth import depth_colours
from upseg.functional.contingency import Overlaps, overlaps
from upseg.functional.label_maps import border_pixels
from upseg.metrics.variation_of_information import variation_of_information
from upseg.segmentation import Segmentation

TOLERANCE = 0.0075
"""Borders are the same within this share of the image's diagonal, as the BSDS500 benchmark has it."""
MATCHED = 0.5
"""Segments with a larger IoU are the same one: then each has at most one partner."""


@dataclass(frozen=True)
class PairAgreement:
    """How far apart two segmentations are.

    Attributes:
        first: Name of the one.
        second: Name of the other.
        variation_of_information: Bits, 0 for the same partition.
        adjusted_rand: Share of pixel pairs on which both agree, above chance: 1 for the same partition, about 0 for
            independent ones.
        matches: (M, 2) ids of the segments, of the one and of the other, that are the same one.
        ious: (M,) IoU of each pair, above 0.5.
        segments: Their numbers of segments.
    """

    first: str
    second: str
    variation_of_information: float
    adjusted_rand: float
    matches: Int64[np.ndarray, "m 2"]
    ious: Float64[np.ndarray, " m"]
    segments: tuple[int, int]

    @property
    def matched_share(self) -> float:
        """2 M / (K1 + K2): the share of all segments that have a partner; nan where there are none."""
        return 2 * len(self.ious) / sum(self.segments) if sum(self.segments) else float("nan")


@dataclass(frozen=True)
class Agreement:
    """How several segmentations of one image agree.

    Attributes:
        names: Of the segmentations.
        border_votes: (H, W) how many of them have a border at a pixel, or nearer than the tolerance to it; 0 where
            none has one just there.
        pairs: Each two of them.
    """

    names: tuple[str, ...]
    border_votes: Int32[np.ndarray, "h w"]
    pairs: tuple[PairAgreement, ...]

    @property
    def border_agreement(self) -> float:
        """The mean share of segmentations that have a border where any has one: 1 / N to 1; nan without borders."""
        votes = self.border_votes[self.border_votes > 0]
        return float(votes.mean()) / len(self.names) if len(votes) else float("nan")

    def picture(self, image: Float32[np.ndarray, "h w 3"] | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """The borders in colour, dark violet where one segmentation has them to yellow where all do.

        Args:
            image: Shown below them in grey; without it the ground is white.

        Raises:
            ValueError: If the image has another size.
        """
        ground = np.full((*self.border_votes.shape, 3), 255, np.uint8)
        if image is not None:
            if image.shape[:2] != self.border_votes.shape:
                raise ValueError(f"the image must have {self.border_votes.shape} pixels, got {image.shape[:2]}")
            grey = np.rint(255 - (1 - image.mean(axis=2)) * 150).astype(np.uint8)
            ground = np.repeat(grey[..., None], 3, axis=2)
        ramp = depth_colours()
        ranks = np.maximum(self.border_votes - 1, 0) * (len(ramp) - 1) // max(len(self.names) - 1, 1)
        return np.where(self.border_votes[..., None] > 0, ramp[ranks], ground)


def compare(segmentations: Mapping[str, Segmentation]) -> Agreement:
    """Compare segmentations of one image, such as those of several methods or several annotators.

    Void is a segment like any other for the two distances, and none for matches.

    Args:
        segmentations: At least two, of the same size, by their names.

    Raises:
        ValueError: If there are not two, or their sizes differ.

    Example:
        >>> one = Segmentation.from_labels(np.array([[1, 1, 2, 2]]))
        >>> other = Segmentation.from_labels(np.array([[1, 1, 1, 1]]))
        >>> found = compare({"one": one, "other": other, "again": one})
        >>> [round(pair.variation_of_information, 3) for pair in found.pairs]
        [1.0, 0.0, 1.0]
        >>> found.border_votes.tolist()
        [[0, 2, 2, 0]]
    """
    if len(segmentations) < 2:
        raise ValueError(f"there must be at least two segmentations to compare, got {len(segmentations)}")
    sizes = {name: segmentation.shape for name, segmentation in segmentations.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name} has {height}x{width}" for name, (height, width) in sizes.items())
        raise ValueError(f"segmentations of one image must have the same size, but {shown}")
    pairs = tuple(
        compare_pair(a, b, (first, second)) for (first, a), (second, b) in combinations(segmentations.items(), 2)
    )
    votes = border_votes([segmentation.labels for segmentation in segmentations.values()])
    return Agreement(tuple(segmentations), votes, pairs)


def compare_pair(a: Segmentation, b: Segmentation, names: tuple[str, str] = ("a", "b")) -> PairAgreement:
    """How far apart two segmentations are; see `PairAgreement`.

    Raises:
        ValueError: If their sizes differ.
    """
    found = overlaps(a.labels, b.labels)
    ious = found.ious()
    same = np.flatnonzero(found.between_segments() & (ious > MATCHED))
    matches = np.stack([found.row_ids[found.rows[same]], found.column_ids[found.columns[same]]], axis=1)
    distance = variation_of_information(a.labels + 1, b.labels)
    return PairAgreement(*names, distance, adjusted_rand_index(found), matches, ious[same], (len(a), len(b)))


def adjusted_rand_index(found: Overlaps) -> float:
    """(pairs joined by both - expected) / (mean of those joined by each - expected), from a table of overlaps.

    Source: Hubert and Arabie, Comparing Partitions, Journal of Classification 1985, Eq. 5. Void is a segment. Where the
    ratio is 0 / 0, as for two maps of one segment, the maps are the same: 1.
    """
    both, rows, columns = (_pairs(counts) for counts in (found.counts, found.row_areas, found.column_areas))
    total = _pairs(np.array([found.counts.sum()]))
    expected = rows * columns / total if total else 0.0
    most = (rows + columns) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def border_votes(maps: Sequence[Int32[np.ndarray, "h w"]]) -> Int32[np.ndarray, "h w"]:
    """How many label maps have a border at each pixel that is one of any map's, or within the tolerance of it."""
    reach = max(1.0, TOLERANCE * float(np.hypot(*maps[0].shape)))
    any_border = np.zeros(maps[0].shape, bool)
    votes = np.zeros(maps[0].shape, np.int32)
    for labels in maps:
        borders = border_pixels(labels)
        any_border |= borders
        if borders.any():
            votes += ndimage.distance_transform_edt(~borders) <= reach
    return np.where(any_border, votes, 0).astype(np.int32)


def _pairs(counts: Int64[np.ndarray, " n"]) -> float:
    values = counts.astype(np.float64)
    return float(values @ (values - 1)) / 2
