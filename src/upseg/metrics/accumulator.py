"""What the metrics that run over a whole data set share: totals that several processes can merge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

import numpy as np

from upseg.segmentation import Category


class Accumulator(ABC):
    """The running totals of one metric over images.

    Subclasses define `update`, which adds one image, and `compute`. All state is in two dictionaries of arrays that are
    never changed in place, so that merging is written once here, and gathering over processes once in
    `upseg.training.accumulator_metric`. Every other attribute is a setting.

    Attributes:
        sums: Arrays that add up over images. Sums of different processes are added.
        chunks: For what cannot be summed: arrays to be concatenated on axis 0, the first of them empty.

    Example:
        >>> from upseg.metrics import CellMatching
        >>> first, second = CellMatching(), CellMatching()
        >>> first.update(np.array([[1, 2]]), np.array([[1, 2]]))
        >>> second.update(np.array([[1, 2]]), np.array([[1, 0]]))
        >>> first.merge(second)
        >>> first.compute()["ap50"]
        0.75
    """

    update: Callable[..., None]

    def __init__(self, sums: Mapping[str, np.ndarray], rows: Mapping[str, np.ndarray] | None = None) -> None:
        self.sums = dict(sums)
        self.chunks = {name: [empty] for name, empty in (rows or {}).items()}

    @abstractmethod
    def compute(self) -> Mapping[str, Any]:
        """The metric over everything seen so far; nan where nothing was seen that it could be computed from."""

    def per_class(self) -> dict[Category, dict[str, float]]:
        """The scores of each class that has occurred; empty for a metric without classes."""
        return {}

    def add(self, **totals: Any) -> None:
        """Add to the sums of these names, each a number or array-like of the sum's shape."""
        for name, total in totals.items():
            if np.shape(total) != self.sums[name].shape:
                raise ValueError(f"{name} must have the shape {self.sums[name].shape}, got {np.shape(total)}")
            self.sums[name] = np.asarray(np.add(self.sums[name], total))

    def append(self, **rows: np.ndarray) -> None:
        """Append rows under these names."""
        for name, new in rows.items():
            self.chunks[name].append(new)

    def rows(self, name: str) -> np.ndarray:
        """All rows under a name."""
        return np.concatenate(self.chunks[name])

    def merge(self, other: Accumulator) -> None:
        """Add what another accumulator of the same type and settings has seen.

        Raises:
            ValueError: If the two are of different types or settings.
        """
        if type(self) is not type(other) or self._settings() != other._settings():
            raise ValueError(
                f"only accumulators of one type and the same settings can be merged, got {type(self).__name__} with "
                f"{self._settings()} and {type(other).__name__} with {other._settings()}"
            )
        self.add(**other.sums)
        for name, chunks in other.chunks.items():
            self.chunks[name].extend(chunks)

    def _settings(self) -> dict[str, Any]:
        """What must be the same for totals to be comparable."""
        shapes = {name: total.shape for name, total in self.sums.items()}
        return {"shapes": shapes} | {k: v for k, v in vars(self).items() if k not in {"sums", "chunks"}}


def ratio(numerator: SupportsFloat, denominator: SupportsFloat) -> float:
    """The quotient, nan where nothing was counted."""
    below = float(denominator)
    return float(numerator) / below if below else float("nan")
