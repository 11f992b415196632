"""Large intermediate results in blocks, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.checkpoint import checkpoint

R = TypeVar("R")

BLOCK_ELEMENTS = 2**23
"""Elements of the largest temporary tensors: 32 MiB in float32. What does not fit is done in blocks."""


def recomputed(function: Callable[..., R], blocks: int, *args: object) -> R:
    """Call a function; of several blocks, only the inputs are kept, and backward computes the rest anew."""
    if blocks == 1 or not torch.is_grad_enabled():
        return function(*args)
    result: R = checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)
    return result
