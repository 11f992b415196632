"""Does the full-size recipe run, what does a step cost, and does the loss fall? Real photos, up to 60 entities each.

Trains ConvNeXt-B at 384 x 384 by the recipe `entity/coco-panoptic` for a few steps, through the same code as
`upseg train`, but with random first weights (ImageNet's need a download), a higher learning rate, batches of a size
that a computer without a GPU bears, and no validation. With `--photos` it sees the same few photos again and again,
whole and not changed, so that the losses of steps can be compared: L_r grows with the number of entities.

    UPSEG_DATA=... python benchmarks/entity_full_size.py [--steps 8] [--batch 2] [--photos 2]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.report import markdown_table, write_report
from lightning import Callback

from upseg.data.sources import open_dataset
from upseg.training.cli import Training
from upseg.training.recipes import find_recipe

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = ("train/total", "train/attraction", "train/repulsion", "train/segment", "train/contrast", "train/degenerate")
LEARNING_RATE = 1e-4
WHOLE = {"scale": "[1.0, 1.0]", "horizontal_flip": 0, "colour": 0}
"""The transform that hardly changes a photo."""


class Timer(Callback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    @property
    def seconds_per_step(self) -> float:
        """From the end of the first step on, in which memory is taken and code loaded."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="COCO panoptic; default: $UPSEG_DATA/coco-panoptic-100")
    parser.add_argument("--steps", type=int, default=8, help="default: 8")
    parser.add_argument("--batch", type=int, default=2, help="photos in a step; default: 2")
    parser.add_argument("--photos", type=int, help="how many photos to repeat; default: all")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    if not (options.data or os.environ.get("UPSEG_DATA")):
        sys.exit("expected a folder of COCO Panoptic, got none: give --data FOLDER or set UPSEG_DATA")
    data = options.data or Path(os.environ["UPSEG_DATA"], "coco-panoptic-100")
    with tempfile.TemporaryDirectory() as folder:
        rows, seconds = train(data, Path(folder) / "run", options)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    table = markdown_table(
        ("step", *COLUMNS), ([row["step"], *(f"{float(row[c]):.3f}" for c in COLUMNS)] for row in rows)
    )
    seen = "all photos" if options.photos is None else f"the {options.photos} photos with the most entities"
    notes = [
        f"{seen}, ConvNeXt-B, d = 128, 384 x 384, batches of {options.batch}, learning rate {LEARNING_RATE:g}, float32",
        f"{seconds:.1f} s per step, reading included; peak memory of the process {gigabytes:.1f} GB",
    ]
    write_report(
        options.output,
        "entity_full_size",
        f"Entity: {options.steps} steps of the full-size recipe on COCO Panoptic",
        [table],
        {"steps": rows, "seconds_per_step": seconds, "peak_gigabytes": gigabytes},
        notes,
    )


def train(data: Path, run: Path, options: argparse.Namespace) -> tuple[list[dict[str, str]], float]:
    """The logged numbers of each step, and the seconds per step from the second on."""
    settings = {
        "data_root": data,
        "data.init_args.train": json.dumps([{"dataset": dataset_of(data, options.photos)}]),
        "model.init_args.pretrained": "false",
        "data.init_args.batch_size": options.batch,
        "data.init_args.workers": 1,
        "data.init_args.epoch_length": options.batch,
        "data.init_args.validation": "[]",
        "optimization.learning_rate": LEARNING_RATE,
        "trainer.max_epochs": options.steps,
        "trainer.precision": "32-true",
        "trainer.log_every_n_steps": 1,
        "trainer.limit_val_batches": 0,
        "trainer.enable_progress_bar": "false",
        "checkpoint.monitor": "null",
    }
    if options.photos is not None:  # the loss grows with the number of entities, so each step has to see the same ones
        settings |= {f"data.init_args.transform.init_args.{name}": value for name, value in WHOLE.items()}
    arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    timer = Timer()
    training = Training([find_recipe("entity/coco-panoptic")], arguments, output=run)
    training.trainer.callbacks.append(timer)
    training.run()
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/total"]]
    return rows, timer.seconds_per_step


def dataset_of(data: Path, photos: int | None) -> dict[str, Any]:
    """The data set as a recipe says it: all photos, or as many as asked for with the most entities."""
    arguments: dict[str, Any] = {"source": "coco-panoptic", "path": str(data), "split": "train2017"}
    if photos is not None:
        dataset = open_dataset(**arguments, decode_images=False)
        samples = sorted((dataset[i] for i in range(len(dataset))), key=lambda sample: -len(sample.segments))
        arguments["images"] = [sample.name for sample in samples[:photos]]
    return {"class_path": "upseg.data.sources.open_dataset", "init_args": arguments}


if __name__ == "__main__":
    main()
