"""Eq. 6 to 9: relative depth learned from pseudo labels, metric depth from measured ones.

Each loss is the mean over the images of the batch, in which an image without valid depth counts as 0.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

FLATTEST = 1e-4
"""Disparities that vary less than this are divided by it: a constant map has no scale."""


def median_and_scale(
    disparity: Float[Tensor, "b n"], valid: Bool[Tensor, "b n"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """The t and s of a map: the median of each image's disparities, and their mean distance from it.

    Paper: Eq. 8, App. A. t(d) = median(d), s(d) = 1/N Σ |d_i - t(d)|, over the N valid pixels.

    Args:
        disparity: (B, N) d.
        valid: (B, N) which of them count.

    Returns:
        (B,) t, of an even number of pixels the lower of the two in the middle, and (B,) s; both 0 without a valid one.
    """
    count = valid.sum(1)
    # not `median`: on a GPU it is not reproducible
    ordered = disparity.masked_fill(~valid, math.inf).sort(1).values
    middle = ordered[torch.arange(len(ordered), device=ordered.device), (count - 1).clamp_min(0) // 2]
    median = torch.where(count > 0, middle, 0)
    distances = (disparity - median[:, None]).abs().masked_fill(~valid, 0)
    return median, distances.sum(1) / count.clamp_min(1)


def aligned_disparity(disparity: Float[Tensor, "b n"], valid: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """d̂: disparities with median 0 and scale 1, whatever shift and scale they came with.

    Paper: Eq. 7, App. A. d̂_i = (d_i - t(d)) / s(d).

    Args:
        disparity: (B, N) d.
        valid: (B, N) which of them t and s are computed from.
    """
    median, scale = median_and_scale(disparity, valid)
    return (disparity - median[:, None]) / scale.clamp_min(FLATTEST)[:, None]


def relative_depth_loss(
    predicted: Float[Tensor, "b h w"], truth: Float[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """The mean difference of two disparity maps that are aligned first.

    Paper: Eq. 6, App. A. 1/N Σ |d̂*_i - d̂_i|, over the N valid pixels of an image.

    Args:
        predicted: (B, H, W) d, of any shift and scale.
        truth: (B, H, W) d*, likewise.
        valid: (B, H, W) where the truth is known.

    Returns:
        A scalar, at least 0.
    """
    known = valid.flatten(1)
    guess, true = (aligned_disparity(disparity.flatten(1), known) for disparity in (predicted, truth))
    errors = (true - guess).abs().masked_fill(~known, 0)
    return (errors.sum(1) / known.sum(1).clamp_min(1)).mean()


def metric_depth_loss(
    log_predicted: Float[Tensor, "b h w"],
    truth: Float[Tensor, "b h w"],
    valid: Bool[Tensor, "b h w"],
    invariance: float = 0.5,
) -> Float[Tensor, ""]:
    """The scale-invariant logarithmic error of Eigen et al.

    Paper: Eq. 9, App. A. 1/N Σ δ_i² - λ (1/N Σ δ_i)², δ_i = log y_i - log y*_i, over the N valid pixels of an image.

    Args:
        log_predicted: (B, H, W) log y, y in metres: the logarithm, which `log_metric_depth` has without rounding to 0.
        truth: (B, H, W) y* in metres, above 0 where it is valid.
        valid: (B, H, W) where the truth is known.
        invariance: λ in [0, 1]: 1 lets the scale of the prediction be anything.

    Returns:
        A scalar, at least 0.
    """
    known = valid.flatten(1)
    differences = (log_predicted - torch.where(valid, truth, 1).log()).flatten(1).masked_fill(~known, 0)
    count = known.sum(1).clamp_min(1)
    return (differences.square().sum(1) / count - invariance * (differences.sum(1) / count).square()).mean()


def metric_depth(output: Float[Tensor, "*shape"], maximum: float) -> Float[Tensor, "*shape"]:
    """What the depth head's output means: metres in (0, `maximum`).

    Paper: Sec. 5. sigmoid(output) x 10 m on NYUv2.
    """
    return output.sigmoid() * maximum


def log_metric_depth(output: Float[Tensor, "*shape"], maximum: float) -> Float[Tensor, "*shape"]:
    """The logarithm of `metric_depth`, exact where the sigmoid itself rounds to 0."""
    return F.logsigmoid(output) + math.log(maximum)
