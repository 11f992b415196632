"""Data sets that are small enough to be read once."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection
from pathlib import Path

from upseg.data.dataset import Dataset, Derived
from upseg.data.sample import Sample
from upseg.errors import DataError


class InMemory(Derived):
    """Reads each sample once and keeps it, in every process that reads it; what has no room is read anew.

    Args:
        dataset: What is read.
        memory: For what is kept, in GiB; None for as much as it takes.

    Raises:
        ValueError: If `memory` is negative.
    """

    def __init__(self, dataset: Dataset, memory: float | None = None) -> None:
        if memory is not None and memory < 0:
            raise ValueError(f"memory must be at least 0 GiB, got {memory}")
        super().__init__(dataset)
        self._kept: dict[int, Sample] = {}
        self._room = math.inf if memory is None else memory * 2**30  # bytes

    def load(self, index: int) -> Sample:
        """Read a sample, or give the one that was read before."""
        if index in self._kept:
            return self._kept[index]
        sample = super().load(index)
        size = sample.image.nbytes + sum(labels.nbytes for labels in sample.annotations)
        if size <= self._room:
            self._room -= size
            self._kept[index] = sample
        return sample


class ListedKind(Derived):
    """Those images of a data set that a table calls one of some kinds.

    Args:
        dataset: The whole.
        table: A CSV file with a column of the images' names and one of their kinds.
        kinds: Which to take.
        name_column: Of the table.
        kind_column: Of the table.

    Raises:
        DataError: If the table cannot be read or lacks a column, or no image is of these kinds.
    """

    def __init__(
        self,
        dataset: Dataset,
        table: str | Path,
        kinds: Collection[str],
        name_column: str = "id",
        kind_column: str = "kind",
    ) -> None:
        listed = _read_table(Path(table), name_column, kind_column)
        indices = [i for i, name in enumerate(dataset.names) if listed.get(name) in kinds]
        if not indices:
            found = ", ".join(sorted(set(listed.values())))
            raise DataError(f"{table}: no image of the data set is of the kinds {', '.join(kinds)}; there are {found}")
        super().__init__(dataset, indices)


def _read_table(table: Path, name_column: str, kind_column: str) -> dict[str, str]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return {row[name_column]: row[kind_column] for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table}: this table cannot be read ({error})") from error
    except KeyError as error:
        raise DataError(f"{table}: expected columns {name_column} and {kind_column}, there is no {error}") from error
