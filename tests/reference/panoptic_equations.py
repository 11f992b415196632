"""The paper's equations (Prisadnikov et al.) for one image, as loops over its pixels. Slow, and read from the text."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

Pixel = tuple[int, int]
Vector = list[float]


def pixels_of(array: np.ndarray) -> Iterator[Pixel]:
    """Every (i, j) of an (H, W) map, or of a (C, H, W) one."""
    height, width = array.shape[-2:]
    return ((i, j) for i in range(height) for j in range(width))


def norm(values: Vector) -> float:
    return math.sqrt(sum(value * value for value in values))


def difference(first: Vector, second: Vector) -> Vector:
    return [a - b for a, b in zip(first, second, strict=True)]


def weighted_mean(losses: dict[Pixel, float], weights: np.ndarray) -> float:
    """Eq. 1."""
    total = sum(float(weights[p]) for p in losses)
    return sum(float(weights[p]) * loss for p, loss in losses.items()) / total if total else 0.0


def gamma(p: float, frequencies: int) -> Vector:
    """Eq. 3."""
    values = []
    for level in range(frequencies):
        values += [math.sin(2**level * math.pi * p), math.cos(2**level * math.pi * p)]
    return values


def cell_of(coordinate: float, cells: int) -> int:
    """The cell whose centre is nearest."""
    return min(range(cells), key=lambda cell: abs(coordinate - cell_coordinate(cell, cells)))


def cell_coordinate(cell: int, cells: int) -> float:
    """-1 + 1/G for the first cell, 1 - 1/G for the last."""
    return -1 + (2 * cell + 1) / cells


def log_softmax(logits: Vector) -> Vector:
    total = sum(math.exp(value) for value in logits)
    return [math.log(math.exp(value) / total) for value in logits]


class Positional:
    """Eq. 2 to 4, 10 and 14 with sines and cosines."""

    def __init__(self, frequencies: int, grid: tuple[int, int]) -> None:
        self.frequencies, self.grid = frequencies, grid

    def parts(self, predicted: Vector) -> tuple[Vector, Vector]:
        return predicted[: 2 * self.frequencies], predicted[2 * self.frequencies :]

    def code(self, centre: Vector | None) -> Vector:
        """Eq. 2."""
        if centre is None:
            return [0.0] * (4 * self.frequencies)
        return gamma(centre[0], self.frequencies) + gamma(centre[1], self.frequencies)

    def loss(self, predicted: Vector, centre: Vector | None) -> float:
        """Eq. 4."""
        u, v = self.parts(difference(self.code(centre), predicted))
        return (norm(u) + norm(v)) / 2

    def variation(self, here: Vector, there: Vector) -> float:
        """What Eq. 10 adds up."""
        return norm(difference(here, there))

    def squared_distance(self, predicted: Vector, centre: Vector) -> float:
        """dx² + dy² of Eq. 14."""
        u, v = self.parts(difference(predicted, self.code(centre)))
        return norm(u) ** 2 + norm(v) ** 2

    def cost(self, predicted: Vector, cell: Pixel | None) -> float:
        """The squared distance from a cell of the grid, or from void."""
        centre = None if cell is None else [cell_coordinate(c, g) for c, g in zip(cell, self.grid, strict=True)]
        return norm(difference(predicted, self.code(centre))) ** 2


class Rgb:
    """App. C: red is u, green v, blue 1 in instances."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self.grid = grid

    def code(self, centre: Vector | None) -> Vector:
        return [0.0] * 3 if centre is None else [(centre[0] + 1) / 2, (centre[1] + 1) / 2, 1.0]

    def loss(self, predicted: Vector, centre: Vector | None) -> float:
        return norm(difference(predicted, self.code(centre)))

    def variation(self, here: Vector, there: Vector) -> float:
        return norm(difference(here, there))

    def squared_distance(self, predicted: Vector, centre: Vector) -> float:
        """In cells of the grid."""
        red, green, _ = difference(predicted, self.code(centre))
        return (red * self.grid[0]) ** 2 + (green * self.grid[1]) ** 2

    def cost(self, predicted: Vector, cell: Pixel | None) -> float:
        centre = None if cell is None else [cell_coordinate(c, g) for c, g in zip(cell, self.grid, strict=True)]
        return norm(difference(predicted, self.code(centre))) ** 2


