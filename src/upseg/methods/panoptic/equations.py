"""The numbered equations of the paper (Prisadnikov et al.) in their order, each a pure function.

Paper: "A Simple and Generalist Approach for Panoptic Segmentation", Sec. 3, App. A and B. `losses.py` adds them up to
the loss of a batch. Each loss is computed per image, and then the mean over the images of the batch is taken, in which
an image without the pixels that it needs counts as 0: so two processes with B images each learn what one with 2B does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from upseg.functional.precision import BLOCK_ELEMENTS, recomputed

FLATTEST = 1e-4
"""Disparities that vary less than this are divided by it: a constant map has no scale."""

SquaredDistances = Callable[[Float[Tensor, "b c n"], Float[Tensor, "b 2 k"]], Float[Tensor, "b k n"]]
"""dx² + dy² of Eq. 14, of N predicted codes from those of K centres: `Encoding.squared_distances`."""


def weighted_pixel_mean(losses: Float[Tensor, "b h w"], weights: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """The loss of a head from the losses of its pixels.

    Paper: Eq. 1, Sec. 3.2. L^t = Σ_ij w_ij L^t_ij / Σ_ij w_ij, then the mean over the images.

    Args:
        losses: (B, H, W) L^t_ij, finite also where the weight is 0.
        weights: (B, H, W) w_ij, at least 0; an image whose weights are all 0 counts as 0.

    Returns:
        A scalar.
    """
    total = weights.sum((1, 2))
    return ((losses * weights).sum((1, 2)) / torch.where(total > 0, total, 1)).mean()  # Eq. 1


def cross_entropy(
    log_probabilities: Float[Tensor, "b n h w"], labels: Int64[Tensor, "b h w"]
) -> Float[Tensor, "b h w"]:
    """-log of the probability of each pixel's class; where there is none (a label below 0), of class 0."""
    # not `nll_loss`: on a GPU it is not reproducible
    return -log_probabilities.gather(1, labels.clamp_min(0)[:, None])[:, 0]


def centre_embedding(
    centres: Float[Tensor, "b 2 h w"], inside: Bool[Tensor, "b h w"], frequencies: int
) -> Float[Tensor, "b c h w"]:
    """y: what the instance head shall say at each pixel.

    Paper: Eq. 2, Sec. 3.3.1. y_ij = concat(gamma(u), gamma(v)) where (i, j) belongs to an instance with centre (u, v),
    and 0 elsewhere.

    Args:
        centres: (B, 2, H, W) u (row) and v (column) in [-1, 1] of each pixel's instance; any number outside of one.
        inside: (B, H, W) which pixels belong to one.
        frequencies: L.

    Returns:
        (B, 4L, H, W), the first 2L of u.
    """
    return positional_embedding(centres, frequencies, dim=2).flatten(1, 2) * inside[:, None]  # Eq. 2


def positional_embedding(
    coordinates: Float[Tensor, "*shape"], frequencies: int, dim: int = -1
) -> Float[Tensor, "*embedded"]:
    """The gamma of the paper: sines and cosines of a coordinate, each frequency twice the one before.

    Paper: Eq. 3, Sec. 3.3.1. gamma(p) = (sin(2^l π p), cos(2^l π p)) for l = 0..L-1, one pair after the other.

    gamma(-1) = gamma(1): coordinates have to stay off one of the two ends.

    Args:
        coordinates: p in [-1, 1].
        frequencies: L.
        dim: Where the 2L numbers go.

    Returns:
        The shape of `coordinates` with 2L inserted at `dim`, in [-1, 1]; its norm along `dim` is √L.
    """
    place = dim % (coordinates.ndim + 1)
    angles = torch.stack([coordinates * (2**level * math.pi) for level in range(frequencies)], dim=place)
    return torch.stack((angles.sin(), angles.cos()), dim=place + 1).flatten(place, place + 1)  # Eq. 3


