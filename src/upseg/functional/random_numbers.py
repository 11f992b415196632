"""Random numbers that are the same in every run."""

from __future__ import annotations

from importlib import import_module

import torch


def seeded_generator(seed: int) -> torch.Generator:
    """A generator of random numbers on the processor.

    Args:
        seed: Any integer; the same one gives the same numbers.

    Example:
        >>> first, second = (torch.rand(2, generator=seeded_generator(0)) for _ in range(2))
        >>> torch.equal(first, second)
        True
    """
    import_module("torch._prims.rng_prims")  # torch 2.15 makes no generator before, and commands leave it out
    return torch.Generator().manual_seed(seed)
