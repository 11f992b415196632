"""Eq. 1 to 9 of DynaSeg (Guermazi, Ksantini, Khan), in the order of the paper.

Throughout, `response` is r', the batch-normalised output of the classifier: (B, q, H, W), any floating dtype and memory
format. Sums are taken in float32 (float64 for float64 input), so a bfloat16 response loses nothing in the reduction.
`losses.py` computes the same loss and its gradient in one pass over the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from upseg.functional.precision import wide

LabelCount = int | Int64[Tensor, ""]
Weight = float | Float[Tensor, ""]


def cluster_labels(response: Float[Tensor, "b q h w"]) -> Int64[Tensor, "b h w"]:
    """The label of each pixel: the channel with the largest response, the lowest one in a tie.

    Paper: Sec. 3.4, c_n = argmax_j r'_{n,j}. No gradient passes through it.

    Args:
        response: (B, q, H, W) r'.

    Returns:
        (B, H, W) in 0..q-1.
    """
    return response.detach().max(dim=1).indices  # on the CPU half the time of argmax


def labels_in_use(labels: Int64[Tensor, "b h w"], clusters: int) -> Bool[Tensor, " q"]:
    """Which of the q labels some pixel has: q' of them, as a tensor on the device of `labels`, so nothing waits for it.

    Paper: Sec. 3.4, 1 <= q' <= q.

    Args:
        labels: (B, H, W) in 0..clusters-1.
        clusters: q, the number of labels there are.
    """
    used = torch.zeros(clusters, dtype=torch.bool, device=labels.device)
    # every write to one place writes the same value, so their order does not matter
    return used.scatter_(0, labels.flatten(), torch.ones_like(labels, dtype=torch.bool).flatten())


def feature_similarity_loss(response: Float[Tensor, "b q h w"], labels: Int64[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """L_sim: cross-entropy between the response and the labels it gives, the mean over the pixels.

    Paper: Eq. 1, Sec. 3.3.1. L_sim = -Σ_n Σ_j δ(j - c_n) ln softmax(r'_n)_j.

    Args:
        response: (B, q, H, W) r'.
        labels: (B, H, W) c in 0..q-1, usually `cluster_labels(response)`.

    Returns:
        A scalar, at least 0.
    """
    return F.cross_entropy(wide(response), labels)  # Eq. 1


def horizontal_differences(response: Float[Tensor, "b q h w"]) -> Float[Tensor, "b q h w-1"]:
    """Δh: absolute differences between neighbours in a row.

    Paper: Eq. 2, Sec. 3.3.1. Δh_{i,j} = |r'(i, j) - r'(i, j + 1)|, i the row and j the column.

    Args:
        response: (B, q, H, W) r'.

    Returns:
        (B, q, H, W - 1), at least 0.
    """
    values = wide(response)
    return (values[..., :, :-1] - values[..., :, 1:]).abs()  # Eq. 2


def vertical_differences(response: Float[Tensor, "b q h w"]) -> Float[Tensor, "b q h-1 w"]:
    """Δv: absolute differences between neighbours in a column.

    Paper: Eq. 3, Sec. 3.3.1. Δv_{i,j} = |r'(i, j) - r'(i + 1, j)|.

    Args:
        response: (B, q, H, W) r'.

    Returns:
        (B, q, H - 1, W), at least 0.
    """
    values = wide(response)
    return (values[..., :-1, :] - values[..., 1:, :]).abs()  # Eq. 3


def horizontal_norm(response: Float[Tensor, "b q h w"]) -> Float[Tensor, ""]:
    """L1_h: the mean of the H (W - 1) q horizontal differences; 0 where W = 1.

    Paper: Eq. 4, Sec. 3.3.1. L1_h = Σ_{i=1..H} Σ_{j=1..W-1} |Δh_{i,j}|.

    Args:
        response: (B, q, H, W) r'.
    """
    differences = horizontal_differences(response)
    return differences.sum() / max(differences.numel(), 1)  # Eq. 4


def vertical_norm(response: Float[Tensor, "b q h w"]) -> Float[Tensor, ""]:
    """L1_v: the mean of the (H - 1) W q vertical differences; 0 where H = 1.

    Paper: Eq. 5, Sec. 3.3.1. L1_v = Σ_{i=1..H-1} Σ_{j=1..W} |Δv_{i,j}|.

    Args:
        response: (B, q, H, W) r'.
    """
    differences = vertical_differences(response)
    return differences.sum() / max(differences.numel(), 1)  # Eq. 5


def spatial_continuity_loss(response: Float[Tensor, "b q h w"]) -> Float[Tensor, ""]:
    """L_con: how much the response changes between neighbours, in both directions. It carries gradient.

    Paper: Eq. 6, Sec. 3.3.1. L_con = L1_h + L1_v.

    Args:
        response: (B, q, H, W) r'.

    Returns:
        A scalar, at least 0.
    """
    return horizontal_norm(response) + vertical_norm(response)  # Eq. 6


def total_loss(similarity: Float[Tensor, ""], continuity: Float[Tensor, ""], weight: Weight) -> Float[Tensor, ""]:
    """L: the two losses in balance.

    Paper: Eq. 7, Sec. 3.3.1. L = L_sim + μ L_con.

    Args:
        similarity: L_sim.
        continuity: L_con.
        weight: μ, at least 0.
    """
    return similarity + weight * continuity  # Eq. 7


def feature_similarity_focus_weight(label_count: LabelCount, alpha: float = 15.0) -> Weight:
    """μ of FSF: continuity first, feature similarity more and more as labels merge.

    Paper: Eq. 8, Sec. 3.3.1. μ = q' / alpha.

    Args:
        label_count: q', at least 1; a tensor gives a tensor.
        alpha: Greater than 0.

    Raises:
        ValueError: If `alpha` or a plain `label_count` is out of range.
    """
    _check_weighting(label_count, alpha)
    return label_count / alpha  # Eq. 8


def spatial_continuity_focus_weight(label_count: LabelCount, alpha: float = 50.0) -> Weight:
    """μ of SCF: feature similarity first, continuity more and more as labels merge.

    Paper: Eq. 9, Sec. 3.3.1. μ = alpha / q'.

    Args:
        label_count: q', at least 1; a tensor gives a tensor.
        alpha: Greater than 0.

    Raises:
        ValueError: If `alpha` or a plain `label_count` is out of range.
    """
    _check_weighting(label_count, alpha)
    return alpha / label_count  # Eq. 9


def fixed_weight(label_count: LabelCount, alpha: float = 5.0) -> Weight:
    """μ of the baseline without dynamic weighting (Table 1, μ = 5): `alpha` itself, whatever the number of labels.

    Args:
        label_count: q', at least 1; only checked.
        alpha: μ, greater than 0.

    Raises:
        ValueError: If `alpha` or a plain `label_count` is out of range.
    """
    _check_weighting(label_count, alpha)
    return alpha


def _check_weighting(label_count: LabelCount, alpha: float) -> None:
    if not alpha > 0:
        raise ValueError(f"alpha must be greater than 0, got {alpha}")
    if isinstance(label_count, int) and label_count < 1:
        raise ValueError(f"label_count is the number of labels in use and must be at least 1, got {label_count}")


WEIGHTINGS: Mapping[str, Callable[[LabelCount, float], Weight]] = MappingProxyType(
    {
        "fsf": feature_similarity_focus_weight,
        "scf": spatial_continuity_focus_weight,
        "fixed": fixed_weight,
    }
)
