"""Depth errors: RMSE, AbsRel and the δ accuracies."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from upseg.functional.label_maps import Mask
from upseg.metrics.accumulator import Accumulator, ratio

# metres: the range of valid depth on NYUv2
MINIMUM_DEPTH, MAXIMUM_DEPTH = 1e-3, 10.0
_NAMES = ("rmse", "abs_rel", "delta1", "delta2", "delta3")


def depth_errors(
    truth: Float[np.ndarray, "h w"],
    prediction: Float[np.ndarray, "h w"],
    valid: Mask | None = None,
    minimum: float = MINIMUM_DEPTH,
    maximum: float = MAXIMUM_DEPTH,
) -> dict[str, float]:
    """Errors over the pixels whose true depth lies within the range; predictions are clipped to it first.

    Source: Eigen et al., Depth Map Prediction from a Single Image, NeurIPS 2014, Sec. 4.2.

    Args:
        truth: (H, W) metres; out of range (0, nan) where it is unknown.
        prediction: (H, W) metres.
        valid: Pixels to look at (such as NYUv2's central crop); all of them where it is None.
        minimum: Smallest valid depth in metres, more than 0.
        maximum: Largest valid depth in metres.

    Returns:
        `rmse` (root of the mean squared error, metres), `abs_rel` (mean of |prediction - truth| / truth), `delta1`
        (share of the pixels where max(prediction / truth, truth / prediction) < 1.25), `delta2` and `delta3` (the same
        with 1.25² and 1.25³); nan without a pixel of valid depth.

    Raises:
        ValueError: If the shapes differ, the range is empty, or a prediction that counts is not a number.

    Example:
        >>> depth_errors(np.array([[2.0, 4.0]]), np.array([[2.0, 5.0]]))["abs_rel"]
        0.125
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth and prediction must have the same shape, got {truth.shape} and {prediction.shape}")
    if not 0 < minimum < maximum:
        raise ValueError(f"expected a range of depth 0 < minimum < maximum, got {minimum} to {maximum}")
    known = (truth >= minimum) & (truth <= maximum)
    if valid is not None:
        known &= valid
    true, guess = truth[known].astype(np.float64), prediction[known].astype(np.float64)
    if not true.size:
        return dict.fromkeys(_NAMES, math.nan)
    if np.isnan(guess).any():
        raise ValueError(f"{int(np.isnan(guess).sum())} of {guess.size} predicted depths are not numbers")
    guess = np.clip(guess, minimum, maximum)
    quotient = np.maximum(guess / true, true / guess)
    return {
        "rmse": float(np.sqrt(np.mean((guess - true) ** 2))),
        "abs_rel": float(np.mean(np.abs(guess - true) / true)),
        **{f"delta{power}": float(np.mean(quotient < 1.25**power)) for power in (1, 2, 3)},
    }


class Depth(Accumulator):
    """Mean over images of each error, images without valid depth left out: what papers on NYUv2 report.

    Args:
        minimum: Smallest valid depth in metres.
        maximum: Largest valid depth in metres.

    Example:
        >>> metric = Depth()
        >>> metric.update(np.array([[2.0, 4.0]]), np.array([[2.0, 5.0]]))
        >>> metric.compute()["delta1"]
        0.5
    """

    def __init__(self, minimum: float = MINIMUM_DEPTH, maximum: float = MAXIMUM_DEPTH) -> None:
        super().__init__({"images": np.zeros((), np.int64), "errors": np.zeros(len(_NAMES))})
        self.minimum, self.maximum = minimum, maximum

    def update(
        self, truth: Float[np.ndarray, "h w"], prediction: Float[np.ndarray, "h w"], valid: Mask | None = None
    ) -> None:
        """Add one image; see `depth_errors`."""
        found = depth_errors(truth, prediction, valid, self.minimum, self.maximum)
        if not math.isnan(found["rmse"]):
            self.add(images=1, errors=[found[name] for name in _NAMES])

    def compute(self) -> dict[str, float]:
        """`rmse` (metres), `abs_rel`, `delta1`, `delta2`, `delta3`."""
        return {
            name: ratio(total, self.sums["images"]) for name, total in zip(_NAMES, self.sums["errors"], strict=True)
        }
