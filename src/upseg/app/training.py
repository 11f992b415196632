"""Training on what was corrected: in the background, with its curve, from a model that there is."""

from __future__ import annotations

import csv
import json
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from upseg.app.desk import Desk
from upseg.app.jobs import Job
from upseg.app.tasks import write_truth
from upseg.app.workers import Place, Worker
from upseg.errors import UpsegError
from upseg.models.folders import packaged_models, read_config

LEAST_IMAGES = 2
"""One to learn from and one to choose the checkpoint by."""
MOST_EPOCHS = 200
RECIPES = {"entity": "entity/corrected", "cells": "entity/cells"}
"""For each method that can be trained on a few corrected images, what trains it."""
FROM_IMAGENET = "ImageNet"
"""The start of what is like no model that there is: an encoder's weights, by the recipe for objects of any kind."""
_LOOK_SECONDS = 1.0
_TRAIN, _CHOSEN = "train/total", ("val/ap50", "val/image_ap50", "val/recall")


def trainable(desk: Desk) -> list[str]:
    """What a training can start from: the models trained here first, last ImageNet weights alone."""
    folders = {**desk.trained(), **packaged_models()}
    return [*(name for name, folder in folders.items() if read_config(folder).method in RECIPES), FROM_IMAGENET]


def corrected(desk: Desk) -> list[tuple[Path, str]]:
    """What counts as ground truth: the sessions' folders, and what the images are called."""
    found = [s for s in desk.sessions.all() if s.facts.get("truth") and s.is_segmented]
    return [(session.folder, f"{session.stem}-{session.id[:8]}") for session in found]


def start_training(desk: Desk, base: str, epochs: int) -> Job:
    """Begin a training from one of `trainable`, for so many epochs; one at a time.

    Raises:
        UpsegError: If there is one already, nothing to learn from, or no such model.
    """
    names = trainable(desk)
    if base not in names:
        raise UpsegError(f"a training starts from one of {', '.join(names)}, got {base!r:.80}")
    if not 1 <= epochs <= MOST_EPOCHS:
        raise UpsegError(f"the number of epochs must be between 1 and {MOST_EPOCHS}, got {epochs}")
    if desk.jobs.running("train") is not None:
        raise UpsegError("a training is running already; stop it first")
    images = corrected(desk)
    if len(images) < LEAST_IMAGES:
        raise UpsegError(
            f"a training needs at least {LEAST_IMAGES} corrected images, one of them to validate on, but {len(images)} "
            "count as ground truth"
        )
    return desk.jobs.start("train", lambda job: _train(desk, job, base, epochs, images), base=base, images=len(images))


def _train(desk: Desk, job: Job, base: str, epochs: int, images: list[tuple[Path, str]]) -> dict[str, Any]:
    folder = desk.settings.folder
    name = time.strftime("trained-%Y%m%d-%H%M%S")
    run, truth = folder / "runs" / name, folder / "truth"
    desk.workers.images.run(write_truth, images, truth, cancelled=job.cancelled)
    start = {**packaged_models(), **desk.trained()}.get(base)
    worker = Worker(device=desk.settings.device)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(job, run, epochs, over), daemon=True)
    watcher.start()
    try:
        worker.run(train, start, truth, run, folder / "models" / name, epochs, cancelled=job.cancelled)
    finally:
        over.set()
        watcher.join()
        worker.stop()
    return {"model": name, "curve": read_curve(run / "metrics.csv")}


def train(place: Place, start: Path | None, truth: Path, run: Path, model: Path, epochs: int) -> None:  # noqa: ARG001
    """Train, as `upseg train` does, and write the model's folder, as `upseg export-model` does.

    Args:
        place: Any; how it goes is in the run's folder alone.
        start: The folder of the model to start from; None for ImageNet weights alone.
        truth: The data.
        run: The run's folder.
        model: The new model's folder.
        epochs: How long.

    Raises:
        UpsegError: If the extra for training is missing, or the training fails.
    """
    try:
        from upseg.training.cli import Training
        from upseg.training.recipes import find_recipe
    except ImportError as error:
        raise UpsegError(f'training needs {error.name}: pip install "upseg[train]"') from error
    from upseg.models.checkpoints import read_checkpoint

    run.mkdir(parents=True)
    options = ["--data_root", str(truth), "--data.workers", "0", "--minutes", "null"]
    options += ["--trainer.check_val_every_n_epoch", "1"]  # few images, few epochs: the best of all of them
    options += ["--trainer.max_epochs", str(epochs), "--trainer.enable_progress_bar", "false", "--output", str(run)]
    if start is None:
        recipes = [find_recipe("entity/folder")]
    else:
        config = read_config(start)
        settings = run / "start.yaml"
        # JSON is YAML
        settings.write_text(json.dumps({"model": {"init_args": {"settings": dict(config.settings)}}}), encoding="utf-8")
        recipes = [find_recipe(RECIPES[config.method]), settings]
        options += ["--model.init_args.init_from", str(start)]
    with (run / "log.txt").open("w", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        Training(recipes, options, output=run).run()
    best = run / "checkpoints" / "best.ckpt"
    checkpoint = read_checkpoint(best if best.exists() else run / "checkpoints" / "last.ckpt")
    facts = {"data": "images corrected by hand in upseg app"}
    checkpoint.save_pretrained(
        model, description=f"{start.name if start else FROM_IMAGENET}, trained on corrected images", training=facts
    )


def _watch(job: Job, run: Path, epochs: int, over: threading.Event) -> None:
    """Tell the job how the training goes, from the table that it writes."""
    while not over.wait(_LOOK_SECONDS):
        curve = read_curve(run / "metrics.csv")
        if curve != (job.result or {}).get("curve"):
            done = int(max((row["epoch"] for row in curve), default=0))
            job.tell(result={"curve": curve}, done=done, total=epochs, note=f"Training, epoch {done + 1} of {epochs}")


def read_curve(path: Path) -> list[dict[str, float]]:
    """Loss and score by step, from a run's `metrics.csv`, if it is there: `epoch`, `step`, and `loss` or `score`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return []
    curve = []
    for row in rows:
        score = next((row[name] for name in _CHOSEN if row.get(name)), None)
        values = {"loss": row.get(_TRAIN), "score": score, "step": row.get("step"), "epoch": row.get("epoch")}
        numbers = {name: float(value) for name, value in values.items() if value}
        if {"loss", "score"} & numbers.keys() and {"step", "epoch"} <= numbers.keys():
            curve.append(numbers)
    return curve
