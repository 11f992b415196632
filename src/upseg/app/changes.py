"""One correction as a value that can be done, undone, and kept in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Int64

Runs = list[list[int]]
"""`[first, count]` of numbers that follow each other, or `[first, count, value]` where each has the same value."""


def to_runs(numbers: Int64[np.ndarray, " n"], values: Int64[np.ndarray, " n"] | None = None) -> Runs:
    """Ascending numbers as runs.

    Example:
        >>> to_runs(np.array([3, 4, 5, 9]))
        [[3, 3], [9, 1]]
    """
    if len(numbers) == 0:
        return []
    breaks = np.diff(numbers) != 1
    if values is not None:
        breaks |= np.diff(values) != 0
    starts = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    counts = np.diff(np.concatenate((starts, [len(numbers)])))
    columns = [numbers[starts], counts] + ([] if values is None else [values[starts]])
    return [list(map(int, row)) for row in zip(*columns, strict=True)]


def numbers_of(runs: Sequence[Sequence[int]], least: int, most: int) -> Int64[np.ndarray, " n"]:
    """The numbers of runs, ascending, each once.

    Raises:
        ValueError: If one is not within `least` and `most`.
    """
    found = set()
    for run in runs:
        if len(run) < 2 or run[0] < least or run[1] < 1 or run[0] + run[1] - 1 > most:
            raise ValueError(f"runs are [first, count] with numbers from {least} to {most}, got {list(run)[:3]}")
        found.add((run[0], run[1]))
    parts = [np.arange(first, first + count) for first, count in sorted(found)]
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class PixelChange:
    """Pixels that went from some pieces to others.

    Attributes:
        box: (first row, first column, last row + 1, last column + 1) of what changed.
        mask: (h, w) which pixels of the box.
        before: (n,) the piece of each of these pixels before, in row-major order.
        after: (n,) and afterwards.
    """

    box: tuple[int, int, int, int]
    mask: Bool[np.ndarray, "h w"]
    before: Int32[np.ndarray, " n"]
    after: Int32[np.ndarray, " n"]

    def apply(self, pieces: Int32[np.ndarray, "h2 w2"], *, forward: bool) -> None:
        """Put the pixels where they belong; twice is as good as once."""
        top, left, bottom, right = self.box
        pieces[top:bottom, left:right][self.mask] = self.after if forward else self.before

    def save(self, path: Path) -> None:
        """Write it; the file is there before the journal speaks of it."""
        box, mask = np.array(self.box), np.packbits(self.mask)
        with path.open("wb") as file:
            np.savez_compressed(file, box=box, mask=mask, before=self.before, after=self.after)

    @classmethod
    def load(cls, path: Path) -> PixelChange:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            top, left, bottom, right = map(int, arrays["box"])
            count = (bottom - top) * (right - left)
            mask = np.unpackbits(arrays["mask"], count=count).astype(bool).reshape(bottom - top, right - left)
            return cls((top, left, bottom, right), mask, arrays["before"], arrays["after"])


@dataclass(frozen=True)
class Change:
    """One correction.

    Attributes:
        kind: What the user did.
        pins: `[first piece, count, key]` from now on; 0 follows the level of detail, -1 is void.
        pins_before: The same before.
        detail: The level of detail before and from now on; None where it stays.
        names: For keys of segments their class before and from now on.
        created: The pieces that it makes: `[[first row, first column, last row + 1, last column + 1], ...]` each.
        areas: `[piece, pixels more or less]`.
        pixels: The number of the file with the `PixelChange`; None where no pixel changes piece.
        keys: How many new segments it makes.
        box: What to draw again; None for nothing but colours.
    """

    kind: str
    pins: Runs = field(default_factory=list)
    pins_before: Runs = field(default_factory=list)
    detail: tuple[float, float] | None = None
    names: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    created: list[list[int]] = field(default_factory=list)
    areas: list[list[int]] = field(default_factory=list)
    pixels: int | None = None
    keys: int = 0
    box: list[int] | None = None

    def as_json(self) -> dict[str, Any]:
        """For the journal, without what is empty."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value not in (None, [], {}, 0)} | {"kind": self.kind}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Change:
        """The inverse of `as_json`."""
        detail = values.get("detail")
        names = {key: (pair[0], pair[1]) for key, pair in values.get("names", {}).items()}
        return cls(**{**values, "names": names, "detail": None if detail is None else (detail[0], detail[1])})


class Journal:
    """A file, which need not be there yet, with a line for all that was done; one that a kill cut short never was."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; what comes after the last of them is cut off."""
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self.path, whole)
        return [json.loads(line) for line in data[:whole].splitlines()]

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line and see it on the disk before anything else happens."""
        with self.path.open("ab") as file:
            file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
