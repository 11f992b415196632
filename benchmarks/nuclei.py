"""How good is the model `nuclei`? Average precision of cells on the images that neither training nor tuning has seen.

The images are the validation part by hash (15 %) that the recipe `entity/dsb2018` leaves alone. AP is TP / (TP + FP +
FN) at an IoU, as cell papers define it, over all nuclei together and as the mean over images; also for each kind of
image, where the data has an `index.csv` with columns `id` and `kind`. Beside it Otsu's threshold with a watershed of
the distance transform, which needs no training.

    UPSEG_DATA=... python benchmarks/nuclei.py [--model nuclei] [--picture nuclei.png]
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness.report import markdown_table, write_report
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

import upseg
from upseg.data.holdout import HashedPart
from upseg.data.sources import open_dataset
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.metrics.cell_matching import CellMatching
from upseg.segmentation import Segmentation

RESULTS = Path(__file__).resolve().parent / "results"
SHARE = 0.15
HEADINGS = ("method", "images", "nuclei", "AP50", "AP75", "AP50, mean of images", "F1 at 0.5", "TP", "FP", "FN")
Labels = np.ndarray


def otsu_watershed(image: np.ndarray) -> Labels:
    """Nuclei are what is on the rarer side of Otsu's threshold; seeds are the peaks of the distance to the rest."""
    grey = gaussian(rgb2gray(image), 1)
    bright = grey > threshold_otsu(grey)
    inside = bright if bright.mean() < 0.5 else ~bright
    distance = gaussian(ndimage.distance_transform_edt(inside), 1)
    seeds = np.zeros(inside.shape, np.int32)
    peaks = peak_local_max(distance, min_distance=5, labels=ndimage.label(inside)[0])
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-distance, seeds, mask=inside).astype(np.int32)
    return np.where((np.bincount(labels.ravel()) >= 20)[labels], labels, 0).astype(np.int32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="images/ and labels/; default: $UPSEG_DATA/dsb2018")
    parser.add_argument("--model", default="nuclei", help="default: nuclei")
    parser.add_argument("--images", type=int, help="the first so many; default: all")
    parser.add_argument("--picture", type=Path, help="a PNG with an image, its nuclei and those found in each row")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    if not (options.data or os.environ.get("UPSEG_DATA")):
        sys.exit("expected a folder with images/ and labels/, got none: give --data FOLDER or set UPSEG_DATA")
    data = options.data or Path(os.environ["UPSEG_DATA"], "dsb2018")
    run(data, options)


def run(data: Path, options: argparse.Namespace) -> None:
    part = HashedPart(open_dataset("folder", data), "validation", SHARE)
    kinds = kinds_of(data)
    segmenter = upseg.load_model(options.model)
    methods: dict[str, Callable[[np.ndarray], Labels]] = {
        options.model: lambda image: segmenter.segment(image).labels,
        "Otsu + watershed": otsu_watershed,
    }
    counts: dict[tuple[str, str], tuple[CellMatching, list[int]]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    rows: list[np.ndarray] = []
    for index in range(min(len(part), options.images or len(part))):
        sample = part[index]
        for name, method in methods.items():
            start = time.perf_counter()
            labels = method(sample.image)
            seconds[name].append(time.perf_counter() - start)
            for kind in ("all", kinds.get(sample.name, "other")):
                metric, found = counts.setdefault((name, kind), (CellMatching(), []))
                metric.update(sample.segment_map, labels)
                found.append(len(sample.segments))
            if name == options.model and options.picture:
                rows.append(draw(sample.image, sample.segment_map, labels))
        print(f"{index + 1}: {sample.name[:12]}", file=sys.stderr, flush=True)
    table = markdown_table(HEADINGS, (cells(*key, *value) for key, value in sorted(counts.items())))
    notes = [f"{name}: {np.median(taken):.2f} s per image (median)" for name, taken in seconds.items()]
    scores = {" ".join(key): dict(metric.compute()) for key, (metric, _) in counts.items()}
    title = f"Nuclei: {index + 1} validation images"
    write_report(options.output, "nuclei", title, [table], {"scores": scores, "seconds": seconds}, notes)
    if options.picture:
        Image.fromarray(stacked(rows)).save(options.picture)


def kinds_of(data: Path) -> dict[str, str]:
    index = data / "index.csv"
    if not index.is_file():
        return {}
    with index.open(newline="") as file:
        return {row["id"]: row["kind"] for row in csv.DictReader(file)}


def cells(name: str, kind: str, metric: CellMatching, nuclei: list[int]) -> list[object]:
    scores, counted = metric.compute(), metric.counts()[0.5]
    values = [f"{scores[key]:.3f}" for key in ("ap50", "ap75", "image_ap50", "f1_50")]
    numbers = (counted.true_positives, counted.false_positives, counted.false_negatives)
    return [f"{name}, {kind}", len(nuclei), sum(nuclei), *values, *numbers]


def draw(image: np.ndarray, truth: Labels, found: Labels) -> np.ndarray:
    maps = [Segmentation.from_labels(labels) for labels in (truth, found)]
    pictures = [np.rint(image * 255).astype(np.uint8), *(draw_overlay(labels, image) for labels in maps)]
    return side_by_side(pictures, ["", f"{len(maps[0])} annotated", f"{len(maps[1])} found"])


def stacked(rows: list[np.ndarray], height: int = 300) -> np.ndarray:
    scaled = [np.asarray(Image.fromarray(r).resize((round(r.shape[1] * height / r.shape[0]), height))) for r in rows]
    width = max(row.shape[1] for row in scaled)
    return np.concatenate(
        [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in scaled]
    )


if __name__ == "__main__":
    main()
