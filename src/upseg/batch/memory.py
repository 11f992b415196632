"""How the C library deals with memory that is freed."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, as malloc.h numbers them."""


def reuse_freed_memory(largest: int = 1 << 28) -> None:
    """Let the C library of Linux keep what is freed for what is needed next.

    Else each of a network's maps is new memory, which the kernel clears page by page: a third of the time of a tile.

    Args:
        largest: Bytes; what has more is still given back at once.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(_MMAP_THRESHOLD, largest)
        mallopt(_TRIM_THRESHOLD, 4 * largest)
