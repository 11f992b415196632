"""Features as points of the projective sphere: lines through the origin (Eq. 1 to 3)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from upseg.functional.precision import full_precision, wide

SMALLEST_NORM = 1e-6


@full_precision
def unit_features(raw: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
    """f: the network's output as unit vectors, of which f and -f are the same point of the projective sphere.

    Paper: Eq. 1, Sec. 3.1. F = { f in R^d : ‖f‖ = 1, f ≡ -f }.

    Args:
        raw: (B, d, H, W) output of the network, any floating dtype.

    Returns:
        (B, d, H, W) in channels_last, so that the rows of pixels in which the losses work need no copy. Vectors
        shorter than `SMALLEST_NORM` stay shorter than 1.
    """
    raw = wide(raw).contiguous(memory_format=torch.channels_last)
    lengths: Tensor = torch.linalg.vector_norm(raw, dim=1, keepdim=True)
    return raw * lengths.clamp_min(SMALLEST_NORM).reciprocal()  # whose gradient takes less memory than a division's


def projective_distance(first: Float[Tensor, "*batch d"], second: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """The cosine distance between two lines.

    Paper: Eq. 2, Sec. 3.1. dist(f, g) = 1 - |f . g|.

    Args:
        first: (..., d) unit vectors.
        second: Likewise.

    Returns:
        (...) in [0, 1]: 0 for parallel, 1 for orthogonal lines.
    """
    return 1 - (first * second).sum(-1).abs()


@full_precision
def unit_length_loss(raw: Float[Tensor, "b d h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """L_u: how far the network's output is from unit length.

    Paper: Eq. 3, Sec. 3.1. L_u = Σ_i | 1 - ‖raw_i‖ |; here the mean over the pixels.

    Args:
        raw: (B, d, H, W) output of the network.
        valid: (B, H, W) the pixels that count.
    """
    lengths: Tensor = torch.linalg.vector_norm(wide(raw), dim=1)
    errors = (1 - lengths).abs() * valid
    return (errors.sum((1, 2)) / valid.sum((1, 2)).clamp_min(1)).mean()
