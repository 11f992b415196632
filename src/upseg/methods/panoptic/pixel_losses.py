"""Eq. 1, 10 and 11: from the losses of pixels to that of a batch, and neighbouring pixels that shall say the same."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def weighted_pixel_mean(losses: Float[Tensor, "b h w"], weights: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """The loss of a task from the losses of its pixels.

    Paper: Eq. 1, Sec. 3.2. L^t = Σ_ij w_ij L^t_ij / Σ_ij w_ij, then the mean over the images.

    Args:
        losses: (B, H, W) L^t_ij, finite also where the weight is 0.
        weights: (B, H, W) w_ij, at least 0; an image whose weights are all 0 counts as 0.

    Returns:
        A scalar.
    """
    total = weights.sum((1, 2))
    return ((losses * weights).sum((1, 2)) / torch.where(total > 0, total, 1)).mean()


def cross_entropy(
    log_probabilities: Float[Tensor, "b n h w"], labels: Int64[Tensor, "b h w"]
) -> Float[Tensor, "b h w"]:
    """-log of the probability of each pixel's class; where there is none (a label below 0), of class 0."""
    # not `nll_loss`: on a GPU it is not reproducible
    return -log_probabilities.gather(1, labels.clamp_min(0)[:, None])[:, 0]


def total_variation(values: Float[Tensor, "b c h w"], groups: int = 1) -> Float[Tensor, ""]:
    """Mean norm of the differences between a pixel and the ones above and left of it.

    Paper: Eq. 10, App. B. ‖ŷ_ij - ŷ_{i-1,j}‖ + ‖ŷ_ij - ŷ_{i,j-1}‖, Euclidean as the loss of the instance head, and as
    there the norms of several groups of channels add up. The mean is over the pixels that have both neighbours.

    Args:
        values: (B, C, H, W) ŷ.
        groups: How many equal groups of channels have a norm of their own: 2 for the embeddings of u and v.

    Returns:
        A scalar, at least 0; 0 for maps of one row or column.
    """
    here = values[:, :, 1:, 1:]
    norms = [
        torch.linalg.vector_norm(group, dim=1)
        for there in (values[:, :, :-1, 1:], values[:, :, 1:, :-1])
        for group in (here - there).chunk(groups, dim=1)
    ]
    return _pixel_mean(torch.stack(norms).sum(0))


def semantic_smoothness(log_probabilities: Float[Tensor, "b n h w"]) -> Float[Tensor, ""]:
    """Mean cross-entropy between the distribution of a pixel and those of the pixels below and right of it.

    Paper: Eq. 11, App. B. ½ (H(P_ij, P_{i+1,j}) + H(P_ij, P_{i,j+1})) with H(a, b) = -Σ a log b, over the pixels that
    have both neighbours: the mean of them instead of the sum, so that the weight does not depend on the resolution.

    Args:
        log_probabilities: (B, N, H, W) log P, the log-softmax of logits.

    Returns:
        A scalar, at least 0; 0 for maps of one row or column.
    """
    here = log_probabilities[:, :, :-1, :-1].exp()
    below, right = log_probabilities[:, :, 1:, :-1], log_probabilities[:, :, :-1, 1:]
    return -(_pixel_mean((here * below).sum(1)) + _pixel_mean((here * right).sum(1))) / 2


def _pixel_mean(values: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """The mean of the images' means, 0 without pixels."""
    return values.sum() / max(1, values.numel())
