"""The peaks of a relief: what stands out far enough from all higher ground."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int32
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction


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
        >>> [prominent_peaks(relief, relief > 0, least).tolist() for least in (0.5, 2.0)]
        [[[0, 1, 0, 2, 0]], [[0, 0, 0, 1, 0]]]
    """
    neighbours = ndimage.generate_binary_structure(2, connectivity)
    floor = float(relief.min(initial=0.0)) - 2 * prominence - 1
    # with low ground all around: what has none is no peak
    heights = np.pad(np.where(inside, relief, floor), 1, constant_values=floor)
    lowered = np.maximum(heights - prominence, floor)
    filled = reconstruction(lowered, heights, footprint=neighbours)  # type: ignore[no-untyped-call]
    tops = inside & local_maxima(filled, footprint=neighbours)[1:-1, 1:-1]  # type: ignore[no-untyped-call]
    return np.asarray(ndimage.label(tops, neighbours)[0].astype(np.int32))
