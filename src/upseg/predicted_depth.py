"""What methods that predict depth return beside the `Segmentation`: one number for each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

LEAST_DISPARITY = 1 / 65_535
"""The disparity of the farthest pixel: the smallest number above 0, unknown, that a 16-bit file holds."""


@dataclass(frozen=True, eq=False)
class PredictedDepth:
    """The depth of each pixel of an image, or only which pixels are nearer.

    Attributes:
        values: (H, W) 0 where it is unknown. Else, if metric, the depth in metres; if relative, the disparity in
            (0, 1], the larger the nearer, whose shift and scale mean nothing.
        is_metric: Whether it is in metres.

    Raises:
        ValueError: If a value is negative or not finite, or a relative one is above 1.
    """

    values: Float32[np.ndarray, "h w"]
    is_metric: bool

    def __post_init__(self) -> None:
        low, high = float(self.values.min(initial=0)), float(self.values.max(initial=0))  # nan if any value is
        if not 0 <= low <= high < float("inf"):
            raise ValueError(f"depth must be finite and at least 0, got values from {low} to {high}")
        if not self.is_metric and high > 1:
            raise ValueError(f"relative disparity must be at most 1, got {high}; PredictedDepth.relative scales it")
        self.values.flags.writeable = False

    @classmethod
    def relative(cls, disparity: Float[np.ndarray, "h w"]) -> PredictedDepth:
        """Disparities of any shift and scale, brought to (0, 1].

        Args:
            disparity: (H, W) finite, larger is nearer, all known. Where all are the same, each becomes 1.
        """
        values = disparity.astype(np.float32)
        low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
        if low < high:
            shares = (values - low) / (high - low)
            return cls(np.float32(LEAST_DISPARITY) + shares * np.float32(1 - LEAST_DISPARITY), is_metric=False)
        # a sum with what may be nan or infinite keeps the constructor's check alive
        return cls(np.ones_like(values) + (values - values), is_metric=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def nearness(self) -> Float32[np.ndarray, "h w"]:
        """(H, W) in [0, 1] for pictures: 0 the farthest known pixel, 1 the nearest; nan where it is unknown.

        Of metres the logarithm is taken: equal steps are equal ratios of depth.
        """
        known = self.values > 0
        height = np.full(self.shape, np.nan, np.float32)
        height[known] = -np.log(self.values[known]) if self.is_metric else self.values[known]
        low, high = (height[known].min(), height[known].max()) if known.any() else (0.0, 0.0)
        return np.asarray((height - low) / (high - low) if low < high else height - low + 1)
