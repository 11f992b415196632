"""Eq. 12 to 14: the generalised Dice loss over the instances of each image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from upseg.functional.blocks import BLOCK_ELEMENTS, recomputed
from upseg.methods.panoptic.encodings import Encoding


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
    rows = torch.where(flat < 0, kept + 1, position.gather(1, flat.clamp_min(0)))
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
    return (-squared_distances).exp()


def dice_loss(
    predicted: Float[Tensor, "b c h w"],
    centres: Float[Tensor, "b 2 h w"],
    labels: Int64[Tensor, "b h w"],
    encoding: Encoding,
) -> Float[Tensor, ""]:
    """The generalised Dice loss: every pixel shall be near the centre of its own instance and far from all others.

    Paper: Eq. 12, App. B. 1 - 2 Σ_l w_l Σ_ij r_l p_l / Σ_l w_l Σ_ij (r_l + p_l), w_l = 1 / Area_l, l over the labelled
    instances of an image; then the mean over the images, in which one without instances counts as 0. Pixels of no
    instance count, ignored ones do not.

    Args:
        predicted: (B, C, H, W) output of the instance head.
        centres: (B, 2, H, W) u (row) and v (column) of the centre of each pixel's instance.
        labels: (B, H, W) ids from 1 on, 0 no instance, below 0 ignored.
        encoding: What the output means.

    Returns:
        A scalar in [0, 1].
    """
    instances = truth_membership(labels, centres)
    pixels, kept = predicted.flatten(2), instances.areas.shape[1]
    size = max(1, BLOCK_ELEMENTS // max(1, instances.rows.numel()))
    blocks = max(1, -(-kept // size))
    sums = [
        recomputed(_sums, blocks, pixels, block, instances.rows, number * size, kept, encoding)
        for number, block in enumerate(torch.split(instances.centres, size, dim=2))
    ]
    overlap, total = (torch.cat(parts, dim=1) for parts in zip(*sums, strict=True))  # (B, K)
    present = instances.areas > 0
    weights = present / instances.areas.clamp_min(1).to(overlap.dtype)
    numerator = (weights * overlap).sum(1)
    # Σ_ij r_l is the area, and the area times its weight 1
    denominator = present.sum(1) + (weights * total).sum(1)
    dice = 2 * numerator / denominator.clamp_min(1)
    return torch.where(present.any(1), 1 - dice, dice).mean()


def _sums(
    pixels: Float[Tensor, "b c n"],
    centres: Float[Tensor, "b 2 k"],
    rows: Int64[Tensor, "b n"],
    first: int,
    ignored: int,
    encoding: Encoding,
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
    """Σ r_l p_l and Σ p_l over the pixels that are not ignored, of some instances."""
    predicted = membership(encoding.squared_distances(pixels, centres))
    numbers = torch.arange(first, first + centres.shape[2], device=rows.device)
    truth: Bool[Tensor, "b k n"] = rows[:, None] == numbers[:, None]
    counted = (rows <= ignored).to(predicted.dtype)
    return (predicted * truth).sum(2), (predicted @ counted[:, :, None])[..., 0]
