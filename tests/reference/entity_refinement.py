"""Multi-resolution refinement written slowly: one full mask for each segment and cluster, one pixel after the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Tree = tuple[np.ndarray, dict[int, float], dict[int, int]]


def masks_of(labels: np.ndarray) -> dict[int, np.ndarray]:
    """One boolean mask for each value but 0."""
    return {int(value): labels == value for value in np.unique(labels) if value != 0}


def judge(segments: Mapping[int, np.ndarray], mask: np.ndarray, minimum_area: int) -> tuple[str, int] | None:
    """What becomes of a cluster: it replaces a segment, divides one (0: the void), or is dropped."""
    for segment, other in segments.items():
        if (mask & other).sum() / (mask | other).sum() >= 0.8:
            return "replaces", segment
    covered = np.zeros(mask.shape, bool)
    for other in segments.values():
        covered |= other
    for segment, other in {**segments, 0: ~covered}.items():
        if (mask & other).sum() / mask.sum() >= 0.8 and mask.sum() >= minimum_area:
            return "divides", segment
    return None


def most_common(values: np.ndarray) -> int:
    """The most frequent value, the smallest among equals."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])


def refine_slowly(
    labels: np.ndarray,
    scores: Mapping[int, float],
    parents: Mapping[int, int],
    clusters: np.ndarray,
    cluster_scores: Mapping[int, float],
    minimum_area: int,
) -> Tree:
    """The refined label map, its scores and its parents."""
    segments, found = masks_of(labels), masks_of(clusters)
    verdicts = {cluster: judge(segments, mask, minimum_area) for cluster, mask in found.items()}
    names, homes = {}, {}
    scores, parents = dict(scores), dict(parents)
    following = int(labels.max()) + 1
    for cluster, verdict in verdicts.items():
        if verdict is None:
            continue
        kind, homes[cluster] = verdict
        names[cluster] = homes[cluster] if kind == "replaces" else following
        following += kind == "divides"
        scores[names[cluster]] = cluster_scores[cluster]
        if kind == "divides" and homes[cluster]:
            parents[names[cluster]] = homes[cluster]
    replaced = {homes[c] for c, verdict in verdicts.items() if verdict is not None and verdict[0] == "replaces"}
    refined = labels.copy()
    for place in np.ndindex(labels.shape):
        segment, cluster = int(labels[place]), int(clusters[place])
        if cluster in names:
            unseen = (
                segment not in (0, homes[cluster])
                and (segments[segment] & found[cluster]).sum() > segments[segment].sum() / 2
            )
            refined[place] = segment if unseen else names[cluster]
        elif segment in replaced:
            owner = most_common(labels[clusters == cluster])
            if cluster or owner == 0:
                refined[place] = owner
    return (refined, *remaining(refined, scores, parents))


def remaining(
    labels: np.ndarray, scores: Mapping[int, float], parents: Mapping[int, int]
) -> tuple[dict[int, float], dict[int, int]]:
    """Scores and parents of the segments that are in the map; a parent that is not is skipped."""
    present = set(masks_of(labels))
    lifted = {}
    for segment in present:
        above = parents.get(segment, 0)
        while above and above not in present:
            above = parents.get(above, 0)
        if above:
            lifted[segment] = above
    return {segment: score for segment, score in scores.items() if segment in present}, lifted
