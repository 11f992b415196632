"""The peaks of a relief: what stands out far enough from all higher ground."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int32
from scipy import ndimage
from skimage.morphology import local_maxima


def prominent_peaks(
    relief: Float[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"], prominence: float, connectivity: int = 2
) -> Int32[np.ndarray, "h w"]:
    """The parts of a relief that stand out by more than so much from the highest pass to anything higher.

    Args:
        relief: (H, W) heights.
        inside: (H, W) where to look; every connected part has at least one peak.
        prominence: Height above the pass, above 0.
        connectivity: Of pixels that are neighbours: 1 for the four that share an edge, 2 for all eight.

    Returns:
        (H, W) numbers of the peaks from 1, 0 elsewhere.

    Example:
        >>> import numpy as np
        >>> relief = np.array([[1.0, 3.0, 2.0, 4.0, 1.0]])
        >>> [prominent_peaks(relief, relief > 0, least).tolist() for least in (0.5, 1.0)]
        [[[0, 1, 0, 2, 0]], [[0, 0, 0, 1, 0]]]
    """
    neighbours = ndimage.generate_binary_structure(2, connectivity)
    floor = float(relief.min(initial=0.0)) - 2 * prominence - 1
    # with low ground all around: what has none is no peak
    heights = np.pad(np.where(inside, relief, floor), 1, constant_values=floor)
    filled = raised_under(np.maximum(heights - prominence, floor), heights, connectivity)
    tops = inside & local_maxima(filled, footprint=neighbours)[1:-1, 1:-1]  # type: ignore[no-untyped-call]
    return np.asarray(ndimage.label(tops, neighbours)[0].astype(np.int32))


def raised_under(
    seed: Float[np.ndarray, "h w"], heights: Float[np.ndarray, "h w"], connectivity: int = 2
) -> Float[np.ndarray, "h w"]:
    """Morphological reconstruction by dilation: the seed grown as far as heights let it.

    Sweeps down, up, right and left, a row at a time, until nothing can grow: objects are round, and a few are
    enough, where `skimage.morphology.reconstruction` sorts all pixels.

    Args:
        seed: (H, W), nowhere above `heights`.
        heights: (H, W).
        connectivity: 1 or 2, as of `prominent_peaks`.

    Example:
        >>> import numpy as np
        >>> raised_under(np.array([[2.0, 0.0, 0.0]]), np.array([[3.0, 1.0, 2.0]])).tolist()
        [[2.0, 1.0, 1.0]]
    """
    raised, across = seed.copy(), np.ascontiguousarray(heights.T)
    while not np.array_equal(np.minimum(_dilated(raised, connectivity), heights), raised):
        _sweep(raised, heights, connectivity)
        _sweep(raised[::-1], heights[::-1], connectivity)
        turned = np.ascontiguousarray(raised.T)
        _sweep(turned, across, connectivity)
        _sweep(turned[::-1], across[::-1], connectivity)
        np.copyto(raised, turned.T)
    return raised


def _dilated(raised: Float[np.ndarray, "h w"], connectivity: int) -> Float[np.ndarray, "h w"]:
    """The highest of each pixel and its neighbours."""
    beside = raised.copy()
    np.maximum(beside[:, 1:], raised[:, :-1], out=beside[:, 1:])
    np.maximum(beside[:, :-1], raised[:, 1:], out=beside[:, :-1])
    row, dilated = (raised if connectivity == 1 else beside), beside.copy()
    np.maximum(dilated[1:], row[:-1], out=dilated[1:])
    np.maximum(dilated[:-1], row[1:], out=dilated[:-1])
    return dilated


def _sweep(raised: Float[np.ndarray, "h w"], heights: Float[np.ndarray, "h w"], connectivity: int) -> None:
    """Let each row, in order, rise to the pixels of the one before it that are its neighbours, in place."""
    highest = np.empty_like(raised[0])
    for above, row, limit in zip(raised[:-1], raised[1:], heights[1:], strict=True):
        np.maximum(row, above, out=highest)
        if connectivity == 2:
            np.maximum(highest[1:], above[:-1], out=highest[1:])
            np.maximum(highest[:-1], above[1:], out=highest[:-1])
        np.minimum(highest, limit, out=row)
