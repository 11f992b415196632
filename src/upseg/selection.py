"""Segmentations made of others: segments joined, left out, or cut from the image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from upseg.functional.strokes import Stroke, cut_region, edge_strength
from upseg.segmentation import Segment, Segmentation


def merge(segmentation: Segmentation, ids: Iterable[int]) -> Segmentation:
    """Make some segments one; see `Segmentation.merge`.

    The class and the parent stay where all have the same, the score is their mean by area where all have one.
    """
    joined = [segmentation[segment_id] for segment_id in dict.fromkeys(ids)]
    if not joined:
        raise ValueError("there must be at least one segment to merge, got none")
    target = min(segment.id for segment in joined)
    table = np.arange(len(segmentation) + 1, dtype=np.int32)
    table[[segment.id for segment in joined]] = target
    categories, parents = {segment.category for segment in joined}, {segment.parent for segment in joined}
    known = [segment.score for segment in joined if segment.score is not None]
    areas = [segment.area for segment in joined]
    fused = Segment(
        target,
        sum(areas),
        joined[0].bbox,
        score=float(np.average(known, weights=areas)) if len(known) == len(joined) else None,
        category=categories.pop() if len(categories) == 1 else None,
        parent=parents.pop() if len(parents) == 1 else None,
    )
    facts = {segment.id: segment for segment in segmentation if table[segment.id] == segment.id}
    return _renumbered(segmentation, table, facts | {target: fused})


def split(
    segmentation: Segmentation, segment_id: int, strokes: Sequence[Stroke], image: Float32[np.ndarray, "h w 3"] | None
) -> Segmentation:
    """Cut one segment into several; see `Segmentation.split`."""
    if image is not None and image.shape[:2] != segmentation.shape:
        raise ValueError(
            f"the image must have the segmentation's height and width {segmentation.shape}, got {image.shape[:2]}"
        )
    box = box_slices(segmentation, segment_id, margin=1)
    region = segmentation.labels[box] == segment_id
    shifted = [[(row - box[0].start, column - box[1].start) for row, column in stroke] for stroke in strokes]
    edges = np.zeros(region.shape, np.float32) if image is None else edge_strength(image[box])
    parts = cut_region(region, shifted, edges)
    labels = segmentation.labels.copy()
    new = parts > 1
    labels[box][new] = len(segmentation) - 1 + parts[new]
    whole = segmentation[segment_id]
    facts = {segment.id: segment for segment in segmentation}
    facts |= {len(segmentation) - 1 + part: whole for part in range(2, int(parts.max()) + 1)}
    return _of_same_image(_from_facts(labels, facts, segmentation), segmentation)


def keep_segments(
    segmentation: Segmentation,
    keep: Callable[[Segment], bool] | None = None,
    *,
    min_area: int | None = None,
    max_area: int | None = None,
    clear_border: bool = False,
) -> Segmentation:
    """Leave segments out; see `Segmentation.filter`."""
    height, width = segmentation.shape

    def passes(segment: Segment) -> bool:
        top, left, bottom, right = segment.bbox
        return (
            (min_area is None or segment.area >= min_area)
            and (max_area is None or segment.area <= max_area)
            and not (clear_border and (top == 0 or left == 0 or bottom == height or right == width))
            and (keep is None or bool(keep(segment)))
        )

    kept = {segment.id: segment for segment in segmentation if passes(segment)}
    if len(kept) == len(segmentation):
        return segmentation
    table = np.zeros(len(segmentation) + 1, np.int32)
    table[list(kept)] = list(kept)
    return _renumbered(segmentation, table, kept)


def cut_out(segmentation: Segmentation, part: slice | tuple[slice, ...]) -> Segmentation:
    """The segmentation of a part of the image: `segmentation[10:50, 20:80]`."""
    parts = part if isinstance(part, tuple) else (part,)
    if len(parts) > 2 or not all(isinstance(one, slice) for one in parts):
        raise TypeError(f"give one segment's id, or slices of rows and columns, got {part}")
    labels = segmentation.labels[parts]
    present = set(np.unique(labels).tolist())
    facts = {segment.id: segment for segment in segmentation if segment.id in present}
    return _from_facts(labels, facts, segmentation)


def crop(segmentation: Segmentation, segment_id: int, margin: int = 0) -> Segmentation:
    """The segmentation of one segment's box; see `Segmentation.crop`."""
    return cut_out(segmentation, box_slices(segmentation, segment_id, margin))


def cutout(
    segmentation: Segmentation, segment_id: int, image: Float32[np.ndarray, "h w 3"], margin: int = 0
) -> UInt8[np.ndarray, "h2 w2 4"]:
    """One segment's pixels on a transparent background; see `Segmentation.cutout`.

    Raises:
        ValueError: If the image has another size.
    """
    if image.shape[:2] != segmentation.shape:
        raise ValueError(
            f"the image must have the segmentation's height and width {segmentation.shape}, got {image.shape[:2]}"
        )
    box = box_slices(segmentation, segment_id, margin)
    colours = np.rint(np.clip(image[box], 0, 1) * 255).astype(np.uint8)
    opacity = np.where(segmentation.labels[box] == segment_id, np.uint8(255), np.uint8(0))
    return np.dstack([colours * (opacity > 0)[..., None], opacity])


def box_slices(segmentation: Segmentation, segment_id: int, margin: int = 0) -> tuple[slice, slice]:
    """The rows and columns of a segment's box and a margin, as far as the image reaches."""
    if margin < 0:
        raise ValueError(f"the margin must be at least 0 pixels, got {margin}")
    top, left, bottom, right = segmentation[segment_id].bbox
    return slice(max(0, top - margin), bottom + margin), slice(max(0, left - margin), right + margin)


def _renumbered(
    segmentation: Segmentation, table: Int32[np.ndarray, " k1"], facts: Mapping[int, Segment]
) -> Segmentation:
    """A segmentation of the same image whose segment k has become the segment `table[k]`, 0 for void."""
    renamed = {
        segment_id: replace(segment, parent=_standing_parent(segmentation, segment, table))
        for segment_id, segment in facts.items()
    }
    result = _from_facts(table[segmentation.labels], renamed, segmentation)
    return _of_same_image(result, segmentation)


def _of_same_image(result: Segmentation, source: Segmentation) -> Segmentation:
    """With what belongs to the image, not to its segments."""
    return replace(result, hierarchy=source.hierarchy, features=source.features)


def _standing_parent(segmentation: Segmentation, segment: Segment, table: Int32[np.ndarray, " k1"]) -> int | None:
    """The nearest of the segments above one that is still there; those that came to be itself do not count."""
    parent, seen = segment.parent, {segment.id}
    while parent is not None and parent not in seen:
        seen.add(parent)
        if table[parent] not in (0, segment.id):
            return int(table[parent])
        parent = segmentation[parent].parent
    return None


def _from_facts(labels: Int32[np.ndarray, "h w"], facts: Mapping[int, Segment], source: Segmentation) -> Segmentation:
    return Segmentation.from_labels(
        labels,
        scores={i: s.score for i, s in facts.items() if s.score is not None},
        categories={i: s.category for i, s in facts.items() if s.category is not None},
        parents={i: s.parent for i, s in facts.items() if s.parent is not None and s.parent in facts},
        provenance=source.provenance,
    )
