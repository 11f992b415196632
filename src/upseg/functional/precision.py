"""Arithmetic in full precision under autocast, and in blocks, so that memory stays bounded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function compute as written also under autocast: eigenvectors and inverses need all of float32."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(next(tensors).device.type, enabled=False):
            return function(*args, **kwargs)

    return wrapped


def wide(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The values in float32, or in float64 where they are."""
    return values if values.dtype == torch.float64 else values.float()


BLOCK_ELEMENTS = 2**23
"""Elements of the largest temporary tensors: 32 MiB in float32. What does not fit is done in blocks."""


def recomputed(function: Callable[..., R], blocks: int, *args: object) -> R:
    """Call a function; of several blocks, only the inputs are kept, and backward computes the rest anew."""
    if blocks == 1 or not torch.is_grad_enabled():
        return function(*args)
    result: R = checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)
    return result
