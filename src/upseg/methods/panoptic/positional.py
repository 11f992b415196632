"""Eq. 2 to 4: centres of mass as positional embeddings, and how far a prediction is from them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


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
    return torch.stack((angles.sin(), angles.cos()), dim=place + 1).flatten(place, place + 1)


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
    return positional_embedding(centres, frequencies, dim=2).flatten(1, 2) * inside[:, None]


def embedding_distance(predicted: Float[Tensor, "b c h w"], truth: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """L^inst: the mean of the two Euclidean distances, that of the u embeddings and that of the v embeddings.

    Paper: Eq. 4, Sec. 3.3.1. ½ (‖(y - ŷ)_[1:2L]‖ + ‖(y - ŷ)_[2L+1:4L]‖). Not squared; where y = ŷ the gradient is 0.

    Args:
        predicted: (B, 4L, H, W) ŷ.
        truth: (B, 4L, H, W) y.

    Returns:
        (B, H, W), at least 0.
    """
    u, v = (truth - predicted).chunk(2, dim=1)
    return (_norm(u) + _norm(v)) / 2


def _norm(values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """Euclidean, with gradient 0 at the zero vector."""
    norm: Tensor = torch.linalg.vector_norm(values, dim=1)
    return norm
