"""Cellpose's network (version 3) from nothing, on grey images as its model of nuclei, for `nuclei_peers.py`.

Its environment: `pip install "cellpose<4" pillow`.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from cellpose import models, train
from exchange import options, segment_all, training_images

GREY = [0, 0]
PER_EPOCH = 80


def main() -> None:
    asked = options("Cellpose")
    if asked.action == "train":
        learn(asked.folder, asked.minutes)
        return
    model = models.CellposeModel(gpu=False, pretrained_model=str(asked.folder / "cellpose" / "models" / "nuclei"))
    diameter = float(model.diam_labels)  # the mean of the training images, Cellpose's own default without a size model
    segment_all(asked.folder, "Cellpose", lambda image: model.eval(image, channels=GREY, diameter=diameter)[0])


def learn(folder: Path, minutes: float) -> None:
    """Cellpose's schedule is one of epochs: how many fit is found by timing the second of two."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what Cellpose draws from
    images, labels = training_images(folder)
    model = models.CellposeModel(gpu=False, pretrained_model=False, diam_mean=17.0)
    began = time.monotonic()
    _train(model, images, labels, folder, 1)
    once = time.monotonic() - began
    _train(model, images, labels, folder, 2)
    epoch = max(time.monotonic() - began - 2 * once, 1.0)
    setup = max(once - epoch, 0.0)
    model = models.CellposeModel(gpu=False, pretrained_model=False, diam_mean=17.0)
    epochs = max(int((60 * minutes - setup) / epoch), 1)
    print(f"{setup:.0f} s before the first epoch, {epoch:.1f} s each: {epochs} epochs", flush=True)
    _train(model, images, labels, folder, epochs)


def _train(
    model: models.CellposeModel, images: list[np.ndarray], labels: list[np.ndarray], folder: Path, epochs: int
) -> None:
    (folder / "cellpose").mkdir(exist_ok=True)
    train.train_seg(
        model.net,
        train_data=images,
        train_labels=labels,
        channels=GREY,
        n_epochs=epochs,
        nimg_per_epoch=PER_EPOCH,
        batch_size=8,
        min_train_masks=1,
        save_path=folder / "cellpose",
        model_name="nuclei",
        save_every=10_000,
    )


if __name__ == "__main__":
    main()
