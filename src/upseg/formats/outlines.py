"""Outlines of segments, and label maps of outlines: what all formats with polygons share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int32

from upseg.formats.metadata import Facts, assemble, warn_of_losses
from upseg.functional.polygons import Rings, fill_rings, trace_rings
from upseg.functional.runs import Runs, paint_runs
from upseg.segmentation import Category, Segment, Segmentation

Ring = Float64[np.ndarray, "_ 2"]
"""Corners as (row, column); the first may stand again at the end."""

UNNAMED = "segment"
"""What formats in which each object must have a class call objects without one."""


def outlines(segmentation: Segmentation) -> Iterator[tuple[Segment, list[list[Int32[np.ndarray, "_ 2"]]]]]:
    """Each segment with its 4-connected parts; of each part the outer ring and its holes, corners as (row, column)."""
    return zip(segmentation, parts_of(segmentation.labels), strict=True)


def parts_of(labels: Int32[np.ndarray, "h w"]) -> Iterator[list[list[Int32[np.ndarray, "_ 2"]]]]:
    """The parts, as `outlines` gives them, of each of the ids 1..K of a label map, which all occur."""
    return parts_of_rings(trace_rings(labels), int(labels.max(initial=0)))


def parts_of_rings(rings: Rings, count: int) -> Iterator[list[list[Int32[np.ndarray, "_ 2"]]]]:
    """The parts, as `outlines` gives them, of each of the ids 1..K whose rings are given."""
    bounds = np.searchsorted(rings.labels, np.arange(1, count + 2)).tolist()
    for first, stop in pairwise(bounds):
        parts: list[list[Int32[np.ndarray, "_ 2"]]] = []
        for number in range(first, stop):
            corners = rings.vertices[rings.offsets[number] : rings.offsets[number + 1]]
            if rings.holes[number]:
                parts[-1].append(corners)
            else:
                parts.append([corners])
        yield parts


def polygon_runs(polygons: Sequence[tuple[int, Sequence[Ring]]], shape: tuple[int, int]) -> Runs:
    """The pixels of each segment, whose polygons may overlap; arguments as for `paint_polygons`."""
    rings = [ring for _, part in polygons for ring in part]
    groups = np.array([number for number, (_, part) in enumerate(polygons, start=1) for _ in part], np.int64)
    owners = np.array([0, *(owner for owner, _ in polygons)], np.int64)
    offsets = np.cumsum([0, *map(len, rings)], dtype=np.int64)
    runs = fill_rings(np.concatenate([np.zeros((0, 2)), *rings]), offsets, groups, shape)
    return Runs(runs.starts, runs.stops, owners[runs.ids])


def paint_polygons(
    polygons: Sequence[tuple[int, Sequence[Ring]]], shape: tuple[int, int]
) -> tuple[Int32[np.ndarray, "h w"], Bool[np.ndarray, " k1"]]:
    """Draw polygons; where segments overlap, the one with the smaller area lies on top.

    Args:
        polygons: For each the segment it is a part of, from 1, and its rings: a pixel is inside if its centre lies in
            an odd number of them.
        shape: (H, W) of the map; what lies outside is cut off.

    Returns:
        (H, W) segments, 0 for none, and for each value whether another segment hides some of it.
    """
    flat, hidden = paint_runs(polygon_runs(polygons, shape), shape[0] * shape[1])
    return flat.reshape(shape), hidden


def foreign_polygons(
    path: Path, polygons: Sequence[tuple[int, Sequence[Ring]]], shape: tuple[int, int], names: Sequence[str | None]
) -> Segmentation:
    """The segmentation that another program's polygons make; a `UserWarning` names what overlaps or has no pixel.

    Args:
        path: The file, for the warning.
        polygons: As `paint_polygons` takes them.
        shape: (H, W) of the image.
        names: The class of each segment 1..K; None for none.
    """
    labels, hidden = paint_polygons(polygons, shape)
    warn_of_losses(path, labels.ravel(), hidden, list(range(1, len(names) + 1)))
    return assemble(labels, Facts(categories=numbered_categories(names)))


def numbered_categories(names: Sequence[str | None]) -> dict[int, Category]:
    """The class of each segment 1..K whose class has a name; ids count from 1 in alphabetical order."""
    ids = {name: number for number, name in enumerate(sorted({n for n in names if n not in (None, UNNAMED)}), start=1)}
    return {i: Category(ids[name], name) for i, name in enumerate(names, start=1) if name in ids}


def class_name(segment: Segment) -> str:
    """The name of a segment's class, or what stands for none."""
    return UNNAMED if segment.category is None else segment.category.name
