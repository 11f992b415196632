"""The losses of `entity` written slowly from the paper: one image at a time, loops over entities and pixels, float64.

`features[row, column]` is f of a pixel, (H, W, d); `labels` (H, W): k >= 1 entity, 0 background, below 0 ignored.
`near` (K + 1, K + 1) says which rows count as neighbours; all do by default.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

Pixel = tuple[int, int]


def pixels_of(labels: np.ndarray, entity: int) -> list[Pixel]:
    height, width = labels.shape
    return [(y, x) for y in range(height) for x in range(width) if labels[y, x] == entity]


def entities_of(labels: np.ndarray) -> list[int]:
    return sorted({int(label) for label in labels.flatten() if label > 0})


def moment(features: np.ndarray, labels: np.ndarray, entity: int) -> np.ndarray:
    total = np.zeros((features.shape[-1], features.shape[-1]))
    for y, x in pixels_of(labels, entity):
        total += np.outer(features[y, x], features[y, x])
    return total


def target_line(features: np.ndarray, labels: np.ndarray, entity: int) -> np.ndarray:
    """Eq. 4."""
    return np.linalg.eigh(moment(features, labels, entity))[1][:, -1]


def target_lines(features: np.ndarray, labels: np.ndarray, void: bool = False) -> dict[int, np.ndarray]:
    """The line of each entity and, as 0, of the background, where there are pixels; a void one has e_1 always."""
    lines = {entity: target_line(features, labels, entity) for entity in entities_of(labels)}
    if void:
        lines[0] = np.eye(features.shape[-1])[0]
    elif pixels_of(labels, 0):
        lines[0] = target_line(features, labels, 0)
    return lines


def mean_similarity(features: np.ndarray, pixels: list[Pixel], line: np.ndarray) -> float:
    return sum(abs(float(features[pixel] @ line)) for pixel in pixels) / len(pixels)


def unit_length_loss(raw: np.ndarray, labels: np.ndarray) -> float:
    """Eq. 3, the mean over pixels that are not ignored."""
    height, width = labels.shape
    pixels = [(y, x) for y in range(height) for x in range(width) if labels[y, x] >= 0]
    return sum(abs(1 - math.sqrt(float(raw[p] @ raw[p]))) for p in pixels) / max(1, len(pixels))


def attraction_loss(features: np.ndarray, labels: np.ndarray, void: bool = False) -> float:
    """Eq. 5."""
    lines = target_lines(features, labels, void)
    attracted = entities_of(labels) + ([0] if void and pixels_of(labels, 0) else [])
    losses = [1 - mean_similarity(features, pixels_of(labels, k), lines[k]) for k in attracted]
    return sum(losses) / max(1, len(losses))


def repulsion_loss(
    features: np.ndarray, labels: np.ndarray, void: bool = False, near: np.ndarray | None = None
) -> float:
    """Eq. 6, the background's part written out."""
    lines = target_lines(features, labels, void)
    entities, background = entities_of(labels), pixels_of(labels, 0)
    total = 0.0
    for k in entities:
        mine = pixels_of(labels, k)
        for other in entities:
            if other != k and (near is None or near[k, other]):
                total += mean_similarity(features, mine, lines[other])
        if 0 in lines:
            total += mean_similarity(features, mine, lines[0])
        if background:
            total += mean_similarity(features, background, lines[k])
    return total / math.sqrt(len(entities) + 1)


def sine_to_span(line: np.ndarray, others: list[np.ndarray]) -> float:
    """Of the angle between a unit vector and the span of others."""
    if not others:
        return 1.0
    basis = np.stack(others, axis=1)
    return float(np.linalg.norm(line - basis @ np.linalg.lstsq(basis, line, rcond=None)[0]))


def segment_space(
    lines: dict[int, np.ndarray], void: bool = False, near: np.ndarray | None = None, smallest_sine: float = 0.1
) -> dict[int, np.ndarray] | None:
    """Eq. 7: P_k of each entity, None where they are left out."""
    rows = [k for k in lines if k > 0 or void]
    projection = {}
    for k in rows:
        group = [k] if k == 0 and near is not None else [o for o in rows if near is None or near[k, o]]
        others = [lines[o] for o in group if o != k]
        if len(group) > len(lines[k]) or sine_to_span(lines[k], others) < smallest_sine:
            return None
        inverse = np.linalg.pinv(np.stack([lines[o] for o in group], axis=1))
        projection[k] = inverse[group.index(k)]
    return projection


