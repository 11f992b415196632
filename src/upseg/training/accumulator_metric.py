"""Any accumulator as a `torchmetrics.Metric`, for logging in training and for several processes.

Needs the `train` extra. Torchmetrics gathers the states of all processes before `compute`: sums are added, rows
concatenated. The values keep NumPy's types (float64, int64) whatever the model's precision is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from upseg.metrics.accumulator import Accumulator


class AccumulatorMetric(Metric):
    """A `torchmetrics.Metric` with the state of an accumulator.

    `update` takes the accumulator's own arguments. Tensors among them, of any device, are handed on as arrays, unless
    the accumulator works on tensors itself.

    Args:
        accumulator: Not yet updated; it is copied.
        keep_tensors: Hand tensors on as they are.
    """

    full_state_update = False

    def __init__(self, accumulator: Accumulator, *, keep_tensors: bool = False) -> None:
        super().__init__()
        self._empty = copy.deepcopy(accumulator)
        self._keep_tensors = keep_tensors
        for name, total in accumulator.sums.items():
            self.add_state(f"sum_{name}", _tensor(total), dist_reduce_fx="sum")
        for name in accumulator.chunks:
            self.add_state(f"rows_{name}", [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        # a process that saw no image still needs something of the right type and width to gather
        for name, chunks in self._empty.chunks.items():
            setattr(self, f"rows_{name}", [_tensor(chunks[0], self.device)])

    def update(self, *arguments: Any, **keywords: Any) -> None:
        """Add one image: the accumulator's `update`."""
        one = copy.deepcopy(self._empty)
        one.update(*map(self._as_array, arguments), **{name: self._as_array(v) for name, v in keywords.items()})
        for name, total in one.sums.items():
            state = getattr(self, f"sum_{name}")
            setattr(self, f"sum_{name}", state + _tensor(total, state.device))
        for name in one.chunks:
            getattr(self, f"rows_{name}").append(_tensor(one.rows(name), self.device))

    def compute(self) -> Mapping[str, Any]:
        """The accumulator's `compute`, over the images of all processes."""
        every = copy.deepcopy(self._empty)
        for name in every.sums:
            every.sums[name] = getattr(self, f"sum_{name}").cpu().numpy()
        for name in every.chunks:
            every.chunks[name] = [dim_zero_cat(getattr(self, f"rows_{name}")).cpu().numpy()]
        return every.compute()

    def _as_array(self, value: Any) -> Any:
        """Tensors as arrays, and sequences of them as lists of arrays; all else as it is."""
        if self._keep_tensors:
            return value
        if isinstance(value, Tensor):
            return value.detach().cpu().numpy()
        return [self._as_array(item) for item in value] if isinstance(value, list | tuple) else value


def _tensor(values: np.ndarray, device: torch.device | None = None) -> Tensor:
    """A tensor with a copy of the values."""
    return torch.tensor(values, device=device)
