"""upseg's own recipes for `nuclei_peers.py`, by the commands that a user would give: cells, and Mask R-CNN."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from exchange import options, segment_all

import upseg

SMALL = (  # what a processor's minutes are better spent on than on large windows and batches
    *("--model.init_args.settings.channels", "[96,64,48,32]", "--model.init_args.settings.canonical", "18"),
    *("--data.transform.init_args.size", "192", "--data.transform.init_args.diameter", "18"),
    *("--data.targets.init_args.diameter", "18", "--data.batch_size", "8", "--data.workers", "1"),
    *("--data.epoch_length", "800", "--optimization.learning_rate", "1.5e-3", "--model.init_args.average", "0.995"),
)
RECIPES: Mapping[str, tuple[str, ...]] = {
    "upseg cells": ("entity/nuclei", *SMALL),
    "upseg cells from nothing": ("entity/nuclei", *SMALL, "--model.init_args.pretrained", "false"),
    "Mask R-CNN": (str(Path(__file__).with_name("mask_rcnn.yaml")),),
}


def main() -> None:
    tool = sys.argv.pop(1)
    asked = options(tool)
    folder = asked.folder / tool.replace(" ", "-")
    if asked.action == "train":
        recipe, *changes = RECIPES[tool]
        command = [sys.executable, "-m", "upseg", "train", "-c", recipe, "--data_root", str(asked.folder / "train")]
        lasting = ["--minutes", str(asked.minutes), "--trainer.max_epochs", "-1", "--output", str(folder)]
        subprocess.run([*command, *changes, *lasting], check=True)
        checkpoint = folder / "checkpoints" / "last.ckpt"
        export = [sys.executable, "-m", "upseg", "export-model", str(checkpoint), str(folder / "model")]
        subprocess.run(export, check=True)
        return
    model = upseg.load_model(folder / "model")
    segment_all(asked.folder, tool, lambda image: np.asarray(model.segment(image).labels))


if __name__ == "__main__":
    main()
