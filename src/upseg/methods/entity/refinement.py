"""Multi-resolution refinement: segments of a coarse resolution, made sharper and finer by the clusters of the next.

Paper: Sec. 4.1. Coarse resolutions see objects whole, fine ones see borders and small objects. What the paper leaves
open, all of it decided on the table of overlaps of the two label maps, never on masks:

- A pixel of an accepted cluster becomes the cluster's segment's, whichever segment had it before: the finer resolution
  knows borders better. Only a segment of which more than half lies in that cluster, and which is not the one that the
  cluster replaces or divides, keeps those pixels: it is an object that the finer resolution does not see.
- A pixel that a replaced segment leaves, and which is in no accepted cluster, goes where most of its cluster lies. So
  does one that is void in the finer map if most of the void there was void before; otherwise it stays.
- Void counts as a place where new segments may lie, without being anyone's parent: where the background is void, small
  objects lie in it.
- Segments that lose all pixels are gone; their children are their parents'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from upseg.functional.contingency import Overlaps, overlaps_by_pixel
from upseg.functional.label_maps import segment_areas

REPLACING_IOU = 0.8
"""A cluster whose IoU with a segment is at least this is the same object."""
CONTAINED_SHARE = 0.8
"""A cluster of which at least this share lies in a segment is a part of it."""
_BAND = 64  # rows


@dataclass(frozen=True, eq=False)
class SegmentTree:
    """A label map, and which segment is a part of which.

    Attributes:
        labels: (H, W), 0 void, k >= 1 a segment.
        scores: In [0, 1], by segment.
        parents: The segment that a segment is a part of; those at the top are not in it.
    """

    labels: Int32[np.ndarray, "h w"]
    scores: Mapping[int, float]
    parents: Mapping[int, int] = field(default_factory=dict)

    def resized(self, size: tuple[int, int]) -> SegmentTree:
        """The same segments, but for those too thin, at another size (H, W)."""
        labels = resize_labels(self.labels, size)
        if labels is self.labels:
            return self
        return _of_present(labels, np.flatnonzero(segment_areas(labels)), self.scores, self.parents)


def refine(
    existing: SegmentTree,
    clusters: Int32[np.ndarray, "h2 w2"],
    scores: Mapping[int, float],
    *,
    minimum_area: int = 1,
) -> SegmentTree:
    """Work the clusters of a finer resolution into the segments that are there.

    A cluster (a) takes the place of a segment if their IoU is at least 0.8; (b) becomes a new segment, and the one it
    lies in its parent, if at least 80 % of it lies in one and it is not too small; (c) is dropped otherwise.
    All clusters are judged by the map as it was before, so their order does not matter.

    Paper: Sec. 4.1

    Args:
        existing: Of the coarser resolutions, brought to the size of `clusters`. Not changed.
        clusters: (H2, W2), 0 void, k >= 1 a cluster.
        scores: Of the clusters.
        minimum_area: Of new segments, in pixels.

    Returns:
        Segments keep their ids; new ones follow the largest in the order of their clusters' ids.

    Raises:
        ValueError: If the sizes differ.
    """
    if existing.labels.shape != clusters.shape:
        raise ValueError(
            f"segments and clusters must have the same size, got {existing.labels.shape} and {clusters.shape}; "
            "bring the segments to the clusters' size with resized()"
        )
    found, cell_of_pixel = overlaps_by_pixel(existing.labels, clusters)
    replaces, lies_in = _matches(found, minimum_area)
    accepted = (replaces > 0) | (lies_in >= 0)
    new_ids = int(existing.labels.max(initial=0)) + np.cumsum(lies_in >= 0)
    segment_of = np.where(replaces > 0, found.row_ids[replaces], np.where(lies_in >= 0, new_ids, 0))
    cells = _relabelled_cells(found, replaces, lies_in, segment_of)
    all_scores, parents = dict(existing.scores), dict(existing.parents)
    for column in np.flatnonzero(accepted):
        segment, cluster = int(segment_of[column]), int(found.column_ids[column])
        if cluster in scores:
            all_scores[segment] = scores[cluster]
        if lies_in[column] > 0:
            parents[segment] = int(found.row_ids[lies_in[column]])
    labels = cells.astype(np.int32)[cell_of_pixel].reshape(existing.labels.shape)
    return _of_present(labels, cells, all_scores, parents)


def _matches(found: Overlaps, minimum_area: int) -> tuple[Int64[np.ndarray, " columns"], Int64[np.ndarray, " columns"]]:
    """For each cluster the row of the segment that it replaces (0: none), and of that which it divides (-1: none).

    Each has at most one, as the thresholds are above one half.
    """
    replaces = np.zeros(len(found.column_ids), np.int64)
    lies_in = np.full(len(found.column_ids), -1, np.int64)
    same = found.between_segments() & (found.ious() >= REPLACING_IOU)
    replaces[found.columns[same]] = found.rows[same]
    areas = found.column_areas[found.columns]
    inside = (found.columns > 0) & (found.counts / areas >= CONTAINED_SHARE) & (areas >= minimum_area)
    inside &= replaces[found.columns] == 0
    lies_in[found.columns[inside]] = found.rows[inside]
    return replaces, lies_in


def _relabelled_cells(
    found: Overlaps,
    replaces: Int64[np.ndarray, " columns"],
    lies_in: Int64[np.ndarray, " columns"],
    segment_of: Int64[np.ndarray, " columns"],
) -> Int64[np.ndarray, " cells"]:
    """The id that the pixels of each cell get."""
    rows, columns = found.rows, found.columns
    accepted = segment_of[columns] > 0
    home = np.where(replaces > 0, replaces, lies_in)[columns] == rows
    unseen = (rows > 0) & ~home & (2 * found.counts > found.row_areas[rows])
    replaced = np.zeros(len(found.row_ids), bool)
    replaced[replaces[replaces > 0]] = True
    owners = _owners(found)[columns]
    left = replaced[rows] & ~accepted & ((columns > 0) | (owners == 0))
    kept = np.where(left, found.row_ids[owners], found.row_ids[rows])
    return np.asarray(np.where(accepted & ~unseen, segment_of[columns], kept))


def _owners(found: Overlaps) -> Int64[np.ndarray, " columns"]:
    """For each column the row with most of its pixels, the smallest among equals; 0 for a column without any."""
    order = np.lexsort((-found.rows, found.counts, found.columns))  # each column's largest cell last
    owners = np.zeros(len(found.column_ids), np.int64)
    owners[found.columns[order]] = found.rows[order]
    return owners


def _of_present(
    labels: Int32[np.ndarray, "h w"],
    present: Iterable[int | np.integer],
    scores: Mapping[int, float],
    parents: Mapping[int, int],
) -> SegmentTree:
    """A tree of the segments that are in the map; the children of others belong to the next above that is."""
    ids = {int(value) for value in present} - {0}
    lifted: dict[int, int] = {}
    for segment in sorted(ids & parents.keys()):
        above = parents.get(segment)
        while above is not None and above not in ids:
            above = parents.get(above)
        if above is not None:
            lifted[segment] = above
    return SegmentTree(labels, {k: scores[k] for k in sorted(ids & scores.keys())}, lifted)


def resize_labels(labels: Int32[np.ndarray, "h w"], size: tuple[int, int]) -> Int32[np.ndarray, "h2 w2"]:
    """Bring a label map to another size: each pixel takes the label with the largest bilinear weight.

    Borders come out smooth where taking the nearest pixel would draw stairs. Costs one look at each pixel, and a vote
    only along borders.

    Args:
        labels: (H, W).
        size: (H2, W2) in pixels; the map itself is returned where it has this size already.
    """
    if labels.shape == size:
        return labels
    return resize_label_rows(lambda rows: labels[rows], labels.shape, size, slice(0, size[0]))


def resize_label_rows(
    labels_at: Callable[[slice], Int32[np.ndarray, "h w"]], shape: tuple[int, int], size: tuple[int, int], rows: slice
) -> Int32[np.ndarray, "h2 w2"]:
    """Some rows of what `resize_labels` makes of a map, of which no more is looked at than they need.

    Args:
        labels_at: Gives rows of the map.
        shape: (H, W) of the map.
        size: (H2, W2) to bring it to.
        rows: Which of the H2.
    """
    if shape == size:
        return labels_at(rows)
    (top, bottom, down), (left, right, across) = (_neighbours(*sides) for sides in zip(shape, size, strict=True))
    top, bottom, down = top[rows], bottom[rows], down[rows]
    labels = labels_at(slice(int(top[0]), int(bottom[-1]) + 1))
    top, bottom = top - top[0], bottom - top[0]
    resized: Int32[np.ndarray, "h w"] = labels[top[:, None], left]
    mixed = _is_mixed(labels)
    for start in range(0, len(top), _BAND):  # some rows at a time: memory stays that of the result
        band = slice(start, start + _BAND)
        row, column = np.nonzero(mixed[top[band]][:, left])
        corners = [labels[y[band][row], x[column]] for y in (top, bottom) for x in (left, right)]
        y, x = down[band][row], across[column]
        weights = [v * u for v in (1 - y, y) for u in (1 - x, x)]
        votes = [sum(w * (c == corner) for w, c in zip(weights, corners, strict=True)) for corner in corners]
        resized[band][row, column] = np.choose(np.argmax(votes, axis=0), corners)
    return resized


def _neighbours(
    old: int, new: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Along one side: the two old pixels whose centres each new one's lies between, and the weight of the second."""
    centres = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    first = np.floor(centres).astype(np.int64)
    return first, np.minimum(first + 1, old - 1), centres - first


def _is_mixed(labels: Int32[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Where a pixel, the one right of it, the one below, and the one below that are not all the same."""
    mixed = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    mixed[:, :-1] |= across
    mixed[:-1, :-1] |= across[1:]
    mixed[:-1] |= down
    mixed[:-1, :-1] |= down[:, 1:]
    return mixed
