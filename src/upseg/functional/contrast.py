"""Contrast of images whose range of values means nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

DARK, BRIGHT = 1.0, 99.8
"""Percentiles that become 0 and 1: few objects are brighter than the background, so the upper one is high."""
_MOST_VALUES = 2**18


def stretch_contrast(
    image: Float[np.ndarray, "h w c"], dark: float = DARK, bright: float = BRIGHT
) -> Float32[np.ndarray, "h w c"]:
    """Spread the values of an image over [0, 1], the same way in all channels, so that colours keep their hue.

    Args:
        image: (H, W, C) of any range. Not changed.
        dark: The percentile of all values that becomes 0.
        bright: The percentile that becomes 1; of large images percentiles are those of a regular sample.

    Returns:
        (H, W, C) in [0, 1]; 0 everywhere where the percentiles are equal.
    """
    step = contrast_step(image.size)
    low, high = np.percentile(image[::step, ::step], (dark, bright))
    return spread(image, low, high)


def contrast_step(values: int) -> int:
    """Of which rows and columns of an image with so many values percentiles are taken: every n-th."""
    return max(1, int((values / _MOST_VALUES) ** 0.5))


def spread(image: Float[np.ndarray, "h w c"], low: float, high: float) -> Float32[np.ndarray, "h w c"]:
    """Bring `low` to 0 and `high` to 1 and cut off what lies beyond; 0 everywhere where they are equal."""
    if not high > low:
        return np.zeros(image.shape, np.float32)
    low, high = np.float64(low), np.float64(high)  # as percentiles are: Python's would be taken for float32
    stretched: Float32[np.ndarray, "h w c"] = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
    return stretched
