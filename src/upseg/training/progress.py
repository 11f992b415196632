"""What is said while a training runs: a line for each step, and one for each epoch."""

from __future__ import annotations

import math
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from upseg.training.time_limit import time_limit_of

_PAUSE = 10.0  # seconds between two lines where lines stay


class Progress(Callback):
    """Says after each step how far the training is, what it loses and when it ends; and how each epoch was.

    On a terminal the step's line is always the last one, and is written anew; elsewhere, as in a file, a line of a step
    comes every ten seconds.

    Args:
        live: Whether to write the step's line anew; None for whether this is a terminal.
        pause: Seconds between the lines of steps, where they stay.
    """

    def __init__(self, live: bool | None = None, pause: float = _PAUSE) -> None:
        self._console = Console()
        self._live = self._console.is_terminal if live is None else live
        self._pause = pause
        self._status: Status | None = None
        self._epoch_began = self._said = time.monotonic()
        self._began: tuple[float, int] = (self._said, 0)  # when, and at which step

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say what the network can before it learns."""
        self._print(trainer, f"before the first step: {self._shown(trainer, without=('loss',)) or 'looked'}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._said = time.monotonic()
        self._began = (self._said, trainer.global_step)
        if self._live and trainer.is_global_zero:
            self._status = self._console.status("the first step")
            self._status.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the epoch's clock."""
        self._epoch_began = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """The line of the step."""
        now = time.monotonic()
        if self._status is None and now - self._said < self._pause:
            return
        self._said = now
        line = f"step {trainer.global_step}{self._of_steps(trainer)}: {self._shown(trainer)}, {self._left(trainer)}"
        if self._status is not None:
            self._status.update(escape(line))
        else:
            self._print(trainer, line)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """The line of the epoch."""
        of = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        seconds = f"{time.monotonic() - self._epoch_began:.1f} s"
        self._print(trainer, f"epoch {trainer.current_epoch + 1}{of}: {', '.join([self._shown(trainer), seconds])}")

    def on_fit_end(self, *_: Any, **__: Any) -> None:
        """Take the step's line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    on_exception = on_fit_end

    def _print(self, trainer: Trainer, line: str) -> None:
        if trainer.is_global_zero:
            self._console.print(line, highlight=False, markup=False)

    def _shown(self, trainer: Trainer, without: tuple[str, ...] = ()) -> str:
        values = trainer.progress_bar_metrics.items()
        return ", ".join(f"{name} {float(value):.4g}" for name, value in values if name not in without)

    def _of_steps(self, trainer: Trainer) -> str:
        steps = trainer.estimated_stepping_batches
        return f"/{int(steps)}" if math.isfinite(steps) else ""

    def _left(self, trainer: Trainer) -> str:
        """The time until the end: by the limit, or by the steps that are left if that is less."""
        began, first = self._began
        limit, steps = time_limit_of(trainer), trainer.estimated_stepping_batches - trainer.global_step
        by_steps = steps * (time.monotonic() - began) / max(1, trainer.global_step - first)
        seconds = min(by_steps, math.inf if limit is None else limit.left)
        return f"{minutes(seconds)} left" if math.isfinite(seconds) else f"{minutes(time.monotonic() - began)} so far"


def minutes(seconds: float) -> str:
    """Minutes and seconds, such as 6:05; hours too where there are some."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