def embedding_distance(predicted: Float[Tensor, "b c h w"], truth: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """L^inst: the mean of the two Euclidean distances, that of the u embeddings and that of the v embeddings.

    Paper: Eq. 4, Sec. 3.3.1. ½ (‖(y - ŷ)_[1:2L]‖ + ‖(y - ŷ)_[2L+1:4L]‖). Not squared; where y = ŷ the gradient is 0.

    Args:
        predicted: (B, 4L, H, W) ŷ.
        truth: (B, 4L, H, W) y.

    Returns:
        (B, H, W), at least 0.
    """
    u, v = (torch.linalg.vector_norm(part, dim=1) for part in (truth - predicted).chunk(2, dim=1))
    loss: Tensor = (u + v) / 2  # Eq. 4
    return loss


def edge_distance_weights(
    distances: Float[Tensor, "*shape"], minimum: float = 0.0, reach: float = 20.0
) -> Float[Tensor, "*shape"]:
    """Edge distance sampling: pixels near the boundary of an instance count most.

    Paper: Eq. 5, Sec. 3.3.2. w_ij = w_min + (1 - w_min) exp(-d_ij² / D²).

    Args:
        distances: d, in pixels, to the nearest boundary of an instance; infinite where there is none.
        minimum: w_min in [0, 1].
        reach: D, in pixels, above 0.

    Returns:
        w in [`minimum`, 1].
    """
    return minimum + (1 - minimum) * (-(distances / reach).square()).exp()  # Eq. 5


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
    return (errors.sum(1) / known.sum(1).clamp_min(1)).mean()  # Eq. 6


def aligned_disparity(disparity: Float[Tensor, "b n"], valid: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """d̂: disparities with median 0 and scale 1, whatever shift and scale they came with.

    Paper: Eq. 7, App. A. d̂_i = (d_i - t(d)) / s(d).

    Args:
        disparity: (B, N) d.
        valid: (B, N) which of them t and s are computed from.
    """
    median, scale = median_and_scale(disparity, valid)
    return (disparity - median[:, None]) / scale.clamp_min(FLATTEST)[:, None]  # Eq. 7


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
    return median, distances.sum(1) / count.clamp_min(1)  # Eq. 8


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
    return (differences.square().sum(1) / count - invariance * (differences.sum(1) / count).square()).mean()  # Eq. 9


def metric_depth(output: Float[Tensor, "*shape"], maximum: float) -> Float[Tensor, "*shape"]:
    """What the depth head's output means: metres in (0, `maximum`).

    Paper: Sec. 5. sigmoid(output) x 10 m on NYUv2.
    """
    return output.sigmoid() * maximum


def log_metric_depth(output: Float[Tensor, "*shape"], maximum: float) -> Float[Tensor, "*shape"]:
    """The logarithm of `metric_depth`, exact where the sigmoid itself rounds to 0."""
    return F.logsigmoid(output) + math.log(maximum)


def total_variation(values: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """Mean norm of the differences between a pixel and the ones above and left of it.

    Paper: Eq. 10, App. B. ‖ŷ_ij - ŷ_{i-1,j}‖ + ‖ŷ_ij - ŷ_{i,j-1}‖, Euclidean over all channels. The mean is over the
    pixels that have both neighbours.

    Args:
        values: (B, C, H, W) ŷ.

    Returns:
        A scalar, at least 0; 0 for maps of one row or column.
    """
    here = values[:, :, 1:, 1:]
    above, left = (here - there for there in (values[:, :, :-1, 1:], values[:, :, 1:, :-1]))
    return _pixel_mean(torch.linalg.vector_norm(above, dim=1) + torch.linalg.vector_norm(left, dim=1))  # Eq. 10


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
    return -(_pixel_mean((here * below).sum(1)) + _pixel_mean((here * right).sum(1))) / 2  # Eq. 11


def dice_loss(
    predicted: Float[Tensor, "b c h w"],
    centres: Float[Tensor, "b 2 h w"],
    labels: Int64[Tensor, "b h w"],
    squared_distances: SquaredDistances,
) -> Float[Tensor, ""]:
    """The generalised Dice loss: every pixel shall be near the centre of its own instance and far from all others.

    Paper: Eq. 12, App. B. 1 - 2 Σ_l w_l Σ_ij r_l p_l / Σ_l w_l Σ_ij (r_l + p_l), w_l = 1 / Area_l, l over the labelled
    instances of an image; then the mean over the images, in which one without instances counts as 0. Pixels of no
    instance count, ignored ones do not.

    Args:
        predicted: (B, C, H, W) output of the instance head.
        centres: (B, 2, H, W) u (row) and v (column) of the centre of each pixel's instance.
        labels: (B, H, W) ids from 1 on, 0 no instance, below 0 ignored.
        squared_distances: How far pixels are from centres, in the output's encoding.

    Returns:
        A scalar in [0, 1].
    """
    instances = truth_membership(labels, centres)
    pixels, kept = predicted.flatten(2), instances.areas.shape[1]
    size = max(1, BLOCK_ELEMENTS // max(1, instances.rows.numel()))
    blocks = max(1, -(-kept // size))
    sums = [
        recomputed(_sums, blocks, pixels, block, instances.rows, number * size, kept, squared_distances)
        for number, block in enumerate(torch.split(instances.centres, size, dim=2))
    ]
    overlap, total = (torch.cat(parts, dim=1) for parts in zip(*sums, strict=True))  # (B, K)
    present = instances.areas > 0
    weights = present / instances.areas.clamp_min(1).to(overlap.dtype)
    numerator = (weights * overlap).sum(1)
    # Σ_ij r_l is the area, and the area times its weight 1
    denominator = present.sum(1) + (weights * total).sum(1)
    dice = 2 * numerator / denominator.clamp_min(1)
    return torch.where(present.any(1), 1 - dice, dice).mean()  # Eq. 12


class Instances(NamedTuple):
    """The instances of each image of a batch, K the most that one of them has; sparse r of Eq. 13.

    Attributes:
        rows: (B, N) which of its image's K instances a pixel belongs to, K for none, K + 1 where it is ignored.
        centres: (B, 2, K) u (row) and v (column) of each.
        areas: (B, K) their pixels; 0 for the rows that an image with fewer does not use.
    """

    rows: Int64[Tensor, "b n"]
    centres: Float[Tensor, "b 2 k"]
    areas: Int64[Tensor, "b k"]


def truth_membership(labels: Int64[Tensor, "b h w"], centres: Float[Tensor, "b 2 h w"]) -> Instances:
    """r, as the number of each pixel's instance: r_l is 1 where a pixel's row is l, and else 0.

    Paper: Eq. 13, App. B.

    Args:
        labels: (B, H, W) ids from 1 on, any; 0 no instance, below 0 ignored.
        centres: (B, 2, H, W) the same for all pixels of an instance.
    """
    flat = labels.flatten(1)
    count = max(0, int(flat.max())) if flat.numel() else 0
    areas = torch.zeros(len(flat), count + 1, dtype=torch.int64, device=flat.device)
    areas.scatter_add_(1, flat.clamp_min(0), (flat > 0).long())
    present = areas > 0
    kept = int(present.sum(1).max()) if len(flat) else 0
    # the present ids first, in their order
    ids = present.logical_not().sort(dim=1, stable=True).indices[:, :kept]
    position = torch.where(present, present.cumsum(1) - 1, kept)
    rows = torch.where(flat < 0, kept + 1, position.gather(1, flat.clamp_min(0)))  # Eq. 13
    found = centres.new_full((len(flat), 2, kept + 2), -torch.inf)
    found.scatter_reduce_(2, rows[:, None].expand(-1, 2, -1), centres.flatten(2), "amax")
    areas = areas.gather(1, ids)
    return Instances(rows, found[:, :, :kept].masked_fill((areas == 0)[:, None], 0), areas)


def membership(squared_distances: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """p: how much a pixel belongs to an instance by its prediction.

    Paper: Eq. 14, App. B. p = exp(-dx²) exp(-dy²), dx and dy the distances of the predicted embeddings of u and v from
    those of the instance's centre.

    Args:
        squared_distances: dx² + dy², of `Encoding.squared_distances`.

    Returns:
        In (0, 1], up to rounding.
    """
    return (-squared_distances).exp()  # Eq. 14


def _sums(
    pixels: Float[Tensor, "b c n"],
    centres: Float[Tensor, "b 2 k"],
    rows: Int64[Tensor, "b n"],
    first: int,
    ignored: int,
    squared_distances: SquaredDistances,
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
    """Σ r_l p_l and Σ p_l over the pixels that are not ignored, of some instances."""
    predicted = membership(squared_distances(pixels, centres))
    numbers = torch.arange(first, first + centres.shape[2], device=rows.device)
    truth: Bool[Tensor, "b k n"] = rows[:, None] == numbers[:, None]
    counted = (rows <= ignored).to(predicted.dtype)
    return (predicted * truth).sum(2), (predicted @ counted[:, :, None])[..., 0]


def _pixel_mean(values: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """The mean of the images' means, 0 without pixels."""
    return values.sum() / max(1, values.numel())
