"""Checkpoints: written whole or not at all, read without unpickling anything, the last one and the best one kept."""

from __future__ import annotations

import math
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from upseg.errors import ModelError
from upseg.files import atomic_path
from upseg.models.checkpoints import load_checkpoint

LAST = "last.ckpt"
BEST = "best.ckpt"
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file and renames it; reads tensors and plain types only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint; whatever stops that, the file of this name is a whole one.

        Raises:
            TypeError: If it holds anything that could not be read again.
        """
        if storage_options is not None:
            raise TypeError("checkpoints go to local files, which take no storage_options")
        _check_plain(checkpoint, "checkpoint")
        with atomic_path(path) as partial:
            torch.save(checkpoint, partial)

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Read a checkpoint, to the CPU; one that holds anything but tensors and plain types is always refused."""
        return read_training_state(path)


def _check_plain(value: Any, name: str) -> None:
    """Refuse what `torch.load(weights_only=True)` refuses."""
    if type(value) in (dict, OrderedDict):
        for key, inner in value.items():
            _check_plain(key, f"a key of {name}")
            _check_plain(inner, f"{name}[{key!r}]")
    elif type(value) in (list, tuple, set, torch.Size):
        for inner in value:
            _check_plain(inner, f"an element of {name}")
    elif not (type(value) in _PLAIN or isinstance(value, torch.Tensor)):
        raise TypeError(
            f"{name} is of type {type(value).__name__}, but only tensors and plain types can be read back; "
            "a method that calls save_hyperparameters must leave out its objects"
        )


def read_training_state(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of a training, all of it, to go on with.

    Raises:
        ModelError: If it is no such file, or holds anything but tensors and plain types.
    """
    checkpoint = load_checkpoint(path)
    if not (isinstance(checkpoint, dict) and {"state_dict", "epoch", "global_step"} <= set(checkpoint)):
        raise ModelError(f"{path} is no checkpoint of a training: it has no state_dict, epoch and global_step")
    return checkpoint


class KeepCheckpoints(Checkpoint):
    """After each epoch, validation included, writes `last.ckpt`, and `best.ckpt` if a metric was never better.

    Args:
        monitor: The metric, as the method logs it in validation; None keeps the last checkpoint only.
        mode: Whether more or less of it is better. Of equal ones the first is kept, and what is not a number is worst.
    """

    def __init__(self, monitor: str | None = None, mode: Literal["max", "min"] = "max") -> None:
        self.monitor = monitor
        self.mode = mode
        self.best: float | None = None
        self._validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Note that there are new metrics."""
        self._validated = not trainer.sanity_checking
        if self._validated and self.monitor is not None and self.monitor not in trainer.callback_metrics:
            logged = ", ".join(sorted(map(str, trainer.callback_metrics))) or "none"
            raise ValueError(f"checkpoint.monitor is {self.monitor!r}, which is not logged; the metrics are {logged}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the checkpoints."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = Path(trainer.default_root_dir) / "checkpoints"
        improved = self._validated and self._improves(trainer)
        self._validated = False
        trainer.save_checkpoint(folder / LAST)
        if improved and trainer.is_global_zero:
            with atomic_path(folder / BEST) as partial:
                shutil.copyfile(folder / LAST, partial)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, so that a resumed training goes on comparing with it."""
        return {"monitor": self.monitor, "mode": self.mode, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best value, unless another metric is monitored now."""
        if (state_dict["monitor"], state_dict["mode"]) == (self.monitor, self.mode):
            self.best = state_dict["best"]

    def _improves(self, trainer: Trainer) -> bool:
        if self.monitor is None:
            return False
        value = float(trainer.callback_metrics[self.monitor])
        if self.best is None or math.isnan(self.best):
            better = self.best is None or not math.isnan(value)
        else:
            better = value > self.best if self.mode == "max" else value < self.best
        if better:
            self.best = value
        return better