def segment_losses(
    features: np.ndarray, labels: np.ndarray, void: bool = False, near: np.ndarray | None = None, scales: int = 4
) -> tuple[float, float] | None:
    """Eq. 8: L_s and L_g."""
    projection = segment_space(target_lines(features, labels, void), void, near)
    if projection is None:
        return None
    height, width = labels.shape
    segment, gradient = [], []
    for k, row in projection.items():
        soft = {(y, x): abs(float(row @ features[y, x])) for y in range(height) for x in range(width)}
        truth = {(y, x): float(labels[y, x] == k) for y in range(height) for x in range(width)}
        counted = {p for p in soft if labels[p] >= 0 and (near is None or near[k, labels[p]])}
        errors = [(soft[p] - truth[p]) ** 2 for p in counted]
        segment.append(sum(errors) / max(1, len(errors)))
        gradient += [gradient_error(soft, truth, counted, 2**scale) for scale in range(scales)]
    entities = max(1, len(projection))
    return sum(segment) / entities, sum(gradient) / entities


def gradient_error(soft: dict[Pixel, float], truth: dict[Pixel, float], counted: set[Pixel], step: int) -> float:
    """The MSE of the differences along x and y between every `step`-th pixel."""
    errors = []
    for (y, x), (down, right) in itertools.product(soft, ((step, 0), (0, step))):
        here, there = (y, x), (y + down, x + right)
        if y % step == 0 and x % step == 0 and here in counted and there in counted:
            errors.append(((soft[there] - soft[here]) - (truth[there] - truth[here])) ** 2)
    return sum(errors) / max(1, len(errors))


def mixed(value: int) -> int:
    """SplitMix64's output for a state, in arithmetic modulo 2^64."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def uniform(seed: int, entity: int, stream: int, draw: int) -> float:
    key = mixed(mixed(mixed(seed % 2**64) + entity) + stream)
    return (mixed(key + draw) >> 11) / 2**53


def contrast_loss(
    features: np.ndarray,
    labels: np.ndarray,
    seed: int,
    void: bool = False,
    near: np.ndarray | None = None,
    queries: int = 256,
    negatives: int = 512,
    temperature: float = 0.5,
) -> float:
    """ReCo's L_rc on one image, with |f . g| for its similarity."""
    lines = target_lines(features, labels, void)
    rows = ([0] if void and pixels_of(labels, 0) else []) + entities_of(labels)
    total = 0.0
    for k in rows:
        others = [o for o in rows if o != k and (near is None or near[k, o])]
        if not others:
            continue
        weights = [math.exp(abs(float(lines[k] @ lines[o])) / temperature) for o in others]
        keys = []
        for draw in range(negatives):
            place, passed, chosen = uniform(seed, k, 2, draw) * sum(weights), 0.0, others[-1]
            for other, weight in zip(others, weights, strict=True):
                passed += weight
                if place < passed:
                    chosen = other
                    break
            pixels = pixels_of(labels, chosen)
            keys.append(features[pixels[int(uniform(seed, k, 3, draw) * len(pixels))]])
        mine = pixels_of(labels, k)
        if len(mine) > queries:
            stretch = len(mine) / queries
            mine = [mine[int((draw + uniform(seed, k, 1, draw)) * stretch)] for draw in range(queries)]
        total += sum(cross_entropy(features[p], lines[k], keys, temperature) for p in mine) / len(mine)
    return total / max(1, len(rows))


def cross_entropy(query: np.ndarray, positive: np.ndarray, negatives: list[np.ndarray], temperature: float) -> float:
    right = math.exp(abs(float(query @ positive)) / temperature)
    wrong = sum(math.exp(abs(float(query @ key)) / temperature) for key in negatives)
    return -math.log(right / (right + wrong))


def gap_between(labels: np.ndarray, first: int, second: int) -> int:
    """Pixels between the bounding boxes of two entities, the larger of those along rows and columns."""
    gaps = []
    for axis in (0, 1):
        mine = [p[axis] for p in pixels_of(labels, first)]
        theirs = [p[axis] for p in pixels_of(labels, second)]
        gaps.append(max(0, min(mine) - max(theirs) - 1, min(theirs) - max(mine) - 1))
    return max(gaps)
