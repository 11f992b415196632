"""Small parts of label maps: what is cleaned up after the pixels are grouped."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, Integer
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as graph_components

from upseg.functional.label_maps import border_pixels, connected_components, segment_areas


def adjacent_pairs(
    values: Integer[np.ndarray, "h w"],
) -> tuple[Integer[np.ndarray, " n"], Integer[np.ndarray, " n"]]:
    """The values of each two pixels that share an edge and differ, in both directions.

    Returns:
        (N,) values of the ones, and (N,) of the others.
    """
    first = np.concatenate((values[:, :-1].ravel(), values[:-1].ravel()))
    second = np.concatenate((values[:, 1:].ravel(), values[1:].ravel()))
    differ = first != second
    first, second = first[differ], second[differ]
    return np.concatenate((first, second)), np.concatenate((second, first))


def absorb_small_parts(
    labels: Int32[np.ndarray, "h w"], minimum_area: int, *, minimum_thickness: int = 0, drop_isolated: bool
) -> Int32[np.ndarray, "h w"]:
    """Give each small 4-connected part to the neighbouring segment with which it shares the longest border.

    Small is also what is thin everywhere, such as a rim along an object where the network is in doubt.

    Of borders of equal length the one with the part whose first pixel comes first decides. A small part whose neighbour
    is small itself goes wherever that one goes; small parts with only each other as neighbours join the one of theirs
    that comes first, and are looked at again.

    Args:
        labels: (H, W) ids, 0 void.
        minimum_area: In pixels; parts with fewer are small.
        minimum_thickness: In pixels; parts nowhere as thick as this are small, if they have a neighbouring segment.
        drop_isolated: Whether a part of too few pixels without a neighbouring segment becomes void; else it stays.

    Returns:
        (H, W) ids of `labels`, 0 void.
    """
    if max(minimum_area, minimum_thickness) <= 1 or labels.size == 0:
        return labels
    while True:
        parts = connected_components(labels)
        few = segment_areas(parts) < minimum_area
        small = few | (_thickness(parts, len(few)) < minimum_thickness)
        small[0] = False
        owners = np.zeros(len(small), np.int32)
        owners[parts.ravel()] = labels.ravel()
        target = _longest_borders(parts, len(small))
        isolated = small & few & (target == 0)
        if drop_isolated:
            owners[isolated] = 0
        joining = np.flatnonzero(small & (target > 0))
        labels = _joined(owners, small, joining, target)[parts]
        if len(joining) == 0:
            return labels


def trim_rims(labels: Int32[np.ndarray, "h w"], width: int) -> Int32[np.ndarray, "h w"]:
    """Make pixels of segments void that are at most so far from void.

    For networks that see objects larger than they are. Nothing is taken where two segments touch or along the map's
    edge, and nothing from a segment of which nothing would be left.

    Args:
        labels: (H, W) ids, 0 void.
        width: In pixels, at least 0: the Euclidean distance to the nearest void pixel's centre.
    """
    if width == 0 or not (labels == 0).any():
        return labels
    distance = ndimage.distance_transform_edt(labels > 0)
    farthest = np.zeros(int(labels.max()) + 1)
    np.maximum.at(farthest, labels.ravel(), distance.ravel())
    return np.where((distance > width) | (farthest <= width)[labels], labels, np.int32(0))


def _thickness(parts: Int32[np.ndarray, "h w"], count: int) -> Float64[np.ndarray, " k1"]:
    """The diameter in pixels of the largest disc in each part; the map's edge does not make a part thinner."""
    rim = border_pixels(parts)
    if not rim.any():
        return np.full(count, np.inf)
    radius = np.zeros(count)
    np.maximum.at(radius, parts.ravel(), ndimage.distance_transform_edt(~rim).ravel())
    return 2 * radius + 1


def _longest_borders(parts: Int32[np.ndarray, "h w"], count: int) -> Int64[np.ndarray, " k1"]:
    """The neighbour of each part with which it shares most pixel edges; 0 for none."""
    first, second = adjacent_pairs(parts)
    real = (first > 0) & (second > 0)
    borders = coo_array((np.ones(real.sum(), np.int64), (first[real], second[real])), shape=(count, count)).tocsr()
    borders.sum_duplicates()
    table = borders.tocoo()
    order = np.lexsort((table.col, -table.data, table.row))
    rows, columns = table.row[order], table.col[order]
    target = np.zeros(count, np.int64)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    target[rows[starts]] = columns[starts]
    return target


def _joined(
    owners: Int32[np.ndarray, " k1"],
    small: Bool[np.ndarray, " k1"],
    joining: Int64[np.ndarray, " j"],
    target: Int64[np.ndarray, " k1"],
) -> Int32[np.ndarray, " k1"]:
    """The owner of each part once the joining ones have followed their targets to the end."""
    count = len(owners)
    links = coo_array((np.ones(len(joining), np.int8), (joining, target[joining])), shape=(count, count))
    group = graph_components(links, directed=False)[1]
    # each group has at most one part that is not small, for only small parts point to another; it names the group
    order = np.lexsort((np.arange(count), small))
    name = np.zeros(count, np.int64)
    name[group[order[::-1]]] = order[::-1]
    return np.asarray(owners[name[group]])
