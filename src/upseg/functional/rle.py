"""COCO's run-length encoding, for all segments of a label map at once.

A mask is flattened column by column and written as the lengths of its runs: outside, inside, outside, and so on. The
compressed form is text: from the fourth length on the difference to the length two before it, each number in groups
of five bits, lowest first, the bit of value 32 set while more groups follow, each group plus 48 as an ASCII character.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32, Int64

from upseg.functional.runs import Runs, find_runs

_BITS, _SIGN, _MORE, _FIRST_CHARACTER = 5, 16, 32, 48
_MOST_GROUPS = 12  # 60 bits, far above any length


def encode_label_map(labels: Int32[np.ndarray, "h w"]) -> list[str]:
    """The compressed run lengths of each segment 1..K, all in one pass over the map.

    Args:
        labels: (H, W), 0 void; each of 1..K occurs.
    """
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
    """The text form of run lengths.

    Args:
        counts: Run lengths, mask after mask.
        offsets: Where each mask's begin, and n.
    """
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
