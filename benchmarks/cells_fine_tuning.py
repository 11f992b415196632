"""Does training for another kind of cell go better from a model of cells than from nothing, or from ImageNet weights?

The cells are unlike nuclei: dark inside a bright membrane, in tissue of touching cells, made up, so that there are as
many as wanted and none was seen before; or a folder of images/ and labels/ of one's own. The recipe is
`entity/cells`, by the command that a user would give, for the same number of steps from all three starts.

    python benchmarks/cells_fine_tuning.py --model MODEL [--images 5 10 40] [--epochs 8] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness.report import markdown_table, write_report
from PIL import Image
from scipy import ndimage

import upseg
from upseg.data.holdout import HashedPart
from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.metrics.cell_matching import CellMatching

RESULTS = Path(__file__).resolve().parent / "results"
HEADINGS = ("training images", "start", "AP50", "AP75", "minutes")
TESTED = 20
"""Images that are kept to be tested on."""


def membranes(seed: int, side: int = 256) -> Sample:
    """Cells like a pavement: the Voronoi cells of jittered points, bright where they meet, some of them missing."""
    rng = np.random.default_rng(seed)
    step = int(rng.integers(22, 40))
    points = np.mgrid[0 : side + step : step, 0 : side + step : step].reshape(2, -1).T + rng.uniform(-0.35, 0.35) * step
    points = points + rng.uniform(-0.35 * step, 0.35 * step, points.shape)
    rows, columns = np.mgrid[:side, :side]
    distances = np.sort([(rows - r) ** 2 + (columns - c) ** 2 for r, c in points], axis=0)[:2] ** 0.5
    owner = np.argmin([(rows - r) ** 2 + (columns - c) ** 2 for r, c in points], axis=0) + 1
    present = rng.random(len(points) + 1) < 0.8
    labels = np.where(present[owner], owner, 0).astype(np.int32)
    border = np.exp(-(((distances[1] - distances[0]) / 4) ** 2)) * ndimage.maximum_filter(labels > 0, 5)
    noise = ndimage.gaussian_filter(rng.standard_normal((side, side)), 1) * 0.12
    grey = np.clip(0.15 + 0.6 * border + noise, 0, 1).astype(np.float32)
    return Sample.from_labels(np.repeat(grey[..., None], 3, axis=2), labels, name=f"membranes-{seed:03d}")


def write_folder(samples: Sequence[Sample], folder: Path) -> None:
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for sample in samples:
        Image.fromarray(np.uint8(sample.image * 255)).save(folder / "images" / f"{sample.name}.png")
        Image.fromarray(sample.segment_map.astype(np.uint16)).save(folder / "labels" / f"{sample.name}.png")


def trained(data: Path, output: Path, start: Sequence[str], epochs: int) -> float:
    """Train as a user would; the minutes that it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "upseg", "train", "-c", "entity/cells", "--data_root", str(data), *start]
    changes = ["--trainer.max_epochs", str(epochs), "--trainer.check_val_every_n_epoch", str(epochs)]
    changes += ["--minutes", "null"]
    subprocess.run([*command, *changes, "--output", str(output)], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) / 60


def tested(checkpoint: Path, samples: Sequence[Sample], folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "upseg", "export-model", str(checkpoint), str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    segmenter, metric = upseg.load_model(folder), CellMatching()
    for sample in samples:
        metric.update(sample.segment_map, segmenter.segment(sample.image).labels)
    scores = metric.compute()
    return float(scores["ap50"]), float(scores["ap75"])


def starts(model: str) -> dict[str, list[str]]:
    """What each training starts from, and the options that say so."""
    nothing = ["--init-from", "null"]
    return {
        "nothing": [*nothing, "--model.init_args.pretrained", "false"],
        "ImageNet": nothing,
        model: ["--init-from", model],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="images/ and labels/ of cells; default: made-up membranes")
    parser.add_argument("--model", required=True, help="of the method cells, such as entity/nuclei trains")
    parser.add_argument("--images", type=int, nargs="+", default=[5, 10, 40], help="default: 5 10 40")
    parser.add_argument("--epochs", type=int, default=8, help="of 25 steps; default: 8")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    if options.data:
        whole = open_dataset("folder", options.data)
        learn, test = list(HashedPart(whole, "train", 0.3)), list(HashedPart(whole, "validation", 0.3))[:TESTED]
    else:
        learn, test = [membranes(k) for k in range(max(options.images))], [membranes(1000 + k) for k in range(TESTED)]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for count in options.images:
            write_folder(learn[:count], Path(temporary, f"data-{count}"))
            for start, choice in starts(options.model).items():
                run = Path(temporary, f"{Path(start).name}-{count}")
                minutes = trained(Path(temporary, f"data-{count}"), run, choice, options.epochs)
                scores = tested(run / "checkpoints" / "last.ckpt", test, run / "model")
                rows.append([count, start, *(f"{score:.3f}" for score in scores), f"{minutes:.1f}"])
                print(*rows[-1], file=sys.stderr, flush=True)
    title = f"Cells of another kind, from nothing, from ImageNet weights and from a model: {len(test)} test images"
    write_report(options.output, "cells_fine_tuning", title, [markdown_table(HEADINGS, rows)], {"rows": rows}, [])


if __name__ == "__main__":
    main()
