"""Data sets that are small enough to be read once."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from upseg.data.dataset import Dataset, Derived
from upseg.data.sample import Sample
from upseg.errors import DataError


class InMemory(Derived):
    """Reads each sample once and keeps it, image and all, in every process that reads it.

    Args:
        dataset: What is read; its images have to fit into memory.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self._kept: dict[int, Sample] = {}

    def load(self, index: int) -> Sample:
        """Read a sample, or give the one that was read before."""
        if index not in self._kept:
            self._kept[index] = super().load(index)
        return self._kept[index]


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
