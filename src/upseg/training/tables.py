"""The numbers of a training: for TensorBoard, and as a CSV file; the first process writes them."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch.utilities.rank_zero  # noqa: F401 - importing it finds out the rank
import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from upseg.files import atomic_path


def is_first_process() -> bool:
    """Whether this process writes the files of the training."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


_FIRST = ("epoch", "step")


class TensorBoard(TensorBoardLogger):
    """TensorBoard's event files, straight in the run's folder.

    Args:
        folder: The run's folder.
        resumed_step: TensorBoard hides what a killed training wrote from this step on.
    """

    def __init__(self, folder: Path, resumed_step: int | None = None) -> None:
        super().__init__(folder, name="", version="", default_hp_metric=False, purge_step=resumed_step)

    def save(self) -> None:
        """Write what is held back; the configuration is a file of the run's already."""
        if is_first_process():
            self.experiment.flush()


class MetricsTable(Logger):
    """Appends one row to a CSV file each time that metrics are logged; what was not logged then is empty.

    Args:
        path: The file.
        start_epoch: Rows from this epoch on, which a killed training left behind, are taken out; 0 begins anew.
    """

    def __init__(self, path: Path, start_epoch: int = 0) -> None:
        super().__init__()
        self.path = path
        self._start_epoch = start_epoch
        self._columns: list[str] | None = None

    @property
    def name(self) -> str:
        """Nothing: the run's folder has a name."""
        return ""

    @property
    def version(self) -> str:
        """Nothing: the run's folder has a name."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the configuration is in the run's folder."""

    def log_metrics(self, metrics: Mapping[str, float | int], step: int | None = None) -> None:
        """Append a row, in the first process alone."""
        if not is_first_process():
            return
        row = {"step": step, **{name: _shortest(value) for name, value in metrics.items()}}
        if self._columns is None:
            self._take_over()
        assert self._columns is not None  # noqa: S101 - for the type checker
        added = sorted({*row} - {*self._columns})
        if added:
            rows = self._read()
            self._columns += added
            self._write(rows)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)

    def _take_over(self) -> None:
        """Keep the rows of the epochs that are not trained again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in self._read() if row["epoch"].isdecimal() and int(row["epoch"]) < self._start_epoch]
        self._columns = list(kept[0]) if kept else list(_FIRST)
        self._write(kept)

    def _read(self) -> list[dict[str, str]]:
        """The rows of the file; a last one that was cut off by a crash lacks cells and is left out."""
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            return [row for row in csv.DictReader(file) if None not in row.values() and None not in row]

    def _write(self, rows: list[dict[str, str]]) -> None:
        with atomic_path(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns or _FIRST, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _shortest(value: float | int) -> float | int | str:
    """Lightning keeps float32: the shortest text that stands for the same, such as 0.1 for 0.10000000149011612."""
    single = np.float32(value)
    return str(single) if float(single) == value and not float(value).is_integer() else value
