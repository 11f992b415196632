"""Clusters found window by window, and which of them are one segment: for maps with more objects than dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from upseg.functional.label_maps import connected_components
from upseg.methods.entity.extensions.parts import adjacent_pairs
from upseg.methods.entity.mean_shift import LEAST_SUPPORT, LineClusters, bandwidth_cosine, cluster_lines

AGREEMENT = 0.5
"""Two windows' clusters match above this IoU on pixels that both are sure of: none can match two of the other's."""


class Span(NamedTuple):
    """What a window sees of one axis, and the stretch within it for which its answer counts."""

    start: int
    stop: int
    core_start: int
    core_stop: int


class Link(NamedTuple):
    """Two units that are one segment, unless a link with more shared pixels says otherwise."""

    first: int
    second: int
    shared: int


@dataclass(frozen=True)
class WindowClusters:
    """The clusters of all windows, numbered from 1 through all of them.

    Attributes:
        codes: (H, W) the cluster of each pixel, as the window in whose core it lies sees it; 0 void.
        similarity: (H, W) |f . mode| with it.
        window_of: (C + 1,) the window of each cluster.
        matches: Clusters of neighbouring windows that agree on what both see.
    """

    codes: Int32[np.ndarray, "h w"]
    similarity: Float32[np.ndarray, "h w"]
    window_of: Int64[np.ndarray, " c1"]
    matches: tuple[Link, ...]

    def segments(self, *, connected: bool) -> Int32[np.ndarray, "h w"]:
        """Matching clusters made one.

        From the match with most shared pixels down, two become one unless that would make two clusters of one window
        one segment: a chain of matches never joins what some window sees apart.

        Args:
            connected: Whether only what touches is joined: 4-connected parts are segments of their own.

        Returns:
            (H, W) ids, 0 void.
        """
        units, cluster_of, links = self.codes, np.arange(len(self.window_of)), self.matches
        if connected:
            units = connected_components(self.codes)
            cluster_of = np.zeros(int(units.max(initial=0)) + 1, np.int64)
            cluster_of[units.ravel()] = self.codes.ravel()
            links = self._seams(units, cluster_of)
        return np.asarray(_join(cluster_of, self.window_of, links)[units])

    def _seams(self, parts: Int32[np.ndarray, "h w"], cluster_of: Int64[np.ndarray, " p1"]) -> tuple[Link, ...]:
        """Links between parts that touch across a seam and whose clusters match."""
        if not self.matches:
            return ()
        shared = {(link.first, link.second): link.shared for link in self.matches}
        first, second = adjacent_pairs(parts)
        across = (self.window_of[cluster_of[first]] < self.window_of[cluster_of[second]]) & (first > 0) & (second > 0)
        pairs = np.unique(np.stack((first[across], second[across]), 1), axis=0)
        links = ((p, q, shared.get((int(cluster_of[p]), int(cluster_of[q])), 0)) for p, q in pairs.tolist())
        return tuple(Link(p, q, count) for p, q, count in links if count)


def cluster_windows(
    features: Float[Tensor, "d h w"],
    foreground: Bool[np.ndarray, "h w"],
    *,
    bandwidth: float,
    window: int | None,
    seed: int,
) -> WindowClusters:
    """Mean shift in each of the windows that cover a map and overlap by a quarter of their side.

    Args:
        features: (d, H, W) unit vectors.
        foreground: (H, W) the pixels that take part.
        bandwidth: In degrees.
        window: Side in pixels; None for one window, the map.
        seed: Of the samples.

    Raises:
        ValueError: If `window` is out of range.
    """
    if window is not None and window < 2:
        raise ValueError(f"window must be at least 2 pixels, or None for the whole map, got {window}")
    overlap = 0 if window is None else max(1, window // 4)
    height, width = foreground.shape
    codes = np.zeros((height, width), np.int32)
    similarity = np.zeros((height, width), np.float32)
    rows = list(_spans(height, window or height, overlap))
    columns = list(_spans(width, window or width, overlap))
    window_of, matches = [0], []
    cosine = np.float32(bandwidth_cosine(bandwidth))
    seen: dict[tuple[int, int], Int32[np.ndarray, "h2 w2"]] = {}
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            box = slice(r.start, r.stop), slice(c.start, c.stop)
            # noise has the more clusters of a pixel or two the more windows there are
            least = 1 if window is None else LEAST_SUPPORT
            clusters = _cluster_one(features[:, *box], foreground[box], bandwidth, seed, least)
            found, similar = _on_map(clusters, foreground[box], first=len(window_of))
            window_of += [i * len(columns) + j + 1] * len(clusters.modes)
            core = slice(r.core_start, r.core_stop), slice(c.core_start, c.core_stop)
            inside = tuple(slice(k.start - b.start, k.stop - b.start) for k, b in zip(core, box, strict=True))
            codes[core], similarity[core] = found[inside], similar[inside]
            # a pixel far from all modes says nothing about what its window's cluster is in another
            found = np.where(similar >= cosine, found, 0)
            if j:
                matches += _agreement(seen[i, j - 1][:, c.start - columns[j - 1].stop :], found, axis=1)
            if i:
                matches += _agreement(seen.pop((i - 1, j))[r.start - rows[i - 1].stop :], found, axis=0)
            seen[i, j] = found
    return WindowClusters(codes, similarity, np.array(window_of), tuple(matches))


def _cluster_one(
    features: Float[Tensor, "d h w"], foreground: Bool[np.ndarray, "h w"], bandwidth: float, seed: int, least: int
) -> LineClusters:
    lines = features.flatten(1)  # (d, h w), a copy where the window is not the whole map
    if not foreground.all():
        lines = lines.index_select(1, torch.from_numpy(np.flatnonzero(foreground)).to(lines.device))
    return cluster_lines(lines.T, bandwidth, seed=seed, least_support=least)


def _on_map(
    clusters: LineClusters, foreground: Bool[np.ndarray, "h w"], first: int
) -> tuple[Int32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """The cluster of each of a window's pixels, numbered from `first`, 0 for none, and its similarity."""
    codes, similarity = np.zeros(foreground.shape, np.int32), np.zeros(foreground.shape, np.float32)
    nearest = clusters.nearest.cpu().numpy()
    codes[foreground] = np.where(nearest < 0, 0, nearest + first)
    similarity[foreground] = clusters.similarity.cpu().numpy()
    return codes, similarity


