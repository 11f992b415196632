"""What happens beside the learning: pictures, and random numbers that do not depend on the past."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger

from upseg.files import write_picture


class ValidationPictures(Callback):
    """Draws the first batches of each validation: PNG files in the run's folder, and pictures in TensorBoard.

    So are the batches that Lightning looks at before the first step (`trainer.num_sanity_val_steps`): what the network
    can before it learns, `start-0-01.png`.

    What is drawn the method says: `draw_validation(batch)` of its LightningModule returns a picture (H, W, 3) uint8. It
    runs in the first process alone, so it must not talk to the others. A method without it gets no pictures.

    Args:
        count: Batches of each data set that are drawn; 0 for none.

    Raises:
        ValueError: If `count` is negative.
    """

    def __init__(self, count: int = 4) -> None:
        if count < 0:
            raise ValueError(f"the number of pictures must be at least 0, got {count}")
        self.count = count

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: torch.Tensor | Mapping[str, Any] | None,  # noqa: ARG002
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw a batch, if it is one of the first."""
        draw = getattr(pl_module, "draw_validation", None)
        trial = trainer.fast_dev_run  # type: ignore[attr-defined]
        if draw is None or batch_idx >= self.count or trial or not trainer.is_global_zero:
            return
        picture = draw(batch)
        if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape[2:] == (3,)):
            raise TypeError(f"draw_validation must return a (H, W, 3) uint8 array, got {type(picture).__name__}")
        name = f"{dataloader_idx}-{batch_idx:02d}"
        folder = Path(trainer.default_root_dir) / "pictures"
        when = "start" if trainer.sanity_checking else f"epoch-{trainer.current_epoch:04d}"
        write_picture(folder / f"{when}-{name}.png", picture)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(f"validation/{name}", picture, trainer.global_step, dataformats="HWC")


class SeededEpochs(Callback):
    """Sets all random generators at the start of each epoch, from the seed, the epoch and the process.

    A training that is resumed then draws what it would have drawn, without the states of generators in checkpoints.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Set the generators."""
        entropy = (self.seed, trainer.current_epoch, trainer.global_rank)
        seed_everything(int(np.random.SeedSequence(entropy).generate_state(1)[0]), verbose=False)


class LearningRates(Callback):
    """Logs the learning rate, that of the last group of parameters, which no layer decay makes smaller."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Log the rate of the step."""
        if trainer.optimizers:
            rate = trainer.optimizers[0].param_groups[-1]["lr"]
            pl_module.log("learning_rate", rate, on_step=True, on_epoch=False, batch_size=1)
