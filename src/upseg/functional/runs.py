"""Runs: stretches of one value in a flattened label map, the form in which thousands of masks are cheap.

COCO's encoding is made of them: a mask is flattened column by column and written as the lengths of its runs, outside,
inside, outside, and so on. The compressed form is text: from the fourth length on the difference to the length two
before it, each number in groups of five bits, lowest first, the bit of value 32 set while more groups follow, each
group plus 48 as an ASCII character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64, Integer

_MOST_PAINTED = 4_000_000_000
"""Pixels of segments that overlap: painting so many takes seconds."""


@dataclass(frozen=True)
class Runs:
    """Stretches of pixels that belong to segments, in a label map that was flattened in some order.

    Attributes:
        starts: First index of each run.
        stops: One past the last index of each run.
        ids: The segment of each run, at least 1.
    """

    starts: Int64[np.ndarray, " n"]
    stops: Int64[np.ndarray, " n"]
    ids: Int64[np.ndarray, " n"]

    @classmethod
    def joined(cls, *parts: Runs) -> Runs:
        """The runs of all parts, one after the other."""
        nothing = np.zeros(0, np.int64)
        columns = ((part.starts, part.stops, part.ids) for part in parts)
        starts, stops, ids = map(np.concatenate, zip((nothing,) * 3, *columns, strict=True))
        return cls(starts, stops, ids)


def find_runs(flat: Integer[np.ndarray, " n"]) -> Runs:
    """The longest possible runs of a flattened label map, in order of start; void (0) has none."""
    if flat.size == 0:
        return Runs.joined()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate((np.zeros(1, np.int64), changes))
    stops = np.concatenate((changes, np.array([flat.size])))
    ids = flat[starts].astype(np.int64)
    inside = ids != 0
    return Runs(starts[inside], stops[inside], ids[inside])


def paint_runs(runs: Runs, size: int) -> tuple[Int32[np.ndarray, " size"], Bool[np.ndarray, " k1"]]:
    """Write runs into a flat label map; where segments overlap, the one with the smaller area lies on top.

    Runs of one segment may overlap each other: they are united. Of equal areas the larger id lies on top.

    Args:
        runs: Runs within 0..size, in any order, with ids that fit an int32.
        size: Number of pixels of the map.

    Returns:
        The (size,) map with 0 where no run is, and for each value 0..max(id) whether another segment hides some of it.
    """
    united = _united(runs, size)
    count = int(united.ids.max(initial=0)) + 1
    in_order = np.argsort(united.starts, kind="stable")
    if np.all(united.starts[in_order][1:] >= united.stops[in_order][:-1]):
        return _paint_disjoint(united, size), np.zeros(count, bool)
    areas = np.zeros(count, np.int64)
    np.add.at(areas, united.ids, united.stops - united.starts)
    if areas.sum() > _MOST_PAINTED:
        raise ValueError(f"its segments overlap to {areas.sum():,} pixels, more than the {_MOST_PAINTED:,} drawn here")
    flat = np.zeros(size, np.int32)
    for index in np.lexsort((united.ids, -areas[united.ids])).tolist():
        flat[united.starts[index] : united.stops[index]] = united.ids[index]
    return flat, np.bincount(flat, minlength=count) < areas


def _united(runs: Runs, size: int) -> Runs:
    """Merge the runs of each segment that overlap or touch, and drop the empty ones: order of id, then of start."""
    keep = runs.stops > runs.starts
    ids = runs.ids[keep]
    # one number line on which each segment has its own stretch, so that no run can reach into another segment's
    starts, stops = ids * (size + 1) + runs.starts[keep], ids * (size + 1) + runs.stops[keep]
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(stops[order])
    first = np.ones(len(starts), bool)
    first[1:] = starts[1:] > reach[:-1]
    last = np.append(first[1:], True) if len(first) else first
    owners = starts[first] // (size + 1)
    return Runs(starts[first] - owners * (size + 1), reach[last] - owners * (size + 1), owners)


def _paint_disjoint(runs: Runs, size: int) -> Int32[np.ndarray, " size"]:
    steps = np.zeros(size + 1, np.int32)
    # no two runs share a start, nor two a stop, but a stop may be another run's start: hence two separate additions
    steps[runs.starts] += runs.ids.astype(np.int32)
    steps[runs.stops] -= runs.ids.astype(np.int32)
    return np.cumsum(steps[:-1], dtype=np.int32, out=steps[:-1])


_BITS, _SIGN, _MORE, _FIRST_CHARACTER = 5, 16, 32, 48
_MOST_GROUPS = 12  # 60 bits, far above any length


def encode_label_map(labels: Int32[np.ndarray, "h w"]) -> list[str]:
    """The compressed run lengths of each segment 1..K, all of which occur, in one pass over the map."""
    runs = find_runs(labels.T.ravel())
    counts, offsets = _runs_to_counts(runs, labels.size)
    return compress_counts(counts, offsets)


def _runs_to_counts(runs: Runs, size: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " k1"]]:
    """Lengths of the runs outside and inside, segment after segment, and where each segment's begin."""
    order = np.argsort(runs.ids, kind="stable")
    starts, stops, ids = runs.starts[order], runs.stops[order], runs.ids[order]
    first = np.ones(len(ids), bool)
    first[1:] = ids[1:] != ids[:-1]
    last = np.roll(first, -1)  # before each first comes a last, and the first of all is one
    before = np.where(first, 0, np.roll(stops, 1))
    # each run: the gap before it and its length; the last of a segment also what remains, unless that is nothing
    table = np.stack((starts - before, stops - starts, size - stops), axis=1)
    written = np.ones(table.shape, bool)
    written[:, 2] = last & (stops < size)
    lengths = np.add.reduceat(written.sum(axis=1), np.flatnonzero(first)) if len(ids) else np.zeros(0, np.int64)
    return table[written], _offsets(lengths)


