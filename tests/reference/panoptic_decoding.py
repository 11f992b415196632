"""Decoding and grouping of `panoptic` pixel by pixel: every cell of the grid, every pixel of the image, one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.reference.panoptic_equations import Vector, vector_at

Cell = tuple[int, int]


@dataclass
class Margin:
    """By how little the closest decision so far was made."""

    least: float = math.inf

    def choose(self, costs: dict[Any, float]) -> Any:
        """The first of those with the smallest cost."""
        ranked = sorted(costs.values())
        if len(ranked) > 1:
            self.least = min(self.least, ranked[1] - ranked[0])
        return min(costs, key=lambda option: costs[option])


@dataclass
class Rules:
    """As the settings of the same names."""

    suppression_radius: float = 0.0
    minimum_votes: float = 0.0
    minimum_thing_area: float = 0.0
    minimum_stuff_area: float = 0.0
    minimum_score: float = 0.0


@dataclass
class Found:
    """Labels (H, W); scores and classes by label; how close the closest decision was."""

    labels: np.ndarray
    scores: dict[int, float]
    classes: dict[int, int]
    margin: float


def all_cells(grid: tuple[int, int]) -> list[Cell]:
    return list(np.ndindex(*grid))


def nearest_cell(loop: Any, vector: Vector, cells: Sequence[Cell], margin: Margin) -> Cell | None:
    """Of some cells, or None for void."""
    return margin.choose({cell: loop.cost(vector, cell) for cell in [*cells, None]})


def surviving_centres(votes: dict[Cell, int], radius: float, minimum: float) -> list[Cell]:
    centres: list[Cell] = []
    for cell in sorted(votes, key=lambda cell: (-votes[cell], cell)):
        if votes[cell] >= minimum and all(math.dist(cell, centre) > radius for centre in centres):
            centres.append(cell)
    return centres


def interpolated(values: np.ndarray, size: tuple[int, int], extent: tuple[float, float], pixel: Cell) -> Vector:
    """The channels of a (C, h, w) map at a pixel of the image, bilinear."""
    places = [
        min(max((p + 0.5) * e / s - 0.5, 0.0), length - 1)
        for p, e, s, length in zip(pixel, extent, size, values.shape[1:], strict=True)
    ]
    total = np.zeros(len(values))
    for row, column in np.ndindex(values.shape[1:]):
        weight = max(0.0, 1 - abs(places[0] - row)) * max(0.0, 1 - abs(places[1] - column))
        total += weight * values[:, row, column]
    return [float(value) for value in total]


def nearest_pixel(
    map_size: tuple[int, int], size: tuple[int, int], extent: tuple[float, float], pixel: Cell, margin: Margin
) -> Cell:
    """The pixel of the map nearest to a pixel of the image."""
    found = []
    for p, e, s, length in zip(pixel, extent, size, map_size, strict=True):
        found.append(margin.choose({line: abs((p + 0.5) * e / s - 0.5 - line) for line in range(length)}))
    return found[0], found[1]


def probability(logits: Vector) -> float:
    """Of the largest."""
    return 1 / sum(math.exp(logit - max(logits)) for logit in logits)


@dataclass
class Pixels:
    """What is decided about each pixel of the image: its centre, its class, and how sure both are."""

    owners: dict[Cell, Cell | None]
    names: dict[Cell, int]
    sure_of_owner: dict[Cell, float]
    sure_of_name: dict[Cell, float]


def centres_of(loop: Any, instance: np.ndarray, rules: Rules, margin: Margin) -> list[Cell]:
    """The cells that become centres."""
    votes: dict[Cell, int] = {}
    for pixel in np.ndindex(instance.shape[1:]):
        cell = nearest_cell(loop, vector_at(instance, pixel), all_cells(loop.grid), margin)
        if cell is not None:
            votes[cell] = votes.get(cell, 0) + 1
    return surviving_centres(votes, rules.suppression_radius, rules.minimum_votes * instance[0].size)


def decide(
    loop: Any,
    maps: tuple[np.ndarray, np.ndarray],
    centres: list[Cell],
    size: tuple[int, int],
    extent: tuple[float, float],
    margin: Margin,
) -> Pixels:
    found = Pixels({}, {}, {}, {})
    instance, semantic = maps
    for pixel in np.ndindex(*size):
        found.owners[pixel] = nearest_cell(loop, interpolated(instance, size, extent, pixel), centres, margin)
        logits = interpolated(semantic, size, extent, pixel)
        found.names[pixel] = margin.choose({number: -logit for number, logit in enumerate(logits)})
        source = nearest_pixel(instance.shape[1:], size, extent, pixel, margin)
        vector = vector_at(instance, source)
        found.sure_of_owner[pixel] = math.exp(-loop.cost(vector, nearest_cell(loop, vector, centres, margin)))
        found.sure_of_name[pixel] = probability(vector_at(semantic, source))
    return found


def group(
    loop: Any,
    maps: tuple[np.ndarray, np.ndarray],
    is_thing: Sequence[bool],
    size: tuple[int, int],
    extent: tuple[float, float],
    rules: Rules,
) -> Found:
    """All of it, from the instance and the semantic map."""
    margin = Margin()
    centres = centres_of(loop, maps[0], rules, margin)
    pixels = decide(loop, maps, centres, size, extent, margin)
    found = Found(np.zeros(size, np.int32), {}, {}, margin.least)

    def add(mine: list[Cell], score: float, name: int) -> None:
        label = len(found.scores) + 1
        for pixel in mine:
            found.labels[pixel] = label
        found.scores[label], found.classes[label] = score, name

    for centre in centres:
        mine = [pixel for pixel in pixels.owners if pixels.owners[pixel] == centre]
        names = [pixels.names[pixel] for pixel in mine if is_thing[pixels.names[pixel]]]
        score = mean(pixels.sure_of_owner, mine)
        if names and len(mine) >= rules.minimum_thing_area * math.prod(size) and score >= rules.minimum_score:
            add(mine, score, max(sorted(set(names)), key=names.count))
    for name in (name for name in range(len(is_thing)) if not is_thing[name]):
        mine = [pixel for pixel in pixels.names if found.labels[pixel] == 0 and pixels.names[pixel] == name]
        if mine and len(mine) >= rules.minimum_stuff_area * math.prod(size):
            add(mine, mean(pixels.sure_of_name, mine), name)
    return found


def mean(values: dict[Cell, float], pixels: list[Cell]) -> float:
    return sum(values[pixel] for pixel in pixels) / max(len(pixels), 1)
