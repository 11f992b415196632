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
    step = max(1, int((image.size / _MOST_VALUES) ** 0.5))
    low, high = np.percentile(image[::step, ::step], (dark, bright))
    if not high > low:
        return np.zeros(image.shape, np.float32)
    return np.asarray(np.clip((image - low) / (high - low), 0, 1).astype(np.float32))