def compress_counts(counts: Int64[np.ndarray, " n"], offsets: Int64[np.ndarray, " k1"]) -> list[str]:
    """The text form of run lengths, mask after mask; `offsets` are where each mask's begin, and their number."""
    position = np.arange(len(counts)) - np.repeat(offsets[:-1], np.diff(offsets))
    values = counts.copy()
    differs = np.flatnonzero(position > 2)
    values[differs] -= counts[differs - 2]
    characters = np.zeros((len(values), _MOST_GROUPS), np.uint8)
    used = np.zeros((len(values), _MOST_GROUPS), bool)
    rest, going = values, np.ones(len(values), bool)
    for group in range(_MOST_GROUPS):
        low, rest = rest & (_MORE - 1), rest >> _BITS
        more = np.where(low & _SIGN, rest != -1, rest != 0)
        characters[:, group] = low + _MORE * more + _FIRST_CHARACTER
        used[:, group] = going
        going = going & more
        if not going.any():
            break
    text = characters[used].tobytes().decode("ascii")
    ends = _offsets(used.sum(axis=1))[offsets]
    return [text[start:stop] for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]


def decompress_counts(texts: Sequence[str]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " k1"]]:
    """Run lengths, mask after mask, and where each mask's begin: the inverse of `compress_counts`.

    Raises:
        ValueError: If a text is not in the compressed form.
    """
    joined = "".join(texts)
    characters = np.frombuffer(joined.encode(), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    if not joined.isascii() or np.any((characters < 0) | (characters >= 2 * _MORE)):
        raise ValueError("compressed run lengths hold a character that cannot be in them")
    final = (characters & _MORE) == 0
    if not np.all(final[ends[ends > 0] - 1]):
        raise ValueError("compressed run lengths end in the middle of a number")
    stops = np.flatnonzero(final) + 1
    starts = np.concatenate((np.zeros(1, np.int64), stops[:-1])) if len(stops) else stops
    if np.any(stops - starts > _MOST_GROUPS):
        raise ValueError("compressed run lengths hold a number of more than 60 bits")
    group = np.arange(len(characters)) - np.repeat(starts, stops - starts)
    parts = (characters & (_MORE - 1)) << (_BITS * group)
    values = np.add.reduceat(parts, starts) if len(starts) else np.zeros(0, np.int64)
    negative = (characters[stops - 1] & _SIGN) != 0
    values -= np.where(negative, np.int64(1) << (_BITS * (stops - starts)), 0)
    offsets = np.concatenate((np.zeros(1, np.int64), np.searchsorted(stops, ends, side="right")))
    return _undo_differences(values, offsets), offsets


def _undo_differences(values: Int64[np.ndarray, " n"], offsets: Int64[np.ndarray, " k1"]) -> Int64[np.ndarray, " n"]:
    """Sum every second value within each mask; its first value stands alone."""
    mask = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    position = np.arange(len(values)) - offsets[mask]
    # chains: the first value, then the odd positions, then the even positions from the second on
    chain = np.where(position == 0, 0, 2 - position % 2)
    order = np.lexsort((position, chain, mask))
    sums = np.cumsum(values[order])
    first = np.ones(len(values), bool)
    first[1:] = (np.diff(mask[order]) != 0) | (np.diff(chain[order]) != 0)
    lengths = np.diff(np.append(np.flatnonzero(first), len(values)))
    before = np.repeat(sums[first] - values[order][first], lengths)
    counts = np.empty_like(values)
    counts[order] = sums - before
    return counts


def counts_to_runs(
    counts: Int64[np.ndarray, " n"], offsets: Int64[np.ndarray, " k1"], ids: Int64[np.ndarray, " k"], size: int
) -> Runs:
    """Runs inside the masks, in the flattened column-major map.

    Args:
        counts: Run lengths, mask after mask, outside first.
        offsets: Where each mask's begin, and n.
        ids: The segment of each mask.
        size: H * W.

    Raises:
        ValueError: If a mask's lengths do not add up to `size`.
    """
    lengths = np.diff(offsets)
    total = _offsets(counts)
    if np.any((counts < 0) | (counts > size)) or np.any(np.diff(total[offsets]) != size):
        raise ValueError(f"the run lengths of each mask must be at least 0 and add up to its {size} pixels")
    mask = np.repeat(np.arange(len(lengths)), lengths)
    inside = (np.arange(len(counts)) - offsets[mask]) % 2 == 1
    stops = total[1:] - total[offsets[mask]]
    return Runs((stops - counts)[inside], stops[inside], ids[mask[inside]])


def _offsets(lengths: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " k1"]:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