def _spans(length: int, window: int, overlap: int) -> Iterator[Span]:
    """Windows evenly spaced over an axis; cores meet in the middle of what two windows see."""
    window = min(window, length)
    count = 1 + max(0, -(-(length - window) // max(1, window - overlap)))
    starts = [round(k * (length - window) / max(1, count - 1)) for k in range(count)]
    borders = [0, *((start + window + following) // 2 for start, following in pairwise(starts)), length]
    for start, (core_start, core_stop) in zip(starts, pairwise(borders), strict=True):
        yield Span(start, start + window, core_start, core_stop)


def _agreement(earlier: Int32[np.ndarray, "h w"], later: Int32[np.ndarray, "h2 w2"], axis: int) -> list[Link]:
    """Matches of clusters between what is left of an earlier window and the first rows or columns of a later one.

    Only pixels that both give a cluster count.
    """
    later = later.take(np.arange(earlier.shape[axis]), axis)
    counted = (earlier > 0) & (later > 0)
    names_a, a = np.unique(earlier[counted], return_inverse=True)
    names_b, b = np.unique(later[counted], return_inverse=True)
    shape = len(names_a), len(names_b)
    both = np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1]).reshape(shape)
    union = both.sum(1, keepdims=True) + both.sum(0) - both
    match = both > AGREEMENT * union
    return [Link(int(names_a[i]), int(names_b[j]), int(both[i, j])) for i, j in np.argwhere(match)]


def _join(
    cluster_of: Int64[np.ndarray, " u1"], window_of: Int64[np.ndarray, " c1"], links: Sequence[Link]
) -> Int32[np.ndarray, " u1"]:
    """The number of the segment of each unit; 0 stays 0."""
    name = np.arange(len(cluster_of), dtype=np.int32)
    linked = {unit for link in links for unit in (link.first, link.second)}
    members = {unit: [unit] for unit in linked}
    seen_as = {unit: {int(window_of[cluster_of[unit]]): int(cluster_of[unit])} for unit in linked}
    for link in sorted(links, key=lambda link: (-link.shared, link.first, link.second)):
        small, large = sorted((int(name[link.first]), int(name[link.second])), key=lambda unit: len(members[unit]))
        if small == large or any(seen_as[large].get(w, c) != c for w, c in seen_as[small].items()):
            continue
        name[members[small]] = large
        members[large] += members.pop(small)
        seen_as[large] |= seen_as.pop(small)
    return name
