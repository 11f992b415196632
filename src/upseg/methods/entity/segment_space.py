"""Segment space (Eq. 7) and the losses in it (Eq. 8): the soft mask of each entity as a linear map of the features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from upseg.functional.blocks import BLOCK_ELEMENTS, recomputed
from upseg.functional.precision import full_precision, wide
from upseg.methods.entity.pixels import pixel_rows, row_of_pixels

SMALLEST_SINE = 0.1
"""Of the angle between a line and the span of the others. P_k is as long as its inverse: at most 10."""
SCALES = 4


class SegmentSpace(NamedTuple):
    """The map from features to segment space.

    Attributes:
        projection: (B, K + 1, d) P, zero in rows that are not usable.
        rows: (B, K + 1) which rows are segments: the K entities of an image, and the background where it is one.
        usable: (B, K + 1) which of them have a row of a left inverse that exists and is well conditioned.
    """

    projection: Float[Tensor, "b rows d"]
    rows: Bool[Tensor, "b rows"]
    usable: Bool[Tensor, "b rows"]


@full_precision
def segment_space(
    lines: Float[Tensor, "b rows d"],
    present: Bool[Tensor, "b rows"],
    neighbours: Bool[Tensor, "b rows rows"] | None = None,
    background_is_entity: bool = False,
    smallest_sine: float = SMALLEST_SINE,
) -> SegmentSpace:
    """P: the left inverse of the matrix whose columns are the entities' lines, as far as these are independent.

    Paper: Eq. 7, Sec. 3.5. P μ_k = e_k for all k; P = (AᵀA)⁻¹Aᵀ, A = [μ_1 ... μ_K].

    ‖P_k‖ is the inverse of the sine between μ_k and the span of the other lines. An image is left out if one of these
    sines is below `smallest_sine`, or if it has more lines than dimensions. With `neighbours`, P_k is the row of the
    left inverse of the lines of k's neighbours alone, and so only P_k μ_l = 0 for these, and only the entities are left
    out whose own system is like that; the background, everybody's neighbour, keeps its own line. Solved in float64;
    memory is B (K + 1) n² then, n the most neighbours of an entity.

    Args:
        lines: (B, K + 1, d) μ, unit vectors.
        present: (B, K + 1) which rows have a line.
        neighbours: (B, K + 1, K + 1) symmetric, the diagonal true; None for all pairs.
        background_is_entity: Whether row 0 is a segment as well.
        smallest_sine: In (0, 1].
    """
    rows = present.clone()
    rows[:, 0] &= background_is_entity
    lines = lines * rows[..., None]
    gram = lines.double() @ lines.double().mT
    if neighbours is None:
        inverse, usable = _inverse_of_all(gram, rows, lines.shape[-1], smallest_sine)
    else:
        near = neighbours & rows[:, :, None] & rows[:, None, :]
        near[:, 0, 1:] = False
        inverse, usable = _inverse_of_neighbours(gram, near, lines.shape[-1], smallest_sine)
    usable &= rows
    projection = (inverse @ lines.double()).to(wide(lines).dtype) * usable[..., None]
    return SegmentSpace(projection, rows, usable)


@full_precision
def segment_losses(
    features: Float[Tensor, "b d h w"],
    labels: Int64[Tensor, "b h w"],
    space: SegmentSpace,
    neighbours: Bool[Tensor, "b rows rows"] | None = None,
    scales: int = SCALES,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """L_s and L_g: soft masks against the entities' binary masks, values and differences of neighbouring pixels.

    Paper: Eq. 8, Sec. 3.5. L_s = 1/K Σ_k MSE(S_k, Ŝ_k), L_g = 1/K Σ_k Σ_m MSE(∇S_k^m, ∇Ŝ_k^m), S_k(i) = |P f_i|_k.

    ∇ is linear, so both are read from one map of S - Ŝ. Scale m takes every 2^m-th row and column; its MSE is over the
    differences along x and y together, of pairs of pixels that both count. The mean is over all images, with 0 for
    those left out. The maps of as many entities at a time as `BLOCK_ELEMENTS` allows are held in memory.

    Args:
        features: (B, d, H, W) f.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        space: Of the same rows as `labels`.
        neighbours: (B, K + 1, K + 1): pixels count for k where they belong to a row near it; None where to any.
        scales: Of L_g; with 0 it is 0.

    Returns:
        L_s and L_g, at least 0.
    """
    pixels, owners = pixel_rows(features), row_of_pixels(labels, space.rows.shape[1] - 1)
    near = torch.ones_like(space.rows)[:, None] if neighbours is None else neighbours
    # one more column for the pixels to ignore
    near = torch.cat([near, torch.zeros_like(near[..., :1])], dim=2)
    sizes = max(1, BLOCK_ELEMENTS // labels.numel())
    numbers = torch.split(torch.arange(space.rows.shape[1], device=labels.device), sizes)
    shape = (labels.shape[1], labels.shape[2], scales)
    parts = [
        recomputed(
            _errors_of_rows,
            len(numbers),
            pixels,
            owners,
            space.projection[:, block],
            block,
            near if neighbours is None else near[:, block],
            shape,
        )
        for block in numbers
    ]
    return tuple(_mean_of_rows(torch.cat(errors, dim=1), space) for errors in zip(*parts, strict=True))  # type: ignore[return-value]


def _errors_of_rows(
    pixels: Float[Tensor, "b n d"],
    owners: Int64[Tensor, "b n"],
    projection: Float[Tensor, "b r d"],
    numbers: Int64[Tensor, " r"],
    near: Bool[Tensor, "b s owners"],
    shape: tuple[int, int, int],
) -> tuple[Float[Tensor, "b r"], Float[Tensor, "b r"]]:
    """The two errors of some rows."""
    height, width, scales = shape
    errors = (pixels @ projection.mT).abs() - (owners[..., None] == numbers).to(pixels.dtype)  # (B, N, r), S - Ŝ
    counted = near.mT[torch.arange(len(owners), device=owners.device)[:, None], owners]  # (B, N, r or 1)
    errors = errors.reshape(len(errors), height, width, -1)
    counted = counted.reshape(len(errors), height, width, -1)
    segment = _mean_square(errors, counted)
    gradient = torch.zeros_like(segment)
    for scale in range(scales):
        coarse, known = errors[:, :: 2**scale, :: 2**scale], counted[:, :: 2**scale, :: 2**scale]
        gradient = gradient + _mean_square_difference(coarse, known)
    return segment, gradient


def _mean_square(values: Float[Tensor, "b h w r"], counted: Bool[Tensor, "b h w s"]) -> Float[Tensor, "b r"]:
    return (values * counted).square().sum((1, 2)) / counted.sum((1, 2)).clamp_min(1)


def _mean_square_difference(values: Float[Tensor, "b h w r"], counted: Bool[Tensor, "b h w s"]) -> Float[Tensor, "b r"]:
    down = (values[:, 1:] - values[:, :-1]) * (both_down := counted[:, 1:] & counted[:, :-1])
    right = (values[:, :, 1:] - values[:, :, :-1]) * (both_right := counted[:, :, 1:] & counted[:, :, :-1])
    pairs = both_down.sum((1, 2)) + both_right.sum((1, 2))
    return (down.square().sum((1, 2)) + right.square().sum((1, 2))) / pairs.clamp_min(1)


def _mean_of_rows(values: Float[Tensor, "b rows"], space: SegmentSpace) -> Float[Tensor, ""]:
    """Over the segments of each image, 0 for those left out, and over the images."""
    return ((values * space.usable).sum(1) / space.rows.sum(1).clamp_min(1)).mean()


def _inverse_of_all(
    gram: Float[Tensor, "b rows rows"], rows: Bool[Tensor, "b rows"], dimensions: int, smallest_sine: float
) -> tuple[Float[Tensor, "b rows rows"], Bool[Tensor, "b rows"]]:
    """The inverse of the Gram matrix of each image, rows without a line aside."""
    factors, regular = _factors(gram, rows)
    inverse = torch.cholesky_inverse(factors)
    lengths = inverse.detach().diagonal(dim1=-2, dim2=-1)  # squared, of P_k
    usable = regular & (rows.sum(1) <= dimensions) & (lengths <= smallest_sine**-2).all(1)
    return inverse, usable[:, None].expand_as(rows).clone()


def _inverse_of_neighbours(
    gram: Float[Tensor, "b rows rows"], near: Bool[Tensor, "b rows rows"], dimensions: int, smallest_sine: float
) -> tuple[Float[Tensor, "b rows rows"], Bool[Tensor, "b rows"]]:
    """Row k is row k of the inverse of the Gram matrix of k's neighbours, gathered into a small one."""
    most = int(near.sum(2).max())
    members = near.to(torch.uint8).sort(dim=2, descending=True, stable=True).indices[..., :most]  # (B, K + 1, n)
    valid = near.gather(2, members)
    images = torch.arange(len(gram), device=gram.device)[:, None, None, None]
    factors, regular = _factors(gram[images, members[..., :, None], members[..., None, :]], valid)
    own = (members == torch.arange(gram.shape[1], device=gram.device)[:, None]) & valid
    solved = torch.cholesky_solve(own[..., None].to(gram.dtype), factors)[..., 0]
    lengths = (solved.detach() * own).sum(2)
    usable = regular & (valid.sum(2) <= dimensions) & (lengths <= smallest_sine**-2)
    return torch.zeros_like(gram).scatter(2, members, solved * valid), usable


def _factors(
    gram: Float[Tensor, "*batch n n"], valid: Bool[Tensor, "*batch n"]
) -> tuple[Float[Tensor, "*batch n n"], Bool[Tensor, "*batch"]]:
    """Cholesky factors, the identity's in rows that are not valid and where a matrix is not positive definite."""
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    gram = torch.where(valid[..., :, None] & valid[..., None, :], gram, identity)
    regular = torch.linalg.cholesky_ex(gram.detach()).info == 0
    return torch.linalg.cholesky_ex(torch.where(regular[..., None, None], gram, identity)).L, regular
