"""How two label maps overlap: the table that every region metric here is computed from, with no loop over masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from upseg.functional.label_maps import distinct_values

# A table of more cells than this many per pixel is mostly zeros: sorting the pixels then costs less memory.
_CELLS_PER_PIXEL = 4


@dataclass(frozen=True, slots=True)
class Overlaps:
    """The non-empty cells of the contingency table of two label maps `a` (rows) and `b` (columns).

    Row 0 and column 0 are void (label 0); row i is the i-th smallest non-zero id of `a`. Memory grows with the
    pixels, not with the product of the two numbers of segments.

    Attributes:
        row_ids: The ids of `a` by row, 0 first.
        column_ids: The ids of `b` by column, 0 first.
        row_areas: Pixels of each row.
        column_areas: Pixels of each column.
        rows: Row of each non-empty cell, ascending.
        columns: Column of each non-empty cell.
        counts: Pixels in each non-empty cell, at least 1.
    """

    row_ids: Int64[np.ndarray, " rows"]
    column_ids: Int64[np.ndarray, " columns"]
    row_areas: Int64[np.ndarray, " rows"]
    column_areas: Int64[np.ndarray, " columns"]
    rows: Int64[np.ndarray, " cells"]
    columns: Int64[np.ndarray, " cells"]
    counts: Int64[np.ndarray, " cells"]

    def ious(self) -> Float64[np.ndarray, " cells"]:
        """Intersection over union of each cell's two segments, in (0, 1]; void cells are among them."""
        unions = self.row_areas[self.rows] + self.column_areas[self.columns] - self.counts
        return np.asarray(self.counts / unions)

    def between_segments(self) -> Bool[np.ndarray, " cells"]:
        """Which cells are void in neither map."""
        return (self.rows > 0) & (self.columns > 0)

    def best_cells(self) -> tuple[Float64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
        """For each segment of `a` the best IoU over the segments of `b`, and the cell of that pair.

        Returns:
            Two (Ka,) arrays, rows 1..Ka in order: the IoU in [0, 1] (0 where no segment of `b` touches it), and the
            index of the cell (-1 for none; that of the smallest id of `b` among equals).
        """
        cells = np.flatnonzero(self.between_segments())
        rows, ious = self.rows[cells], self.ious()[cells]
        best = np.zeros(len(self.row_ids))
        np.maximum.at(best, rows, ious)
        matched = np.full(len(self.row_ids), -1)
        ties = np.flatnonzero(ious == best[rows])[::-1]  # backwards, so that the smallest column is written last
        matched[rows[ties]] = cells[ties]
        return best[1:], matched[1:]


def overlaps(
    a: Integer[np.ndarray, "*shape"],
    b: Integer[np.ndarray, "*shape"],
    valid: Bool[np.ndarray, "*shape"] | None = None,
) -> Overlaps:
    """Count the pixels that each segment of `a` shares with each segment of `b`, in one pass.

    Args:
        a: Integers >= 0, 0 void.
        b: Integers >= 0 of the same shape, 0 void.
        valid: Pixels to count; all of them where it is None.

    Raises:
        ValueError: If the shapes differ, or a map is not one of integers >= 0.
    """
    return _count(a, b, valid).as_overlaps()


def overlaps_by_pixel(
    a: Integer[np.ndarray, "*shape"],
    b: Integer[np.ndarray, "*shape"],
    valid: Bool[np.ndarray, "*shape"] | None = None,
) -> tuple[Overlaps, Int64[np.ndarray, " pixels"]]:
    """As `overlaps`, and for each valid pixel in row-major order the index of its cell: to count more than pixels."""
    found = _count(a, b, valid)
    return found.as_overlaps(), found.cell_of_pixel()


def sum_by(
    groups: Int64[np.ndarray, " cells"], counts: Integer[np.ndarray, " cells"], length: int
) -> Int64[np.ndarray, " groups"]:
    """Sum `counts` by group; exact, as float64 holds integers up to 2^53."""
    return np.bincount(groups, weights=counts, minlength=length).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Cells:
    """What counting pairs of values yields: the values, each pair's position in their table (ascending) and pixels."""

    row_values: np.ndarray
    column_values: np.ndarray
    positions: Int64[np.ndarray, " cells"]
    counts: Integer[np.ndarray, " cells"]
    cell_of_pixel: Callable[[], Int64[np.ndarray, " pixels"]]

    def as_overlaps(self) -> Overlaps:
        """Number the rows and columns that occur, and void."""
        rows, columns = np.divmod(self.positions, len(self.column_values))
        row_values, column_values = (
            self.row_values[rows].astype(np.int64),
            self.column_values[columns].astype(np.int64),
        )
        row_ids = np.union1d(row_values, np.zeros(1, np.int64))
        column_ids = np.union1d(column_values, np.zeros(1, np.int64))
        rows, columns = np.searchsorted(row_ids, row_values), np.searchsorted(column_ids, column_values)
        return Overlaps(
            row_ids=row_ids,
            column_ids=column_ids,
            row_areas=sum_by(rows, self.counts, len(row_ids)),
            column_areas=sum_by(columns, self.counts, len(column_ids)),
            rows=rows,
            columns=columns,
            counts=self.counts.astype(np.int64, copy=False),
        )


def _count(
    a: Integer[np.ndarray, "*shape"], b: Integer[np.ndarray, "*shape"], valid: Bool[np.ndarray, "*shape"] | None
) -> _Cells:
    """Count the pixels of each pair of values."""
    if a.shape != b.shape:
        raise ValueError(f"the two label maps must have the same shape, got {a.shape} and {b.shape}; resize one first")
    if valid is not None:
        a, b = a[valid], b[valid]
    height, width = _largest_id(a) + 1, _largest_id(b) + 1
    dense = height * width <= _CELLS_PER_PIXEL * max(a.size, 1024)
    return _count_dense(a.ravel(), b.ravel(), height, width) if dense else _count_runs(a.ravel(), b.ravel())


def _count_dense(
    a: Integer[np.ndarray, " pixels"], b: Integer[np.ndarray, " pixels"], height: int, width: int
) -> _Cells:
    """Small ids: no sort, one count of the fused pairs."""
    fused = _fuse(a, b, width)
    table = np.bincount(fused, minlength=height * width)
    positions = np.flatnonzero(table)

    def cell_of_pixel() -> Int64[np.ndarray, " pixels"]:
        cells = np.zeros(len(table), np.int64)
        cells[positions] = np.arange(len(positions))
        return np.asarray(cells[fused])

    return _Cells(np.arange(height), np.arange(width), positions, table[positions], cell_of_pixel)


def _count_runs(a: Integer[np.ndarray, " pixels"], b: Integer[np.ndarray, " pixels"]) -> _Cells:
    """Ids of any size: sorts the runs of equal neighbours, of which an image has few, not its pixels."""
    changes = np.flatnonzero((a[1:] != a[:-1]) | (b[1:] != b[:-1])) + 1
    starts = np.concatenate([np.zeros(1, np.int64), changes])
    lengths = np.diff(starts, append=a.size)
    (row_values, rows), (column_values, columns) = distinct_values(a[starts]), distinct_values(b[starts])
    fused, cells = _fuse(rows, columns, len(column_values)), len(row_values) * len(column_values)
    if cells <= _CELLS_PER_PIXEL * max(a.size, 1024):
        table = sum_by(fused, lengths, cells)
        positions = np.flatnonzero(table)
        numbers = np.zeros(cells, np.int64)
        numbers[positions] = np.arange(len(positions))
        counts, cell_of_run = table[positions], numbers[fused]
    else:
        positions, cell_of_run = np.unique(fused, return_inverse=True)
        counts = sum_by(cell_of_run, lengths, len(positions))
    return _Cells(row_values, column_values, positions, counts, lambda: np.repeat(cell_of_run, lengths))


def _largest_id(labels: Integer[np.ndarray, "*shape"]) -> int:
    """The largest id of a map; 0 for one without pixels. Raises a ValueError if it is no label map."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers >= 0, got {labels.dtype} of shape {labels.shape}")
    if labels.size == 0:
        return 0
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise ValueError(f"labels must be integers >= 0, got {low}; exclude ignored pixels with `valid` instead")
    if high >= 2**63:
        raise ValueError(f"labels must be less than 2^63, got {high}")
    return high


def _fuse(
    a: Integer[np.ndarray, " pixels"], b: Integer[np.ndarray, " pixels"], width: int
) -> Int64[np.ndarray, " pixels"]:
    """One number for each pair of values."""
    fused = np.multiply(a, width, dtype=np.int64, casting="unsafe")
    return np.asarray(np.add(fused, b, out=fused, casting="unsafe"))
