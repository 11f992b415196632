"""The stages of baiseg's mask extraction written slowly: pixel by pixel, from their definitions."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

import numpy as np

Place = tuple[int, int]
BESIDE = ((-1, 0), (0, -1), (0, 1), (1, 0))


def smoothed(values: np.ndarray, deviation: float) -> np.ndarray:
    """A Gaussian, cut off after four deviations; beyond the edge lies the nearest pixel."""
    radius = int(4 * deviation + 0.5)
    weights = [math.exp(-(k**2) / (2 * deviation**2)) for k in range(-radius, radius + 1)]
    height, width = values.shape
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            for i, down in enumerate(weights):
                for j, right in enumerate(weights):
                    at_row = min(max(row + i - radius, 0), height - 1)
                    at_column = min(max(column + j - radius, 0), width - 1)
                    result[row, column] += down * right * values[at_row, at_column]
    return result / sum(weights) ** 2


def between(values: np.ndarray, row: float, column: float) -> float:
    """Bilinear; beyond the edge lies the nearest pixel."""
    height, width = values.shape
    total = 0.0
    for at_row in (math.floor(row), math.floor(row) + 1):
        for at_column in (math.floor(column), math.floor(column) + 1):
            share = (1 - abs(row - at_row)) * (1 - abs(column - at_column))
            total += share * values[min(max(at_row, 0), height - 1), min(max(at_column, 0), width - 1)]
    return total


def thinned(boundary: np.ndarray, deviation: float, steep: float, tolerance: float) -> np.ndarray:
    """Crests of the smoothed map, by the eigenvectors of its second derivatives."""
    height, width = boundary.shape
    smooth = smoothed(boundary, deviation)
    result = np.zeros_like(boundary)
    for row, column in np.ndindex(height, width):
        near = np.array([[between(smooth, row + i, column + j) for j in (-1, 0, 1)] for i in (-1, 0, 1)])
        slope = math.hypot((near[2, 1] - near[0, 1]) / 2, (near[1, 2] - near[1, 0]) / 2)
        mixed = (near[2, 2] - near[2, 0] - near[0, 2] + near[0, 0]) / 4
        bend = np.array([[near[:, 1] @ [1, -2, 1], mixed], [mixed, near[1] @ [1, -2, 1]]])
        values, vectors = np.linalg.eigh(bend)  # rising
        if -values[0] + tolerance < steep * slope / deviation:
            continue
        down, right = vectors[:, 0]
        sides = [between(smooth, row + sign * down, column + sign * right) for sign in (-1, 1)]
        if smooth[row, column] + tolerance >= max(sides):
            result[row, column] = boundary[row, column]
    return result


def boundary_distance(boundary: np.ndarray) -> np.ndarray:
    places = np.argwhere(boundary)
    result = np.zeros(boundary.shape)
    for row, column in np.ndindex(*boundary.shape):
        result[row, column] = min(math.hypot(row - r, column - c) for r, c in places)
    return result


def links(distance: np.ndarray, regions: np.ndarray) -> Iterator[tuple[float, Place, Place]]:
    """Each two pixels with a step between them and the lower of their heights, the highest first."""
    found = []
    height, width = distance.shape

    def is_open(row: int, column: int, region: int) -> bool:
        inside = 0 <= row < height and 0 <= column < width
        return inside and distance[row, column] > 0 and regions[row, column] == region

    for row, column in np.ndindex(height, width):
        region = regions[row, column]
        for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
            if not (is_open(row, column, region) and is_open(row + down, column + right, region)):
                continue
            if down and right and not (is_open(row + down, column, region) or is_open(row, column + right, region)):
                continue
            lower = min(distance[row, column], distance[row + down, column + right])
            found.append((float(lower), (row, column), (row + down, column + right)))
    return iter(sorted(found, reverse=True))


def markers(distance: np.ndarray, ratio: float, regions: np.ndarray) -> list[set[Place]]:
    """The pixels of each marker, by joining pixels from the highest step to the lowest.

    Two sets are joined where the step between them is at least `ratio` times the lower of their peaks. A marker is
    what lies above the highest step from one final set to another.
    """
    owner = {(int(r), int(c)): {(int(r), int(c))} for r, c in np.argwhere(distance > 0)}
    steps = list(links(distance, regions))
    for lower, one, two in steps:
        first, second = owner[one], owner[two]
        if first is second:
            continue
        if lower >= ratio * min(max(distance[place] for place in group) for group in (first, second)):
            first |= second
            for place in second:
                owner[place] = first
    floors: dict[int, float] = {}
    for lower, one, two in steps:
        if owner[one] is not owner[two]:
            for place in (one, two):
                floors[id(owner[place])] = max(floors.get(id(owner[place]), 0.0), lower)
    groups = {id(group): group for group in owner.values()}
    return [{p for p in group if distance[p] > floors.get(key, 0.0)} for key, group in groups.items()]


def flooded(relief: np.ndarray, marked: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The lowest pixel beside a labelled one is taken next; it gets the label at which it was first found."""
    labels = np.where(regions > 0, marked, 0)
    height, width = labels.shape
    queue = [(float(relief[r, c]), 0, (int(r), int(c))) for r, c in np.argwhere(labels)]
    heapq.heapify(queue)
    turn = 0
    while queue:
        _, _, (row, column) = heapq.heappop(queue)
        for down, right in BESIDE:
            r, c = row + down, column + right
            if 0 <= r < height and 0 <= c < width and labels[r, c] == 0 and regions[r, c] == regions[row, column]:
                turn += 1
                labels[r, c] = labels[row, column]
                heapq.heappush(queue, (float(relief[r, c]), turn, (r, c)))
    return labels


def closed(labels: np.ndarray, diameter: int) -> np.ndarray:
    """By sets of places on an endless plane; then holes, by walking through the void."""
    radius = diameter // 2
    disc = [
        (down, right)
        for down in range(-radius, radius + 1)
        for right in range(-radius, radius + 1)
        if abs(right) <= round(math.sqrt(radius**2 - down**2))
    ]
    result = labels.copy()
    for number in sorted(set(labels.ravel().tolist()) - {0}):
        grown = {(int(r) + down, int(c) + right) for r, c in np.argwhere(labels == number) for down, right in disc}
        for row, column in np.argwhere(result == 0).tolist():
            if all((row + down, column + right) in grown for down, right in disc):
                result[row, column] = number
    before = result.copy()
    for row, column in np.argwhere(before == 0).tolist():
        around = reached_labels(before, (row, column))
        if len(around) == 1 and None not in around:
            result[row, column] = around.pop()
    return result


def reached_labels(labels: np.ndarray, start: Place) -> set[int | None]:
    """The labels beside the stretch of void with this pixel; None stands for the map's edge."""
    seen, waiting, found = {start}, [start], set[int | None]()
    while waiting:
        row, column = waiting.pop()
        for down, right in BESIDE:
            r, c = row + down, column + right
            if not (0 <= r < labels.shape[0] and 0 <= c < labels.shape[1]):
                found.add(None)
            elif labels[r, c]:
                found.add(int(labels[r, c]))
            elif (r, c) not in seen:
                seen.add((r, c))
                waiting.append((r, c))
    return found
