"""A short training without files or a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning

from upseg.training.data import MixedDataModule
from upseg.training.schedules import Optimization


def trained(
    task: lightning.LightningModule,
    folder: Path,
    epochs: int,
    data: MixedDataModule,
    rate: float | None = 3e-3,
    **options: Any,
) -> lightning.Trainer:
    """The trainer after a training on the processor that validates at the end alone.

    Args:
        task: What learns.
        folder: Nothing is written there unless a test saves a checkpoint.
        epochs: How many.
        data: To learn from and to validate with.
        rate: Of learning; None for the task's own optimiser.
        options: Of the trainer, in place of or beside those here.
    """
    if rate is not None:
        task.configure_optimizers = lambda: Optimization(rate, warm_up=0.05).configure(task)
    usual = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "check_val_every_n_epoch": epochs,
        "gradient_clip_val": 1.0,
    }
    trainer = lightning.Trainer(default_root_dir=folder, max_epochs=epochs, **{**usual, **options})
    trainer.fit(task, datamodule=data)
    return trainer
