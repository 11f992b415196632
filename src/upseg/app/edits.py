"""What a person does on the page, as a `Change` of the document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from scipy import ndimage

from upseg.app.changes import Change, PixelChange, Runs, numbers_of, to_runs
from upseg.app.document import VOID_PIN, Document
from upseg.app.pictures import picture_part
from upseg.errors import UpsegError
from upseg.functional.strokes import Number, Stroke, cut_region, draw_stroke, edge_strength

Likeness = UInt8[np.ndarray, "h w"]
MOST_POINTS = 100_000
MOST_RADIUS = 2000
LONGEST_NAME = 100


def set_detail(document: Document, detail: float) -> None:
    """Move the level of detail, 0 to 1; what is pinned stays."""
    document.hierarchy.cut_height(detail)
    if detail != document.detail:
        document.do(Change("detail", detail=(document.detail, detail)))


def join(document: Document, runs: Runs) -> None:
    """Make some pieces one segment, which stays when the level of detail moves."""
    chosen = _chosen(document, runs)
    names = {document.names.get(str(key)) for key in set(document.owners()[chosen].tolist())} - {None}
    key = document.next_key
    kept: dict[str, tuple[str | None, str | None]] = {str(key): (None, names.pop())} if len(names) == 1 else {}
    pins, before = _pins(document, chosen, key)
    document.do(Change("join", pins, before, names=kept, keys=1))


def erase(document: Document, runs: Runs) -> None:
    """Make some pieces void."""
    pins, before = _pins(document, _chosen(document, runs), VOID_PIN)
    document.do(Change("erase", pins, before))


def name(document: Document, groups: Sequence[Runs], category: str | None) -> None:
    """Give segments a class, or None to take it away; each group of pieces is one segment, and pinned by this."""
    text = None if category is None else " ".join(category.split())
    if text is not None and not (0 < len(text) <= LONGEST_NAME and text.isprintable()):
        raise UpsegError(f"the name of a class has 1 to {LONGEST_NAME} printable characters, got {category!r:.120}")
    owners = document.owners()
    values, keys = document.pinned.copy(), 0
    names: dict[str, tuple[str | None, str | None]] = {}
    for runs in groups:
        chosen = _chosen(document, runs)
        key = int(owners[chosen[0]])
        if key <= document.regions:
            key, keys = document.next_key + keys, keys + 1
        values[chosen] = key
        names[str(key)] = (document.names.get(str(key)), text)
    changed = np.flatnonzero(values != document.pinned)
    pins, before = to_runs(changed, values[changed]), to_runs(changed, document.pinned[changed])
    document.do(Change("name", pins, before, names=names, keys=keys))


def paint(document: Document, stroke: Stroke, radius: Number, runs: Runs) -> None:
    """Give what a brush covers to the segment of some pieces, or, of none, to a new segment."""
    mask, box = _covered(document, stroke, radius)
    _give(document, "paint", mask, box, runs)


def rub_out(document: Document, stroke: Stroke, radius: Number) -> None:
    """Make what a brush covers void."""
    mask, box = _covered(document, stroke, radius)
    inside = document.pieces[_slices(box)] > 0
    _do_pixels(document, "rub out", mask & inside, box, np.zeros(np.count_nonzero(mask & inside), np.int32))


def fill_holes(document: Document, runs: Runs) -> None:
    """Give a segment what it encloses."""
    chosen = _chosen(document, runs)
    box = _box_of(document, chosen)
    region = _region(document, chosen, box)
    _give(document, "fill holes", ndimage.binary_fill_holes(region) & ~region, box, runs)


def grow(document: Document, likeness: Likeness, place: tuple[int, int], least: float) -> None:
    """Make one new segment of the pixels around one whose features are like its own.

    Args:
        document: What is corrected.
        likeness: (h, w) how like the pixel all others are, 0 to 255, at any size.
        place: Row and column of the pixel, in the image.
        least: How like they have to be, in [0, 1].
    """
    height, width = document.shape
    if not (0 <= place[0] < height and 0 <= place[1] < width and 0 <= least <= 1):
        raise UpsegError(f"the pixel must be within {height} rows and {width} columns, and the likeness within 0 and 1")
    rows, columns = likeness.shape
    alike, _ = ndimage.label(likeness >= round(255 * least))
    chosen = alike[place[0] * rows // height, place[1] * columns // width]
    if chosen == 0:
        raise UpsegError("not even the pixel itself is so much like itself; ask for less")
    # only the box of what was found is drawn at the image's size
    inside = ndimage.find_objects(alike, int(chosen))[int(chosen) - 1]
    top, bottom = (-(-bound * height // rows) for bound in (inside[0].start, inside[0].stop))
    left, right = (-(-bound * width // columns) for bound in (inside[1].start, inside[1].stop))
    sampled = np.ix_(np.arange(top, bottom) * rows // height, np.arange(left, right) * columns // width)
    _give(document, "grow", alike[sampled] == chosen, (top, left, bottom, right), [])


def cut(document: Document, runs: Runs, strokes: Sequence[Stroke]) -> None:
    """Cut a segment along a line, or between several strokes that mark its parts.

    Raises:
        UpsegError: If the strokes do not cut it.
    """
    chosen = _chosen(document, runs)
    for stroke in strokes:
        _check_stroke(stroke, 0)
    box = _box_of(document, chosen, margin=1)
    region = _region(document, chosen, box)
    shifted = [[(row - box[0], column - box[1]) for row, column in stroke] for stroke in strokes]
    edges = edge_strength(picture_part(document.folder, _slices(box)))
    parts = cut_region(region, shifted, edges)
    count = int(parts.max())
    if count < 2:
        raise UpsegError("this does not cut the segment: draw one line across it, or two strokes on its parts")
    # the largest part keeps its pieces, so that as few pixels as can be are written
    largest = int(np.argmax(np.bincount(parts[region])[1:])) + 1
    renumbered = np.zeros(count + 1, np.int64)
    renumbered[[part for part in range(1, count + 1) if part != largest]] = np.arange(1, count)
    moved = renumbered[parts]
    first = len(document.areas)
    after = (first - 1 + moved[moved > 0]).astype(np.int32)
    owners = set(document.owners()[chosen].tolist())
    text = document.names.get(str(owners.pop())) if len(owners) == 1 else None
    keys = range(document.next_key, document.next_key + count)
    values = np.concatenate([np.full(len(chosen), keys[0]), keys[1:]])
    pinned = np.concatenate([document.pinned[chosen], np.zeros(count - 1, np.int64)])
    numbers = np.concatenate([chosen, np.arange(first, first + count - 1)])
    _do_pixels(
        document,
        "cut",
        moved > 0,
        box,
        after,
        pins=to_runs(numbers, values),
        pins_before=to_runs(numbers, pinned),
        names={} if text is None else {str(key): (None, text) for key in keys},
        keys=count,
    )


def _give(document: Document, kind: str, mask: Bool[np.ndarray, "h w"], box: tuple[int, ...], runs: Runs) -> None:
    """Make pixels one new piece of the segment of some others, or of a new segment."""
    chosen = _chosen(document, runs) if runs else np.zeros(0, np.int64)
    piece = len(document.areas)
    key = document.next_key
    pinned = set(document.pinned[chosen].tolist())
    if len(pinned) == 1 and (known := pinned.pop()) > document.regions:
        key = known
    numbers = np.concatenate([chosen, [piece]])
    before = np.concatenate([document.pinned[chosen], [0]])
    text = {document.names.get(str(owner)) for owner in document.owners()[chosen].tolist()} - {None}
    is_new = key == document.next_key
    _do_pixels(
        document,
        kind,
        mask,
        box,
        np.full(np.count_nonzero(mask), piece, np.int32),
        pins=to_runs(numbers, np.full(len(numbers), key)),
        pins_before=to_runs(numbers, before),
        names={str(key): (None, text.pop())} if is_new and len(text) == 1 else {},
        keys=int(is_new),
    )


def _do_pixels(
    document: Document, kind: str, mask: Bool[np.ndarray, "h w"], box: tuple[int, ...], after: Any, **facts: Any
) -> None:
    """Move pixels to other pieces: those of the mask, in row-major order, to `after`."""
    if not mask.any():
        raise UpsegError("this changes nothing")
    part = document.pieces[_slices(box)]
    before = part[mask]
    rows, columns = np.nonzero(mask)
    created = []
    for piece in range(len(document.areas), int(after.max()) + 1):
        its = after == piece
        created.append(
            [
                box[0] + int(rows[its].min()),
                box[1] + int(columns[its].min()),
                box[0] + int(rows[its].max()) + 1,
                box[1] + int(columns[its].max()) + 1,
            ]
        )
    pixels = PixelChange((box[0], box[1], box[2], box[3]), mask, before, after)
    document.do(Change(kind, created=created, areas=_area_changes(before, after), **facts), pixels)


def _area_changes(before: Any, after: Any) -> list[list[int]]:
    """`[piece, pixels more or less]` of those that gain or lose."""
    size = int(max(before.max(), after.max())) + 1
    gained = np.bincount(after, minlength=size) - np.bincount(before, minlength=size)
    return [[int(piece), int(gained[piece])] for piece in np.flatnonzero(gained)]


def _pins(document: Document, chosen: Int64[np.ndarray, " n"], key: int) -> tuple[Runs, Runs]:
    """What some pieces are pinned to from now on, and before."""
    return to_runs(chosen, np.full(len(chosen), key)), to_runs(chosen, document.pinned[chosen])


def _chosen(document: Document, runs: Runs) -> Int64[np.ndarray, " n"]:
    """The pieces that the page means.

    Raises:
        UpsegError: If there are none, or no such ones.
    """
    try:
        chosen = numbers_of(runs, 1, len(document.areas) - 1)
    except ValueError as error:
        raise UpsegError(str(error)) from error
    if len(chosen) == 0:
        raise UpsegError("choose at least one segment first")
    return chosen


def _covered(
    document: Document, stroke: Stroke, radius: Number
) -> tuple[Bool[np.ndarray, "h w"], tuple[int, int, int, int]]:
    """What a brush covers, in the box around it."""
    _check_stroke(stroke, radius)
    height, width = document.shape
    reach = int(np.ceil(radius)) + 1
    rows, columns = np.array(stroke).T
    top, left = max(0, int(rows.min()) - reach), max(0, int(columns.min()) - reach)
    bottom, right = min(height, int(rows.max()) + reach + 1), min(width, int(columns.max()) + reach + 1)
    if top >= bottom or left >= right:
        raise UpsegError("the stroke lies outside the image")
    moved = [(row - top, column - left) for row, column in stroke]
    return draw_stroke((bottom - top, right - left), moved, radius), (top, left, bottom, right)


def _check_stroke(stroke: Stroke, radius: Number) -> None:
    if not (0 < len(stroke) <= MOST_POINTS and 0 <= radius <= MOST_RADIUS):
        raise UpsegError(
            f"a stroke has 1 to {MOST_POINTS} points and a radius of 0 to {MOST_RADIUS} pixels, "
            f"got {len(stroke)} and {radius}"
        )


def _box_of(document: Document, chosen: Int64[np.ndarray, " n"], margin: int = 0) -> tuple[int, int, int, int]:
    boxes = np.array([document.boxes[piece] for piece in chosen.tolist()])
    (top, left), (bottom, right) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    height, width = document.shape
    return max(0, top - margin), max(0, left - margin), min(height, bottom + margin), min(width, right + margin)


def _region(document: Document, chosen: Int64[np.ndarray, " n"], box: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    table = np.zeros(len(document.areas), bool)
    table[chosen] = True
    region: Bool[np.ndarray, "h w"] = table[document.pieces[_slices(box)]]
    return region


def _slices(box: tuple[int, ...]) -> tuple[slice, slice]:
    return slice(box[0], box[2]), slice(box[1], box[3])
