"""Which settings of the grouping suit a model of nuclei? Average precision on training images for each of a grid.

The images are the first so many, by a hash of their names, of those that the recipe `entity/nuclei` trains on or
chooses its checkpoint by: the images on which `nuclei.py` reports are not looked at. The network runs once for each
image, at the scale that the model's own settings find, the grouping once for each setting. What is best goes into the
model folder by `upseg export-model ... --set prominence=... --set border_weight=...`.

    UPSEG_DATA=... python benchmarks/nuclei_tuning.py [--model nuclei] [--images 60] [--prominence 0.05 0.1]
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from harness.report import markdown_table, write_report
from nuclei import SHARE

import upseg
from upseg.data.holdout import HashedPart
from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.functional.contrast import stretch_contrast
from upseg.functional.resizing import resize_image, scaled_size
from upseg.methods.entity.extensions.cells import CellSegmenter
from upseg.metrics.cell_matching import CellMatching

RESULTS = Path(__file__).resolve().parent / "results"
GRID = {
    "foreground": (0.4, 0.5, 0.6),
    "border_weight": (0.0, 0.25, 0.5),
    "smoothing": (1.0, 1.5, 2.0),
    "prominence": (0.05, 0.12, 0.2),
    "minimum_area": (0.06, 0.12),
    "minimum_score": (0.65, 0.8),
}
Values = tuple[float, ...]
HEADINGS = (*GRID, "AP50", "AP75", "AP50, mean of images")
LARGEST = 2**19
"""Pixels of the images that take part: the network sees each at once, without tiles."""


def training_images(data: Path, count: int) -> list[Sample]:
    """The first images by a hash of their names: a choice that does not depend on the order of files."""
    part = HashedPart(open_dataset("folder", data), "train", SHARE)
    names = sorted(part.names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    samples = (part[part.names.index(name)] for name in names)
    return list(itertools.islice((sample for sample in samples if sample.segment_map.size <= LARGEST), count))


def tune(model: str, samples: Sequence[Sample], grid: Mapping[str, Sequence[float]]) -> dict[Values, list[float]]:
    """AP50, AP75 and the mean of the images' AP50 for each combination of the grid's values."""
    segmenter = upseg.load_model(model)
    if not isinstance(segmenter, CellSegmenter):
        sys.exit(f"expected a model of the method cells, {model} is a {type(segmenter).__name__}")
    combinations = list(itertools.product(*grid.values()))
    metrics = {values: CellMatching() for values in combinations}
    for number, sample in enumerate(samples, start=1):
        scale = min(
            segmenter.settings.canonical / segmenter.segment(sample.image).provenance["diameter"],
            segmenter.settings.enlarged,
        )
        image = torch.from_numpy(stretch_contrast(sample.image)).permute(2, 0, 1)[None]
        maps = segmenter.predict(resize_image(image, scaled_size(*sample.shape, scale)).clamp(0, 1))[0]
        for values in combinations:
            settings = replace(segmenter.settings, **dict(zip(grid, values, strict=True)))
            labels = CellSegmenter(settings, network=segmenter.network).group(maps, sample.shape)
            metrics[values].update(sample.segment_map, labels)
        print(f"{number} of {len(samples)}: {sample.name[:12]}", file=sys.stderr, flush=True)
    keys = ("ap50", "ap75", "image_ap50")
    scores = {values: dict(metric.compute()) for values, metric in metrics.items()}
    return {values: [float(found[key]) for key in keys] for values, found in scores.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="images/ and labels/; default: $UPSEG_DATA/dsb2018")
    parser.add_argument("--model", default="nuclei", help="default: nuclei")
    parser.add_argument("--images", type=int, default=60, help="default: 60")
    for name, values in GRID.items():
        flag, kind, shown = f"--{name.replace('_', '-')}", type(values[0]), " ".join(map(str, values))
        parser.add_argument(flag, type=kind, nargs="+", default=values, help=f"default: {shown}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    if not (options.data or os.environ.get("UPSEG_DATA")):
        sys.exit("expected a folder with images/ and labels/, got none: give --data FOLDER or set UPSEG_DATA")
    samples = training_images(options.data or Path(os.environ["UPSEG_DATA"], "dsb2018"), options.images)
    found = tune(options.model, samples, {name: getattr(options, name) for name in GRID})
    best = sorted(found.items(), key=lambda item: -item[1][0])
    rows = ([*map(str, values), *(f"{score:.3f}" for score in scores)] for values, scores in best)
    results = {"columns": HEADINGS, "rows": [[*values, *scores] for values, scores in best]}
    title = f"Nuclei: settings of the grouping on {len(samples)} training images"
    write_report(options.output, "nuclei_tuning", title, [markdown_table(HEADINGS, rows)], results, [])


if __name__ == "__main__":
    main()
