"""The equations of `baiseg` (Wang and Bai) written slowly from the paper: loops over images, pixels and pairs."""

from __future__ import annotations

import itertools
import math

import numpy as np

Pixel = tuple[int, int]


def pixels_of(size: tuple[int, ...]) -> list[Pixel]:
    """Every (i, j) of a map whose last two sides are (H, W)."""
    return list(itertools.product(range(size[-2]), range(size[-1])))


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def boundary_share(labels: list[bool]) -> float:
    """alpha: the share of those that are no boundary."""
    return labels.count(False) / len(labels)


def boundary_loss(logits: np.ndarray, boundary: np.ndarray, valid: np.ndarray) -> float:
    """Eq. 1 of one image, (H, W) each; the mean of the valid pixels in place of the sum."""
    counted = [p for p in pixels_of(logits.shape) if valid[p]]
    if not counted:
        return 0.0
    alpha = boundary_share([bool(boundary[p]) for p in counted])
    total = 0.0
    for p in counted:
        predicted = sigmoid(logits[p])
        truth = float(boundary[p])
        total -= truth * alpha * math.log(predicted) + (1 - truth) * (1 - alpha) * math.log(1 - predicted)
    return total / len(counted)


def cross_entropy(logits: np.ndarray, classes: np.ndarray) -> float:
    """Of one image, (C, H, W) and (H, W): the mean of the pixels with a class."""
    counted = [p for p in pixels_of(classes.shape) if classes[p] >= 0]
    total = 0.0
    for i, j in counted:
        values = [math.exp(value) for value in logits[:, i, j]]
        total -= math.log(values[classes[i, j]] / sum(values))
    return total / len(counted) if counted else 0.0


def channel_attention(average: np.ndarray, maximum: np.ndarray) -> np.ndarray:
    """Eq. 2 of one image, (C,) each."""
    return np.array([sigmoid(a + m) for a, m in zip(average, maximum, strict=True)])


def identity_transform(features: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Eq. 4 of one image: (C, H, W), (O, C), (O,)."""
    result = np.zeros((len(weight), *features.shape[1:]))
    for o, (i, j) in itertools.product(range(len(weight)), pixels_of(features.shape)):
        result[o, i, j] = bias[o] + sum(weight[o, c] * features[c, i, j] for c in range(len(features)))
    return result


def mutual_attention(
    features: np.ndarray, channel: np.ndarray, spatial: np.ndarray, identity: np.ndarray, beta: float
) -> np.ndarray:
    """Eq. 5 of one image: (C, H, W), (C,), (H, W), (C, H, W)."""
    result = np.zeros(features.shape)
    for c, (i, j) in itertools.product(range(len(features)), pixels_of(features.shape)):
        f = features[c, i, j]
        result[c, i, j] = identity[c, i, j] + (f * channel[c] + f * spatial[i, j]) * beta
    return result


def contrast_of_anchor(
    anchor: np.ndarray, positives: list[np.ndarray], negatives: list[np.ndarray], alpha: float, temperature: float
) -> float:
    """Eq. 6, as it is written."""

    def similarity(other: np.ndarray) -> float:
        return math.exp(sum(a * b for a, b in zip(anchor, other, strict=True)) / temperature)

    total = 0.0
    for positive in positives:
        against = (1 - alpha) * sum(similarity(negative) for negative in negatives)
        total += -alpha * math.log(similarity(positive) / (similarity(positive) + against))
    return total / len(positives)


def contrast_loss(
    anchors: np.ndarray,
    anchor_kinds: np.ndarray,
    keys: np.ndarray,
    key_kinds: np.ndarray,
    same: np.ndarray,
    alpha: float,
    temperature: float,
    *,
    both_kinds: bool = False,
) -> float:
    """The mean of Eq. 6 over the boundary pixels, or all anchors, that have positives and negatives."""
    losses = []
    for i, anchor in enumerate(anchors):
        if not (both_kinds or anchor_kinds[i]):
            continue
        positives = [k for j, k in enumerate(keys) if key_kinds[j] == anchor_kinds[i] and not same[i, j]]
        negatives = [k for j, k in enumerate(keys) if key_kinds[j] != anchor_kinds[i]]
        if positives and negatives:
            losses.append(contrast_of_anchor(anchor, positives, negatives, alpha, temperature))
    return sum(losses) / len(losses) if losses else 0.0


def cell_labels(
    boundary: np.ndarray, valid: np.ndarray, side: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each cell of one image has a boundary pixel, and whether that is known: (h, w) of `size` each."""
    found, known = np.zeros(size, bool), np.zeros(size, bool)
    for i, j in pixels_of(size):
        cell = [
            (y, x)
            for y, x in itertools.product(range(i * side, (i + 1) * side), range(j * side, (j + 1) * side))
            if y < boundary.shape[0] and x < boundary.shape[1]
        ]
        found[i, j] = any(boundary[p] and valid[p] for p in cell)
        known[i, j] = found[i, j] or (bool(cell) and all(valid[p] for p in cell))
    return found, known


def contours(classes: np.ndarray) -> np.ndarray:
    """The pixels of an (H, W) map with another value above, below, left or right."""
    found = np.zeros(classes.shape, bool)
    for i, j in pixels_of(classes.shape):
        for y, x in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= y < classes.shape[0] and 0 <= x < classes.shape[1] and classes[y, x] != classes[i, j]:
                found[i, j] = True
    return found


def nearest_classes(classes: np.ndarray) -> dict[Pixel, set[int]]:
    """The classes of the pixels nearest to each one of an (H, W) map that are not below 0: several where they tie."""
    labelled = [p for p in pixels_of(classes.shape) if classes[p] >= 0]
    result = {}
    for p in pixels_of(classes.shape):
        squared = {q: (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 for q in labelled}
        result[p] = {int(classes[q]) for q in labelled if squared[q] == min(squared.values())}
    return result


def wide_void(classes: np.ndarray, reach: int) -> np.ndarray:
    """The void pixels in a disc, of a radius above `reach`, that is void throughout (but for the image's edge)."""
    everywhere = pixels_of(classes.shape)
    labelled = [p for p in everywhere if classes[p] >= 0]
    result = np.zeros(classes.shape, bool)
    for centre in everywhere:
        if all(math.dist(centre, q) > reach for q in labelled):
            for p in everywhere:
                result[p] |= math.dist(centre, p) <= reach
    return result
