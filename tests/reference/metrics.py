"""The metrics as loops over masks, points and pairs: slow, and short enough to be checked by eye."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from scipy import ndimage


def ids_of(labels: np.ndarray) -> list[int]:
    return [int(value) for value in np.unique(labels) if value != 0]


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def contingency(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    rows, columns = [0, *ids_of(a)], [0, *ids_of(b)]
    return np.array([[int(((a == i) & (b == j)).sum()) for j in columns] for i in rows])


def best_matches(truth: np.ndarray, prediction: np.ndarray) -> list[tuple[float, int]]:
    """For each ground-truth segment the best IoU and the predicted id that has it (0 for none)."""
    found = []
    for i in ids_of(truth):
        best, partner = 0.0, 0
        for j in ids_of(prediction):
            iou = mask_iou(truth == i, prediction == j)
            if iou > best:
                best, partner = iou, j
        found.append((best, partner))
    return found


def rim(mask: np.ndarray, width: int) -> np.ndarray:
    """What a mask loses to `width` erosions by a 3 x 3 square, with nothing outside the image."""
    padded = np.pad(mask, 1)
    for _ in range(width):
        padded = ndimage.binary_erosion(padded, np.ones((3, 3), bool), border_value=1)
    return mask & ~padded[1:-1, 1:-1]


def boundary_iou(a: np.ndarray, b: np.ndarray, width: int) -> float:
    return mask_iou(rim(a, width), rim(b, width))


def rand_index(a: np.ndarray, b: np.ndarray) -> float:
    pairs = list(itertools.combinations(range(a.size), 2))
    x, y = a.ravel(), b.ravel()
    return sum((x[i] == x[j]) == (y[i] == y[j]) for i, j in pairs) / len(pairs)


def panoptic_counts(
    truth: np.ndarray,
    truth_classes: Mapping[int, int],
    prediction: np.ndarray,
    prediction_classes: Mapping[int, int],
    class_count: int,
    crowd_ids: Collection[int] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives, false negatives and sums of IoU by class."""
    tp, fp, fn = (np.zeros(class_count, int) for _ in range(3))
    iou_sums = np.zeros(class_count)
    matched_truths, matched_predictions = set(), set()
    for i, j in itertools.product(truth_classes, prediction_classes):
        if i in crowd_ids or truth_classes[i] != prediction_classes[j]:
            continue
        mask = (prediction == j) & (truth != 0)
        iou = mask_iou(truth == i, mask)
        if iou > 0.5:
            tp[truth_classes[i]] += 1
            iou_sums[truth_classes[i]] += iou
            matched_truths.add(i)
            matched_predictions.add(j)
    for i, c in truth_classes.items():
        fn[c] += i not in matched_truths and i not in crowd_ids
    for j, c in prediction_classes.items():
        mask = prediction == j
        ignored = truth == 0
        for i in crowd_ids:
            if truth_classes[i] == c:
                ignored = ignored | (truth == i)
        fp[c] += j not in matched_predictions and not (mask & ignored).sum() / mask.sum() > 0.5
    return tp, fp, fn, iou_sums


def voc_average_precision(images: Sequence[tuple[np.ndarray, np.ndarray]], threshold: float) -> float:
    """Area under the precision-recall curve of one class; each image is (scores, IoU with objects x detections)."""
    detections = [
        (score, image, index) for image, (scores, _) in enumerate(images) for index, score in enumerate(scores)
    ]
    truths = sum(len(ious) for _, ious in images)
    claimed: set[tuple[int, int]] = set()
    right = 0
    precisions, recalls = [], []
    for rank, (_, image, index) in enumerate(sorted(detections, key=lambda d: -d[0]), start=1):
        column = images[image][1][:, index]
        if len(column) and column.max() >= threshold and (image, int(column.argmax())) not in claimed:
            claimed.add((image, int(column.argmax())))
            right += 1
        precisions.append(right / rank)
        recalls.append(right / truths)
    area, before = 0.0, 0.0
    for k, recall in enumerate(recalls):
        area += (recall - before) * max(precisions[k:])
        before = recall
    return area


def largest_matching(candidates: np.ndarray) -> int:
    """Size of the largest one-to-one matching in a boolean table, by trying every order of the rows."""
    best = 0
    for order in itertools.permutations(range(len(candidates))):
        used: set[int] = set()
        for row in order:
            free = [c for c in np.flatnonzero(candidates[row]) if c not in used]
            used.update(free[:1])
        best = max(best, len(used))
    return best


def best_assignment(confusion: np.ndarray) -> int:
    """Most pixels that any one-to-one assignment of the rows to the columns gets right, by trying every one."""
    rows, columns = confusion.shape
    if rows > columns:
        return best_assignment(confusion.T)
    return max(
        sum(int(confusion[i, c]) for i, c in enumerate(chosen))
        for chosen in itertools.permutations(range(columns), rows)
    )


def dominant_line(vectors: np.ndarray, steps: int = 3000) -> np.ndarray:
    """The line nearest to the rows, by power iteration."""
    matrix = vectors.T @ vectors
    line = matrix[:, np.argmax(np.diag(matrix))]
    for _ in range(steps):
        line = matrix @ line
        line = line / np.linalg.norm(line)
    return line
