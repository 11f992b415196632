"""CSV: one row of measurements for each segment, for spreadsheets and statistics."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from upseg.errors import FormatError
from upseg.files import atomic_path
from upseg.measurements import measure, summarize
from upseg.segmentation import Segmentation, Table

_DIGITS = 7  # significant ones of a measurement


def write_csv(segmentation: Segmentation, path: Path, image: Float32[np.ndarray, "h w 3"] | None) -> Path:
    """Write `upseg.measurements.measure`; with the colours' columns if there is an image. Empty is unknown."""
    table = measure(segmentation, image)
    columns = [_texts(name, values) for name, values in table.items()]
    write_rows(path, list(table), zip(*columns, strict=True))
    return path


def write_summary(tables: Mapping[str, Path], path: Path) -> Path:
    """Write one row for each image: its number of segments, their areas, and how many of each class.

    Args:
        tables: For each image's name the file that `write_csv` made of its segments.
        path: Where to.

    Raises:
        FormatError: If one of the files is not what `write_csv` writes.
    """
    rows = {name: summarize(_read_table(table)) for name, table in tables.items()}
    names = ["image", *dict.fromkeys(key for row in rows.values() for key in row)]
    counts = [name for name in names if name.startswith("count_")]
    empty = dict.fromkeys(counts, 0)
    found = [{"image": name, **empty, **row} for name, row in rows.items()]
    write_rows(path, names, [[_text(row.get(name)) for name in names] for row in found])
    return path


def _read_table(path: Path) -> Table:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        columns: Table = {"class": np.array([row["class"] for row in rows], object)}
        for name in rows[0] if rows else ("area",):
            if name == "area" or name.startswith("area_"):
                columns[name] = np.array([float(row[name]) for row in rows])
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise FormatError(f"{path}: cannot be read as measurements of segments ({error})") from error
    return columns


def write_rows(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, whole or not at all; None is an empty cell."""
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def _texts(name: str, values: np.ndarray) -> list[str]:
    if name == "parent":
        return [str(value) if value else "" for value in values.tolist()]
    return [_text(value) for value in values.tolist()]


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    return str(value)
