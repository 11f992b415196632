"""A method that trains in a second, and a recipe for it."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import yaml

from upseg.data.batches import Batch
from upseg.segmentation import Category
from upseg.training.cli import Training


class TinyTask(lightning.LightningModule):
    """Guesses the share of labelled pixels from the colours.

    Args:
        width: Channels.
        noise: Of the guess in training, from the global generator.
        kill_at: Kill the process, as nothing can be caught, in this step.
        stop_at: Press Ctrl-C in this step.
    """

    def __init__(
        self, width: int = 4, noise: float = 0.0, kill_at: int | None = None, stop_at: int | None = None
    ) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), torch.nn.ReLU(), torch.nn.Conv2d(width, 1, 1))
        self.noise = noise
        self.signals = {kill_at: signal.SIGKILL, stop_at: signal.SIGINT}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images).mean(dim=(1, 2, 3))

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        if self.global_step in self.signals and self.global_step is not None:
            os.kill(os.getpid(), self.signals[self.global_step])
        guess = self(batch.images) + self.noise * torch.rand(len(batch))
        loss = (guess - (batch.segment_maps > 0).float().mean(dim=(1, 2))).square().mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        self.log("val/recall", self(batch.images).mean(), batch_size=len(batch), sync_dist=True)

    def draw_validation(self, batch: Batch) -> np.ndarray:
        return (batch.images[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


class WithClasses(TinyTask):
    """Wants to know the classes."""

    def __init__(self, categories: tuple[Category, ...] = ()) -> None:
        super().__init__()
        self.categories = categories


class WithoutOptimiser(TinyTask):
    """Learns as the recipe says."""

    configure_optimizers = lightning.LightningModule.configure_optimizers


def recipe(**model: Any) -> dict[str, Any]:
    """Three epochs of four batches of four scenes."""
    scenes = "upseg.data.shapes.ShapeScenes"
    return {
        "seed_everything": 5,
        "model": {"class_path": "tests.training.tiny.TinyTask", "init_args": model},
        "data": {
            "class_path": "upseg.training.data.MixedDataModule",
            "init_args": {
                "train": [{"dataset": {"class_path": scenes, "init_args": {"length": 16, "size": [16, 20]}}}],
                "validation": [{"class_path": scenes, "init_args": {"length": 2, "size": [16, 20], "seed": 9}}],
                "transform": {"class_path": "upseg.data.transforms.Augmentation", "init_args": {"size": [16, 16]}},
                "batch_size": 4,
                "workers": 0,
            },
        },
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "log_every_n_steps": 1, "num_sanity_val_steps": 0},
        "checkpoint": {"monitor": "val/recall"},
        "pictures": {"count": 1},
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def train(folder: Path, content: dict[str, Any], *options: str, resume: bool = False) -> Training:
    """Train in this process; the run's folder is `folder`."""
    configuration = write(folder.with_suffix(".yaml"), content)
    training = Training([configuration], options, output=folder, resume=resume, trust=True)
    training.run()
    return training


def rows(folder: Path, column: str) -> list[tuple[int, int, float]]:
    """(epoch, step, value) of a column of a run's table, where there is a value."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [(int(r["epoch"]), int(r["step"]), float(r[column])) for r in csv.DictReader(file) if r[column]]


def losses(folder: Path) -> Sequence[float]:
    return [value for _, _, value in rows(folder, "train/loss")]
