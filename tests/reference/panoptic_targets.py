"""The targets of `panoptic` written slowly from the paper: loops over pixels, instances and boundary pixels, float64.

Maps are (H, W); `segment_map` has 0 where nothing is labelled, and `things`, `crowds` and `classes` tell of each id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np


def instance_map(segment_map: np.ndarray, things: set[int], crowds: set[int]) -> np.ndarray:
    found = np.zeros(segment_map.shape, int)
    for place, label in np.ndenumerate(segment_map):
        if label in things:
            found[place] = -1 if label in crowds else label
    return found


def sampled_row(row: int, height: int, patch: int, upsampling: int) -> int:
    """The row of the image in which the centre of a row of the output lies."""
    return min(height - 1, math.floor((row + Fraction(1, 2)) * Fraction(patch, upsampling)))


def reduced(values: np.ndarray, patch: int, upsampling: int) -> np.ndarray:
    """What lies at the centre of each output pixel."""
    height, width = values.shape
    rows = [sampled_row(i, height, patch, upsampling) for i in range(math.ceil(Fraction(height * upsampling, patch)))]
    columns = [sampled_row(j, width, patch, upsampling) for j in range(math.ceil(Fraction(width * upsampling, patch)))]
    return np.array([[values[row, column] for column in columns] for row in rows])


def centre(labels: np.ndarray, instance: int, grid: tuple[int, int]) -> tuple[float, float]:
    """The centre of mass in [-1 + 1/G, 1 - 1/G]²: the edges of the image are the ends of that range."""
    pixels = [place for place, label in np.ndenumerate(labels) if label == instance]
    coordinates = []
    for axis in (0, 1):
        middle = sum(place[axis] + 0.5 for place in pixels) / len(pixels)
        end = 1 - 1 / grid[axis]
        coordinates.append(-end + 2 * end * middle / labels.shape[axis])
    return coordinates[0], coordinates[1]


def boundary_pixels(labels: np.ndarray) -> list[tuple[int, int]]:
    height, width = labels.shape
    found = []
    for i in range(height):
        for j in range(width):
            beside = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            if any(0 <= a < height and 0 <= b < width and labels[a, b] != labels[i, j] for a, b in beside):
                found.append((i, j))
    return found


def distances(labels: np.ndarray) -> np.ndarray:
    boundary = boundary_pixels(labels)
    found = np.full(labels.shape, math.inf)
    for place in np.ndindex(labels.shape):
        found[place] = min((math.dist(place, other) for other in boundary), default=math.inf)
    return found


def edge_weights(labels: np.ndarray, minimum: float, reach: float) -> np.ndarray:
    """Eq. 5."""
    found = np.zeros(labels.shape)
    for place, distance in np.ndenumerate(distances(labels)):
        found[place] = minimum + (1 - minimum) * math.exp(-(distance**2) / reach**2)
    return found


def targets(
    segment_map: np.ndarray,
    things: set[int],
    crowds: set[int],
    classes: Mapping[int, int],
    *,
    patch: int,
    upsampling: int,
    grid: tuple[int, int],
    minimum: float,
    reach: float,
) -> dict[str, np.ndarray]:
    """All but the depth, edge distance sampling on; `classes` gives the position of the class of an id."""
    instances = instance_map(segment_map, things, crowds)
    small, small_segments = reduced(instances, patch, upsampling), reduced(segment_map, patch, upsampling)
    centres = np.zeros((2, *small.shape))
    semantic = np.full(small.shape, -1)
    for i, j in np.ndindex(small.shape):
        if small[i, j] > 0:
            centres[:, i, j] = centre(instances, small[i, j], grid)
        semantic[i, j] = classes.get(small_segments[i, j], -1)
    weights = edge_weights(small, minimum, reach)
    return {
        "centre": centres,
        "inside": small > 0,
        "instances": small,
        "semantic": semantic,
        "instance_weight": np.where(small >= 0, weights, 0),
        "semantic_weight": np.where(semantic >= 0, weights, 0),
    }
