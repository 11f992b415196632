"""What Eq. 4 and 7 need of many small matrices at once: dominant eigenvectors, and inverses as far as they exist."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from upseg.functional.precision import BLOCK_ELEMENTS, full_precision, wide
from upseg.functional.random_numbers import seeded_generator

SQUARINGS = 4
BLOCK_COLUMNS = 8
BLOCK_STEPS = (2, 1)
"""M^16 is multiplied three times, 48 power steps, and Rayleigh-Ritz picks among 8 directions: as close to what `eigh`
finds as float32 allows unless the second eigenvalue is above 0.95 of the first, in about half the time
(benchmarks/entity_lines.py)."""


@torch.no_grad()
@full_precision
def dominant_eigenvectors(moments: Float[Tensor, "n d d"]) -> Float[Tensor, "n d"]:
    """The eigenvector of the largest eigenvalue of each of n symmetric, positive semidefinite matrices, by iteration.

    Among several equal largest eigenvalues any vector of their space is an answer. It has no gradient.

    Args:
        moments: (n, d, d).

    Returns:
        (n, d) unit vectors of arbitrary sign.
    """
    blocks = torch.split(wide(moments), max(1, BLOCK_ELEMENTS // moments.shape[-1] ** 2))
    return torch.cat([_by_iteration(block) for block in blocks])


def inverse_of_gram(
    gram: Float[Tensor, "b rows rows"], rows: Bool[Tensor, "b rows"], dimensions: int, smallest_sine: float
) -> tuple[Float[Tensor, "b rows rows"], Bool[Tensor, "b rows"]]:
    """The inverse of the Gram matrix of the lines of each image, rows without a line aside.

    Args:
        gram: (B, K + 1, K + 1) AᵀA.
        rows: (B, K + 1) which rows have a line.
        dimensions: d, of the lines.
        smallest_sine: Of the angle between a line and the span of the others.

    Returns:
        (B, K + 1, K + 1) inverses, and (B, K + 1) the rows of the images whose lines are independent enough.
    """
    factors, regular = cholesky_factors(gram, rows)
    inverse = torch.cholesky_inverse(factors)
    lengths = inverse.detach().diagonal(dim1=-2, dim2=-1)  # squared, of P_k
    usable = regular & (rows.sum(1) <= dimensions) & (lengths <= smallest_sine**-2).all(1)
    return inverse, usable[:, None].expand_as(rows)


def cholesky_factors(
    gram: Float[Tensor, "*batch n n"], valid: Bool[Tensor, "*batch n"]
) -> tuple[Float[Tensor, "*batch n n"], Bool[Tensor, "*batch"]]:
    """Cholesky factors of symmetric matrices, so that one that has none does not stop the others.

    Args:
        gram: (..., n, n).
        valid: (..., n) the rows and columns that count; the others are taken for the identity's.

    Returns:
        (..., n, n) factors, the identity where a matrix is not positive definite, and (...) which ones are.
    """
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    gram = torch.where(valid[..., :, None] & valid[..., None, :], gram, identity)
    regular = torch.linalg.cholesky_ex(gram.detach()).info == 0
    return torch.linalg.cholesky_ex(torch.where(regular[..., None, None], gram, identity)).L, regular


def _by_iteration(moments: Float[Tensor, "n d d"]) -> Float[Tensor, "n d"]:
    """Subspace iteration with M^16, and the dominant vector of M within the subspace."""
    dimensions = moments.shape[-1]
    scaled = _unit_trace(moments)
    power = scaled
    for _ in range(SQUARINGS):
        power = _unit_trace(power @ power)
    # any start will do that is not orthogonal to the answer
    start = torch.randn(dimensions, min(BLOCK_COLUMNS, dimensions), generator=seeded_generator(0))
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
