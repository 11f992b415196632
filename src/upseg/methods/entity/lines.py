"""Target lines of entities: the dominant eigenvector of the second moments of their features (Eq. 4)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from upseg.functional.blocks import BLOCK_ELEMENTS
from upseg.functional.precision import full_precision, wide
from upseg.methods.entity.pixels import PixelGroups, group_pixels, pixel_rows, row_of_pixels

EigenMethod = Literal["eigh", "iteration"]

CHUNK = 512
"""The most pixels that are multiplied at once; entities are padded to a multiple of it."""
SQUARINGS = 4
BLOCK_COLUMNS = 8
BLOCK_STEPS = (2, 1)
"""Of `iteration`: M^16 is multiplied three times, 48 power steps, and Rayleigh-Ritz picks among 8 directions: as close
to `eigh` as float32 allows unless the second eigenvalue is above 0.95 of the first, in about half the time
(benchmarks/entity_lines.py)."""


@full_precision
def entity_moments(
    features: Float[Tensor, "b d h w"], labels: Int64[Tensor, "b h w"], count: int
) -> Float[Tensor, "b rows d d"]:
    """M_k: the second moments of the features of each entity and of the background.

    Paper: Eq. 4, Sec. 3.2. M_k = Σ_{i in E_k} f_i f_iᵀ.

    The pixels are sorted by entity and multiplied in chunks, so the work is that of one product of the features with
    themselves, whatever the number of entities; temporary memory is bounded by `BLOCK_ELEMENTS`, beside the (B, N)
    order of the pixels and, for maps that are not channels_last, a copy of the map.

    Args:
        features: (B, d, H, W) f.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        count: K, the largest id.

    Returns:
        (B, K + 1, d, d), symmetric; zero where there is no pixel.
    """
    pixels = pixel_rows(features)
    groups = group_pixels(labels, count)
    images, rows, dimensions = len(pixels), count + 1, pixels.shape[-1]
    size = max(dimensions, min(CHUNK, pixels.shape[1] // rows))
    flat = pixels.flatten(0, 1)
    moments = flat.new_zeros(images * rows, dimensions, dimensions)
    # at most so many, for one more than all full chunks may be needed in each group; nothing waits for the device
    chunks = len(flat) // size + images * rows
    numbers_of_blocks = torch.split(
        torch.arange(chunks, device=flat.device), max(1, BLOCK_ELEMENTS // (dimensions * size))
    )
    for numbers in numbers_of_blocks:
        group, index, valid = _pixels_of_chunks(groups, numbers, size)
        members = flat[index] * valid[..., None]
        moments = moments.index_add(0, group, members.mT @ members)
    return moments.view(images, rows, dimensions, dimensions)


def dominant_lines(
    features: Float[Tensor, "b d h w"],
    labels: Int64[Tensor, "b h w"],
    count: int,
    method: EigenMethod = "iteration",
    differentiable: bool = False,
) -> tuple[Float[Tensor, "b rows d"], Bool[Tensor, "b rows"]]:
    """μ_k: the line closest to the features of each entity, and the background's μ_BG in row 0.

    Paper: Eq. 4, Sec. 3.2. μ_k = argmax_{‖v‖=1} vᵀ M_k v. Its sign means nothing.

    Args:
        features: (B, d, H, W) f.
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        count: K, the largest id.
        method: Of `dominant_eigenvectors`.
        differentiable: Whether gradient flows from the lines to the features; only with `eigh`.

    Returns:
        lines: (B, K + 1, d) unit vectors, zero where there is no pixel.
        present: (B, K + 1) which rows have pixels.

    Raises:
        ValueError: If `differentiable` is asked for with another method than `eigh`.
    """
    if differentiable and method != "eigh":
        raise ValueError(f"differentiable lines need method 'eigh', got {method!r}")
    with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
        moments = entity_moments(features, labels, count)
        lines = dominant_eigenvectors(moments.flatten(0, 1), method).view(moments.shape[:3])
    present = group_pixels(labels, count).counts > 0
    return lines * present[..., None], present


@full_precision
def dominant_eigenvectors(moments: Float[Tensor, "n d d"], method: EigenMethod = "iteration") -> Float[Tensor, "n d"]:
    """The eigenvector of the largest eigenvalue of each of n symmetric, positive semidefinite matrices.

    Among several equal largest eigenvalues any vector of their space is an answer.

    Args:
        moments: (n, d, d).
        method: `eigh` computes all eigenvectors (gradient flows through it wherever the largest eigenvalue is a single
            one, whatever the others are); `iteration` mostly multiplies matrices, takes about half the time on a CPU,
            and has no gradient.

    Returns:
        (n, d) unit vectors of arbitrary sign.

    Raises:
        ValueError: If `method` is neither.
    """
    if method not in ("eigh", "iteration"):
        raise ValueError(f"method must be one of eigh, iteration, got {method!r}")
    moments = wide(moments)
    if method == "eigh":
        return _eigenvectors_by_eigh(moments)
    with torch.no_grad():
        blocks = torch.split(moments, max(1, BLOCK_ELEMENTS // moments.shape[-1] ** 2))
        return torch.cat([_eigenvectors_by_iteration(block) for block in blocks])


@torch.no_grad()
def neighbour_table(labels: Int64[Tensor, "b h w"], count: int, reach: int) -> Bool[Tensor, "b rows rows"]:
    """Which entities are near each other: those whose bounding boxes have at most `reach` pixels between them.

    Args:
        labels: (B, H, W) k >= 1 entity, 0 background, below 0 ignored.
        count: K, the largest id.
        reach: The most pixels between two boxes, along rows and along columns; touching boxes have 0 between them.

    Returns:
        (B, K + 1, K + 1), symmetric. The diagonal, row 0 and column 0 are true: everybody is near the background.

    Raises:
        ValueError: If `reach` is negative.
    """
    if reach < 0:
        raise ValueError(f"reach must be at least 0 pixels, got {reach}")
    rows = row_of_pixels(labels, count)
    height, width = labels.shape[1:]
    pixel = torch.arange(height * width, device=labels.device).expand_as(rows)
    near = torch.ones(len(labels), count + 1, count + 1, dtype=torch.bool, device=labels.device)
    for position, length in ((pixel // width, height), (pixel % width, width)):
        far = torch.full((len(labels), count + 2), 2 * length + reach, device=labels.device)
        first = far.scatter_reduce(1, rows, position, "amin")[:, :-1]
        last = (-far).scatter_reduce(1, rows, position, "amax")[:, :-1]
        between = first[:, :, None] - last[:, None, :] - 1  # from l's last to k's first, negative where l ends later
        near &= (between <= reach) & (between.mT <= reach)
    near |= torch.eye(count + 1, dtype=torch.bool, device=labels.device)
    near[:, 0] = near[:, :, 0] = True
    return near


def _pixels_of_chunks(
    groups: PixelGroups, numbers: Int64[Tensor, " c"], size: int
) -> tuple[Int64[Tensor, " c"], Int64[Tensor, "c s"], Bool[Tensor, "c s"]]:
    """The group of some chunks, the indices of their pixels, and which of these are not padding."""
    counts = groups.counts.flatten()
    ends = ((counts + size - 1) // size).cumsum(0)
    group = torch.searchsorted(ends, numbers, right=True).clamp(max=len(counts) - 1)
    # chunks after the last one lie beyond the end of the last group: all of their pixels are padding
    first = (numbers - torch.where(group > 0, ends[group - 1], 0)) * size
    offsets = first[:, None] + torch.arange(size, device=numbers.device)
    valid = offsets < counts[group][:, None]
    index = (groups.starts.flatten()[group][:, None] + offsets).clamp(max=len(groups.order) - 1)
    return group, groups.order[index], valid


def _eigenvectors_by_eigh(moments: Float[Tensor, "n d d"]) -> Float[Tensor, "n d"]:
    """Gradient is that of first-order perturbation, dv = Σ_j v_j v_jᵀ dM v / (λ - λ_j) over all but the largest."""
    with torch.no_grad():
        values, vectors = torch.linalg.eigh(moments.detach())
        dominant: Tensor = vectors[..., -1]
    if not (moments.requires_grad and torch.is_grad_enabled()):
        return dominant
    others, gaps = vectors[..., :-1], values[..., -1:] - values[..., :-1]
    smallest = torch.finfo(moments.dtype).eps * values[..., -1:].clamp_min(torch.finfo(moments.dtype).tiny)
    inverse_gaps = torch.where(gaps > smallest, 1 / gaps.clamp_min(smallest), 0)
    coefficients = inverse_gaps * (others.mT @ (moments @ dominant[..., None]))[..., 0]
    change = (others @ coefficients[..., None])[..., 0]
    lines: Tensor = dominant + change - change.detach()
    return lines


def _eigenvectors_by_iteration(moments: Float[Tensor, "n d d"]) -> Float[Tensor, "n d"]:
    """Subspace iteration with M^16, and the dominant vector of M within the subspace."""
    dimensions = moments.shape[-1]
    scaled = _unit_trace(moments)
    power = scaled
    for _ in range(SQUARINGS):
        power = _unit_trace(power @ power)
    # any start will do that is not orthogonal to the answer
    start = torch.randn(dimensions, min(BLOCK_COLUMNS, dimensions), generator=torch.Generator().manual_seed(0))
    block = start.to(moments).expand(len(moments), -1, -1)
    for steps in BLOCK_STEPS:
        for _ in range(steps):
            block = normalize(power @ block, dim=-2)
        block = torch.linalg.qr(block).Q
    vectors = torch.linalg.eigh(block.mT @ (scaled @ block)).eigenvectors
    return normalize((block @ vectors[..., -1:])[..., 0], dim=-1)


def _unit_trace(matrices: Float[Tensor, "n d d"]) -> Float[Tensor, "n d d"]:
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
    return matrices / trace.clamp_min(torch.finfo(matrices.dtype).tiny)[:, None, None]
