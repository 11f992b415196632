"""DynaSeg's grouping written slowly: loops over pixels and pairs of pixels, every cost counted anew for every merge."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from upseg.methods.dynaseg.extensions.merging import MergeWeights

Pixel = tuple[int, int]
Edge = tuple[int, int]


def neighbouring_pixels(height: int, width: int) -> Iterator[tuple[Pixel, Pixel]]:
    """Each pixel with the one to its right and the one below it."""
    for row in range(height):
        for column in range(width):
            if column + 1 < width:
                yield (row, column), (row, column + 1)
            if row + 1 < height:
                yield (row, column), (row + 1, column)


def connected_parts(labels: np.ndarray) -> np.ndarray:
    """4-connected parts of equal labels, numbered from 1 by first pixel: a flood fill."""
    height, width = labels.shape
    parts = np.zeros(labels.shape, np.int32)
    for first in np.ndindex(labels.shape):
        if parts[first]:
            continue
        number = int(parts.max()) + 1
        parts[first] = number
        waiting = [first]
        while waiting:
            row, column = waiting.pop()
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= r < height and 0 <= c < width and not parts[r, c] and labels[r, c] == labels[first]:
                    parts[r, c] = number
                    waiting.append((r, c))
    return parts


def merge_shallow(basins: np.ndarray, gradient: np.ndarray, least_depth: float) -> np.ndarray:
    """Each basin looks for its lowest way out; where that is shallow, the two become one. Numbered by first pixel."""
    ids = {int(value) for value in basins.ravel()}
    floors = {i: min(float(gradient[p]) for p in zip(*np.nonzero(basins == i), strict=True)) for i in ids}
    ways: dict[int, list[tuple[float, int]]] = {i: [] for i in ids}
    for here, there in neighbouring_pixels(*basins.shape):
        a, b = int(basins[here]), int(basins[there])
        if a != b:
            height = max(float(gradient[here]), float(gradient[there]))
            ways[a].append((height, b))
            ways[b].append((height, a))
    names = {i: i for i in ids}
    for basin in ids:
        if ways[basin] and min(ways[basin])[0] - floors[basin] < least_depth:
            old, new = names[min(ways[basin])[1]], names[basin]
            names = {i: new if name == old else name for i, name in names.items()}
    merged = np.array([[names[int(value)] for value in row] for row in basins])
    return numbered_by_first_pixel(merged)


def numbered_by_first_pixel(labels: np.ndarray) -> np.ndarray:
    numbers: dict[int, int] = {}
    return np.array([[numbers.setdefault(int(v), len(numbers) + 1) for v in row] for row in labels], np.int32)


class Scene(NamedTuple):
    """What the region graph is built from, and the constants it is built with.

    Attributes:
        colours: (H, W, 3).
        response: (q, H, W).
        reaches: Of the colour contrasts.
        bins: Of each channel's histogram.
        ranges: Lowest and highest value of each channel's bins.
        features: (F, H, W) maps.
        feature_reaches: Of their contrasts; maps beyond these have none.
        boundary: (H, W) in [0, 1].
    """

    colours: np.ndarray
    response: np.ndarray
    reaches: Sequence[int]
    bins: int
    ranges: Sequence[tuple[float, float]]
    features: Sequence[np.ndarray]
    feature_reaches: Sequence[int]
    boundary: np.ndarray


class Region(NamedTuple):
    """The facts about one region: pixels, the sums of their colours and features, counts of colour bins and labels."""

    area: int
    colour: list[float]
    histogram: list[int]
    textures: list[int]
    features: list[list[float]]


def describe_region(regions: np.ndarray, region: int, scene: Scene) -> Region:
    clusters = len(scene.response)
    area, colour = 0, [0.0, 0.0, 0.0]
    histogram, textures = [0] * (3 * scene.bins), [0] * clusters
    for row, column in np.ndindex(regions.shape):
        if regions[row, column] != region:
            continue
        area += 1
        for channel in range(3):
            value = float(scene.colours[row, column, channel])
            colour[channel] += value
            low, high = scene.ranges[channel]
            place = math.floor((value - low) / (high - low) * scene.bins)
            histogram[channel * scene.bins + min(max(place, 0), scene.bins - 1)] += 1
        textures[max(range(clusters), key=lambda j: (scene.response[j, row, column], -j))] += 1
    features = [[float(channel[regions == region].sum()) for channel in maps] for maps in scene.features]
    return Region(area, colour, histogram, textures, features)


def box_mean(image: np.ndarray, row: int, column: int, reach: int) -> list[float]:
    """Mean colour of the square of side 2 reach + 1 around a pixel; beyond the image's edge its mirror image counts."""
    height, width, channels = image.shape
    sums = [0.0] * channels
    for r in range(row - reach, row + reach + 1):
        for c in range(column - reach, column + reach + 1):
            for channel in range(channels):
                sums[channel] += float(image[mirrored(r, height), mirrored(c, width), channel])
    return [value / (2 * reach + 1) ** 2 for value in sums]