class Bins:
    """App. C: the classes of u and of v, the last of each for void."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self.grid = grid

    def axes(self, predicted: Vector) -> tuple[Vector, Vector]:
        """Log probabilities."""
        rows = self.grid[0] + 1
        return log_softmax(predicted[:rows]), log_softmax(predicted[rows:])

    def code(self, centre: Vector | None) -> list[int]:
        return list(self.grid) if centre is None else [cell_of(c, g) for c, g in zip(centre, self.grid, strict=True)]

    def loss(self, predicted: Vector, centre: Vector | None) -> float:
        return self._surprise(predicted, self.code(centre)) / 2

    def squared_distance(self, predicted: Vector, centre: Vector) -> float:
        return self._surprise(predicted, self.code(centre))

    def cost(self, predicted: Vector, cell: Pixel | None) -> float:
        return self._surprise(predicted, list(self.grid if cell is None else cell))

    def _surprise(self, predicted: Vector, classes: list[int]) -> float:
        return -sum(axis[number] for axis, number in zip(self.axes(predicted), classes, strict=True))


def edge_weight(distance: float, minimum: float, reach: float) -> float:
    """Eq. 5."""
    return minimum + (1 - minimum) * math.exp(-(distance**2) / reach**2)


def centre_of(centres: np.ndarray, inside: np.ndarray, pixel: Pixel) -> Vector | None:
    return [float(centres[0][pixel]), float(centres[1][pixel])] if inside[pixel] else None


def vector_at(values: np.ndarray, pixel: Pixel) -> Vector:
    return [float(value) for value in values[:, pixel[0], pixel[1]]]


def instance_loss(
    encoding: Any, predicted: np.ndarray, centres: np.ndarray, inside: np.ndarray, weights: np.ndarray
) -> float:
    """Eq. 1 with Eq. 4, or with what an alternative has in its place."""
    losses = {p: encoding.loss(vector_at(predicted, p), centre_of(centres, inside, p)) for p in pixels_of(inside)}
    return weighted_mean(losses, weights)


def semantic_loss(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Eq. 1 with the cross-entropy."""
    known = [p for p in pixels_of(labels) if labels[p] >= 0]
    return weighted_mean({p: -log_softmax(vector_at(logits, p))[labels[p]] for p in known}, weights)


def total_variation(encoding: Any, predicted: np.ndarray) -> float:
    """Eq. 10."""
    if isinstance(encoding, Bins):
        rows = encoding.grid[0] + 1
        return smoothness(predicted[:rows]) + smoothness(predicted[rows:])
    inner = [(i, j) for i, j in pixels_of(predicted) if i > 0 and j > 0]
    total = 0.0
    for i, j in inner:
        for there in ((i - 1, j), (i, j - 1)):
            total += encoding.variation(vector_at(predicted, (i, j)), vector_at(predicted, there))
    return total / max(1, len(inner))


def smoothness(logits: np.ndarray) -> float:
    """Eq. 11."""
    height, width = logits.shape[1:]
    inner = [(i, j) for i, j in pixels_of(logits) if i < height - 1 and j < width - 1]
    total = 0.0
    for i, j in inner:
        here = [math.exp(value) for value in log_softmax(vector_at(logits, (i, j)))]
        for there in ((i + 1, j), (i, j + 1)):
            other = log_softmax(vector_at(logits, there))
            total -= sum(a * log_b for a, log_b in zip(here, other, strict=True)) / 2
    return total / max(1, len(inner))


def dice_loss(encoding: Any, predicted: np.ndarray, centres: np.ndarray, labels: np.ndarray) -> float:
    """Eq. 12 to 14."""
    counted = [p for p in pixels_of(labels) if labels[p] >= 0]
    overlap, both = 0.0, 0.0
    for instance in sorted({int(labels[p]) for p in counted} - {0}):
        mine = {p for p in counted if labels[p] == instance}
        centre = centre_of(centres, labels > 0, min(mine))
        assert centre is not None
        weight = 1 / len(mine)
        for p in counted:
            r = 1.0 if p in mine else 0.0  # Eq. 13
            member = math.exp(-encoding.squared_distance(vector_at(predicted, p), centre))  # Eq. 14
            overlap += weight * r * member
            both += weight * (r + member)
    return 1 - 2 * overlap / both if both else 0.0


def aligned(disparity: Vector) -> Vector:
    """Eq. 7 and 8."""
    median = sorted(disparity)[(len(disparity) - 1) // 2]
    scale = sum(abs(value - median) for value in disparity) / len(disparity)
    return [(value - median) / max(scale, 1e-4) for value in disparity]


def relative_depth_loss(predicted: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
    """Eq. 6."""
    known = [p for p in pixels_of(valid) if valid[p]]
    if not known:
        return 0.0
    guess, true = (aligned([float(values[p]) for p in known]) for values in (predicted, truth))
    return sum(abs(a - b) for a, b in zip(true, guess, strict=True)) / len(known)


def metric_depth_loss(output: np.ndarray, truth: np.ndarray, maximum: float, invariance: float = 0.5) -> float:
    """Eq. 9 of sigmoid(output) x the maximum, where the truth is between 1 mm and the maximum."""
    known = [p for p in pixels_of(truth) if 0.001 <= truth[p] <= maximum]
    if not known:
        return 0.0
    metres = {p: maximum / (1 + math.exp(-float(output[p]))) for p in known}
    errors = [math.log(metres[p]) - math.log(float(truth[p])) for p in known]
    squares = sum(error * error for error in errors) / len(known)
    return squares - invariance * (sum(errors) / len(known)) ** 2
