"""Mean shift on the projective sphere as the paper has it (Sec. 4): from every pixel, over all pixels, one by one."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Partition(NamedTuple):
    """What was found.

    Attributes:
        modes: (M, d).
        labels: (N,) 0..M - 1.
        margins: (N,) by how much |f . mode| of the nearest mode is larger than that of the next, 1 if there is none.
    """

    modes: np.ndarray
    labels: np.ndarray
    margins: np.ndarray


def mean_shift(features: np.ndarray, bandwidth: float = 45.0, tolerance: float = 1e-9, steps: int = 1000) -> Partition:
    """Shift every feature to rest, make those closer than the bandwidth one, and give each feature its nearest.

    Args:
        features: (N, d) unit vectors.
        bandwidth: In degrees.
        tolerance: A mode rests when |x . x'| of a step is above 1 - tolerance.
        steps: The most that are allowed.
    """
    features = features.astype(np.float64)
    cosine = math.cos(math.radians(bandwidth))
    rests, supports = [], []
    for seed in features:
        rest, support = shift(seed, features, cosine, tolerance, steps)
        rests.append(rest)
        supports.append(support)
    modes: list[np.ndarray] = []
    for number in sorted(range(len(rests)), key=lambda number: (-supports[number], number)):
        if all(abs(float(rests[number] @ mode)) <= cosine for mode in modes):
            modes.append(rests[number])
    labels, margins = [], []
    for feature in features:
        similarities = [abs(float(feature @ mode)) for mode in modes]
        ranked = sorted(similarities, reverse=True)
        labels.append(similarities.index(ranked[0]))
        margins.append(ranked[0] - ranked[1] if len(ranked) > 1 else 1.0)
    return Partition(np.array(modes), np.array(labels), np.array(margins))


def shift(
    start: np.ndarray, features: np.ndarray, cosine: float, tolerance: float, steps: int
) -> tuple[np.ndarray, int]:
    """Where one feature comes to rest, and how many features lie within the bandwidth there."""
    x = start / np.linalg.norm(start)
    for _ in range(steps):
        inside = [feature for feature in features if abs(float(feature @ x)) >= cosine]
        moved = dominant_line(inside)
        if abs(float(moved @ x)) > 1 - tolerance:
            return moved, sum(abs(float(feature @ moved)) >= cosine for feature in features)
        x = moved
    raise RuntimeError(f"no rest after {steps} steps")


def dominant_line(features: list[np.ndarray]) -> np.ndarray:
    """argmax_{|v| = 1} Σ_i (f_i . v)²: Eq. 4."""
    moment = np.zeros((len(features[0]), len(features[0])))
    for feature in features:
        moment += np.outer(feature, feature)
    return np.linalg.eigh(moment)[1][:, -1]