def mirrored(index: int, length: int) -> int:
    """The pixel that a mirror at the image's edge shows in the place of `index`: c b a | a b c | c b a."""
    while not 0 <= index < length:
        index = -index - 1 if index < 0 else 2 * length - 1 - index
    return index


def pair_contrasts(scene: Scene) -> dict[tuple[Pixel, Pixel], list[float]]:
    """For each pair of neighbouring pixels: colours for each reach, response, feature maps that have one, boundary."""
    height, width, _ = scene.colours.shape
    spread = math.sqrt(sum(float(np.var(channel.astype(np.float64))) for channel in scene.response)) or 1.0
    contrasts = {}
    for here, there in neighbouring_pixels(height, width):
        across = here[0] == there[0]
        places = {reach: stepped_back(here, there, reach, across, (height, width)) for reach in range(20)}
        values = []
        for reach in scene.reaches:
            a, b = places[reach]
            values.append(math.dist(box_mean(scene.colours, *a, reach), box_mean(scene.colours, *b, reach)))
        responses = [[float(channel[pixel]) for channel in scene.response] for pixel in (here, there)]
        values.append(math.dist(*responses) / spread)
        for maps, reach in zip(scene.features, scene.feature_reaches, strict=False):
            values.append(math.dist(*([float(channel[pixel]) for channel in maps] for pixel in places[reach])))
        values.append(float(scene.boundary[here] + scene.boundary[there]) / 2)
        contrasts[here, there] = values
    return contrasts


def stepped_back(here: Pixel, there: Pixel, reach: int, across: bool, size: tuple[int, int]) -> tuple[Pixel, Pixel]:
    """Two neighbours, each moved `reach` pixels away from the other as far as the image goes."""
    if across:
        return (here[0], max(here[1] - reach, 0)), (there[0], min(there[1] + reach, size[1] - 1))
    return (max(here[0] - reach, 0), here[1]), (min(there[0] + reach, size[0] - 1), there[1])


def borders(regions: np.ndarray) -> dict[Edge, list[tuple[Pixel, Pixel]]]:
    """The pairs of pixels along each border, by the regions it lies between (the smaller first), in ascending order."""
    found: dict[Edge, list[tuple[Pixel, Pixel]]] = {}
    for here, there in neighbouring_pixels(*regions.shape):
        a, b = int(regions[here]), int(regions[there])
        if a != b:
            found.setdefault((min(a, b), max(a, b)), []).append((here, there))
    return dict(sorted(found.items()))


def hellinger(p: Sequence[float], q: Sequence[float]) -> float:
    """Of two histograms, each divided by its sum."""
    overlap = sum(math.sqrt(a / sum(p) * b / sum(q)) for a, b in zip(p, q, strict=True))
    return math.sqrt(max(1 - overlap, 0))


def merge_costs(
    regions: np.ndarray, scene: Scene, weights: MergeWeights, contrasts: dict[tuple[Pixel, Pixel], list[float]]
) -> dict[Edge, float]:
    """The cost of merging each pair of regions that share a border."""
    edges = borders(regions)
    facts = {int(region): describe_region(regions, int(region), scene) for region in np.unique(regions)}
    perimeters = {region: sum(len(pairs) for edge, pairs in edges.items() if region in edge) for region in facts}
    costs = {}
    for (a, b), pairs in edges.items():
        first, second = facts[a], facts[b]
        means = [[value / region.area for value in region.colour] for region in (first, second)]
        cost = weights.colour * math.dist(*means)
        cost += weights.histogram * hellinger(first.histogram, second.histogram)
        cost += weights.texture * hellinger(first.textures, second.textures)
        for weight, one, other in zip(weights.features, first.features, second.features, strict=True):
            cost += weight * math.dist([v / first.area for v in one], [v / second.area for v in other])
        for kind, weight in enumerate(weights.contrasts):
            cost += weight * sum(contrasts[pair][kind] for pair in pairs) / len(pairs)
        share = min(first.area, second.area) / regions.size
        common = len(pairs) / min(perimeters[a], perimeters[b])
        costs[a, b] = cost * share**weights.size * share / (share + weights.least_area) * common**-weights.shape
    return costs


def greedy_merges(regions: np.ndarray, scene: Scene, weights: MergeWeights) -> list[tuple[int, int, float]]:
    """(survivor, region that joins it, height) of each merge: always the cheapest of all, one after the other.

    A height is the cost of the merge, or that of the highest merge it builds on.
    """
    regions = regions.copy()
    contrasts = pair_contrasts(scene)
    reached = {int(region): 0.0 for region in np.unique(regions)}
    merges = []
    while costs := merge_costs(regions, scene, weights, contrasts):
        a, b = min(costs, key=lambda edge: (costs[edge], edge))
        reached[a] = max(costs[a, b], reached[a], reached[b])
        regions[regions == b] = a
        merges.append((a, b, reached[a]))
    return merges
