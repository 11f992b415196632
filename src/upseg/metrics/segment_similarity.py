"""How well features tell entities apart: inter-mean and intra-entity similarity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from upseg.metrics.accumulator import Accumulator, ratio


@dataclass(frozen=True, slots=True)
class SegmentSimilarity:
    """Mean |cosines| of lines through the origin, in [0, 1].

    Attributes:
        inter_mean: Between the mean lines of different entities (0: all orthogonal); nan with fewer than two.
        intra_entity: Between an entity's features and its mean line (1: all the same); nan without an entity.
    """

    inter_mean: float
    intra_entity: float

    @property
    def inter_mean_degrees(self) -> float:
        """The angle of that cosine, 0 to 90."""
        return math.degrees(math.acos(self.inter_mean))

    @property
    def intra_entity_degrees(self) -> float:
        """The angle of that cosine, 0 to 90."""
        return math.degrees(math.acos(self.intra_entity))


def segment_similarity(features: Float[Tensor, "d h w"], labels: Integer[Tensor, "h w"]) -> SegmentSimilarity:
    """Inter-mean and intra-entity similarity of one image.

    inter = mean_{k≠l} |μ_k·μ_l|, intra = 1/K Σ_k 1/|E_k| Σ_{i∈E_k} |f_i·μ_k|, μ_k the line that fits entity k best: the
    eigenvector of the largest eigenvalue of Σ_{i∈E_k} f_i f_iᵀ. The sign of a feature means nothing.

    Paper: Dille et al., A Bottom-Up Approach to Class-Agnostic Image Segmentation, Sec. 5 (Table 5) and Eq. 4.

    Args:
        features: (d, H, W), of any length: they are brought to unit length here.
        labels: (H, W), k >= 1 entity; 0 (background) and below (ignore) are left out.

    Raises:
        ValueError: If the two differ in height or width.
    """
    if features.shape[1:] != labels.shape:
        raise ValueError(f"features and labels must have one size, got {features.shape[1:]} and {labels.shape}")
    inside = labels > 0
    ids, areas = torch.unique(labels[inside], return_counts=True)
    order = torch.argsort(labels[inside], stable=True)
    vectors = torch.nn.functional.normalize(features[:, inside].T.double(), dim=1)[order]
    lines, intra = [], []
    for members in torch.split(vectors, areas.tolist()):
        line = torch.linalg.eigh(members.T @ members).eigenvectors[:, -1]
        lines.append(line)
        intra.append((members @ line).abs().mean().item())
    count = len(ids)
    if count == 0:
        return SegmentSimilarity(math.nan, math.nan)
    means = torch.stack(lines)
    cosines = (means @ means.T).abs()
    inter = ratio(cosines.sum() - cosines.diagonal().sum(), count * (count - 1))
    # rounding may leave the cosine of equal lines a little above 1
    return SegmentSimilarity(min(inter, 1.0) if count > 1 else math.nan, min(float(np.mean(intra)), 1.0))


class SegmentSimilarities(Accumulator):
    """Mean over images of the similarities of those that have them (two entities, or one)."""

    def __init__(self) -> None:
        count, total = np.zeros((), np.int64), np.zeros(())
        super().__init__({"inter_images": count, "intra_images": count, "inter": total, "intra": total})

    def update(self, features: Float[Tensor, "d h w"], labels: Integer[Tensor, "h w"]) -> None:
        """Add one image; see `segment_similarity`."""
        found = segment_similarity(features, labels)
        if not math.isnan(found.inter_mean):
            self.add(inter_images=1, inter=found.inter_mean)
        if not math.isnan(found.intra_entity):
            self.add(intra_images=1, intra=found.intra_entity)

    def compute(self) -> dict[str, float]:
        """`inter_mean` and `intra_entity`, and each again as `_degrees`."""
        sums = self.sums
        found = SegmentSimilarity(
            ratio(sums["inter"], sums["inter_images"]), ratio(sums["intra"], sums["intra_images"])
        )
        return {
            "inter_mean": found.inter_mean,
            "inter_mean_degrees": found.inter_mean_degrees,
            "intra_entity": found.intra_entity,
            "intra_entity_degrees": found.intra_entity_degrees,
        }
