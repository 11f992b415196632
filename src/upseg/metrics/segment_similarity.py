"""How well features tell entities apart: inter-mean and intra-entity similarity."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from upseg.metrics.accumulator import Accumulator, ratio


def segment_similarity(features: Float[Tensor, "d h w"], labels: Integer[Tensor, "h w"]) -> dict[str, float]:
    """Inter-mean and intra-entity similarity of one image.

    inter = mean_{k≠l} |μ_k·μ_l|, intra = 1/K Σ_k 1/|E_k| Σ_{i∈E_k} |f_i·μ_k|, μ_k the line that fits entity k best: the
    eigenvector of the largest eigenvalue of Σ_{i∈E_k} f_i f_iᵀ. The sign of a feature means nothing.

    Paper: Dille et al., A Bottom-Up Approach to Class-Agnostic Image Segmentation, Sec. 5 (Table 5) and Eq. 4.

    Args:
        features: (d, H, W), of any length: they are brought to unit length here.
        labels: (H, W), k >= 1 entity; 0 (background) and below (ignore) are left out.

    Returns:
        Mean |cosines| in [0, 1]: `inter_mean` between the mean lines of different entities (0: all orthogonal), nan
        with fewer than two; `intra_entity` between an entity's features and its mean line (1: all the same), nan
        without an entity.

    Raises:
        ValueError: If the two differ in height or width.

    Example:
        >>> features = torch.tensor([[[1.0, 1.0]], [[0.0, 1.0]]])
        >>> round(segment_similarity(features, torch.tensor([[1, 2]]))["inter_mean"], 3)
        0.707
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
        return {"inter_mean": math.nan, "intra_entity": math.nan}
    means = torch.stack(lines)
    cosines = (means @ means.T).abs()
    inter = ratio(cosines.sum() - cosines.diagonal().sum(), count * (count - 1))
    # rounding may leave the cosine of equal lines a little above 1
    inter = min(inter, 1.0) if count > 1 else math.nan
    return {"inter_mean": inter, "intra_entity": min(float(np.mean(intra)), 1.0)}


class SegmentSimilarities(Accumulator):
    """Mean over images of the similarities of those that have them (two entities, or one)."""

    def __init__(self) -> None:
        super().__init__({name: np.zeros(2) for name in ("inter_mean", "intra_entity")})

    def update(self, features: Float[Tensor, "d h w"], labels: Integer[Tensor, "h w"]) -> None:
        """Add one image; see `segment_similarity`."""
        found = segment_similarity(features, labels)
        self.add(**{name: (value, 1) for name, value in found.items() if not math.isnan(value)})

    def compute(self) -> dict[str, float]:
        """`inter_mean` and `intra_entity`, and the angle of each cosine, 0 to 90, again as `_degrees`."""
        table: dict[str, float] = {}
        for name, (total, images) in self.sums.items():
            table[name] = ratio(total, images)
            table[f"{name}_degrees"] = math.degrees(math.acos(table[name]))
        return table
