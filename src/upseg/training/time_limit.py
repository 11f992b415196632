"""A training that ends when the clock says so, inside an epoch too, with time kept for what comes last."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

_LAST = 4.0  # seconds to write the checkpoint and the model, and to end the process
_MARGIN = 1.2  # a validation may take so many times as long as the one before


class TimeLimit(Callback):
    """Ends the training so early that the last validation and checkpoint are done when the minutes are over.

    How long a validation takes is measured; before the first one, at those images that Lightning looks at before the
    training (`trainer.num_sanity_val_steps`). A training that goes on from a checkpoint has the minutes that are left.

    Args:
        minutes: Of wall clock, for everything from `began` on.
        began: When that was, by `time.monotonic`; None for now.

    Raises:
        ValueError: If `minutes` is not positive.
    """

    def __init__(self, minutes: float, began: float | None = None) -> None:
        if not minutes > 0:
            raise ValueError(f"minutes must be positive, got {minutes}")
        self.limit = 60 * minutes
        self._began = time.monotonic() if began is None else began
        self._first: float | None = None  # seconds that had passed before the first step
        self._validation = self._step = self._batch = 0.0  # seconds that one takes; of validation a batch
        self._mark = self._batch_mark = self._began

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, those of the trainings that this one goes on from among them."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.limit - self.elapsed

    @property
    def share(self) -> float:
        """How much of the time for learning has passed, in [0, 1]: what a schedule of the learning rate goes by."""
        if self._first is None:
            return 0.0
        learning = self.limit - self._reserve - self._first
        return min(1.0, max(0.0, (self.elapsed - self._first) / learning)) if learning > 0 else 1.0

    @property
    def _reserve(self) -> float:
        return _MARGIN * self._validation + min(_LAST, 0.1 * self.limit)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """The time for learning begins."""
        self._first = self.elapsed if self._first is None else self._first
        self._mark = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Stop, and validate, if there is no time for one more step like this one."""
        now = time.monotonic()
        self._step, self._mark = now - self._mark, now
        if self._is_over(trainer):
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = 1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Measure."""
        self._mark = self._batch_mark = time.monotonic()

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """Measure; the first batch waits for processes to start."""
        now = time.monotonic()
        self._batch, self._batch_mark = now - self._batch_mark, now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Stop if one more step and one more validation would take too long."""
        now = time.monotonic()
        seconds, self._mark = now - self._mark, now
        if trainer.sanity_checking:  # some of the images
            self._validation = self._batch * sum(trainer.num_val_batches)
            return
        self._validation = seconds
        trainer.should_stop |= self._is_over(trainer)

    def state_dict(self) -> dict[str, Any]:
        """What a training that goes on has to know."""
        return {"elapsed": self.elapsed, "first": self._first, "validation": self._validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting where the training before stopped."""
        self._began -= state_dict["elapsed"]
        self._first, self._validation = state_dict["first"], state_dict["validation"]

    def _is_over(self, trainer: Trainer) -> bool:
        over = self.left < self._reserve + self._step
        # processes that train together must agree
        decided: bool | torch.Tensor = trainer.strategy.reduce_boolean_decision(over, all=False)
        return bool(decided)


def time_limit_of(trainer: Trainer) -> TimeLimit | None:
    """The time limit of a trainer, where it has one."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, TimeLimit)), None)
