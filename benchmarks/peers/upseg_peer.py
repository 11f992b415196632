"""upseg's own recipes for `nuclei_peers.py`, by the commands that a user would give: cells, and Mask R-CNN."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from exchange import options, segment_all

import upseg

RECIPES: Mapping[str, tuple[str, ...]] = {
    "upseg cells": ("entity/nuclei",),
    "upseg cells from nothing": ("entity/nuclei", "--model.init_args.pretrained", "false"),
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
