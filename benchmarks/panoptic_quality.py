"""Panoptic quality of trained models of `panoptic`, and the errors of their depth if they predict it.

The data is made-up scenes as those of the recipe `panoptic/shapes-stage2`, from another seed than those that it learns
from and validates on, or COCO panoptic: with `--learned`, the photos that a recipe learns from, such as the 16 that
`panoptic/overfit` learns by heart, with `--kept-apart` those of the same folder that it leaves alone.

    python benchmarks/panoptic_quality.py MODEL... [--images 200] [--picture panoptic.png]
    python benchmarks/panoptic_quality.py MODEL... --data FOLDER [--learned RECIPE | --kept-apart RECIPE]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from harness.report import markdown_table, write_report
from nuclei import stacked
from panoptic_ablation import SCENES, TEST_SEED
from PIL import Image

import upseg
from upseg.data.dataset import Dataset
from upseg.data.holdout import HashedPart
from upseg.data.sample import Sample
from upseg.data.shapes import ShapeScenes
from upseg.data.sources import open_dataset
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.methods.panoptic.segmenter import PanopticSegmenter
from upseg.metrics.depth_errors import Depth
from upseg.metrics.panoptic_quality import PanopticQuality
from upseg.segmentation import Segmentation
from upseg.training.recipes import find_recipe

RESULTS = Path(__file__).resolve().parent / "results"
HEADINGS = ("model", "PQ", "SQ", "RQ", "PQ things", "PQ stuff", "AbsRel", "RMSE (m)", "s/image")
ENLARGED_UP_TO = 128
"""Pixels of the longer side."""
SCORES = ("pq", "sq", "rq", "pq_things", "pq_stuff")


def open_images(options: argparse.Namespace) -> Dataset:
    """The data that the options name."""
    if options.data is None:
        return ShapeScenes(**{**SCENES, "length": options.images, "seed": TEST_SEED})
    photos = open_dataset("coco-panoptic", options.data)
    name = options.learned or options.kept_apart
    if name is None:
        return photos
    recipe = yaml.safe_load(find_recipe(name).read_text())
    part = recipe["data"]["init_args"]["train"][0]["dataset"]
    while not part["class_path"].endswith("HashedPart"):
        part = part["init_args"]["dataset"]
    how = part["init_args"]
    wanted = "train" if (how["part"] == "train") == bool(options.learned) else "validation"
    return HashedPart(photos, wanted, how["share"])


class Score:
    """What one model has reached so far.

    Attributes:
        model: A model folder.
        segmenter: The model.
        seconds: Of each image.
    """

    def __init__(self, model: str, data: Dataset) -> None:
        segmenter = upseg.load_model(model)
        if not isinstance(segmenter, PanopticSegmenter):
            sys.exit(f"expected a model of the method panoptic, {model} is one of another method")
        self.model, self.segmenter, self.seconds = model, segmenter, list[float]()
        self.quality, self.depth = PanopticQuality(data.categories), Depth()

    def add(self, sample: Sample) -> Segmentation:
        """Segment a sample and count what is right."""
        start = time.perf_counter()
        if "depth" in self.segmenter.settings.heads:
            found, predicted = self.segmenter.segment_with_depth(sample.image)
            if predicted.is_metric and sample.depth is not None:
                self.depth.update(sample.depth, predicted.values)
        else:
            found = self.segmenter.segment(sample.image)
        self.seconds.append(time.perf_counter() - start)
        truth = {s.id: s.category.id for s in sample.segments if s.category}
        crowds = [s.id for s in sample.segments if s.is_crowd]
        named = {s.id: s.category.id for s in found if s.category}
        self.quality.update(sample.segment_map, truth, found.labels, named, crowds)
        return found

    def row(self) -> list[object]:
        """The cells of the table."""
        scores, errors = self.quality.compute(), self.depth.compute()
        shown = [scores[name] for name in SCORES] + [errors["abs_rel"], errors["rmse"]]
        cells = ["-" if np.isnan(value) else f"{value:.3f}" for value in shown]
        return [Path(self.model).name, *cells, f"{np.median(self.seconds):.3f}"]


def draw(sample: Sample, results: Sequence[Segmentation], names: Sequence[str]) -> np.ndarray:
    """An image, what is annotated and what was found, each enlarged and without names."""
    image = enlarged(sample.image)
    maps = (np.maximum(sample.segment_map, 0), *(result.labels for result in results))
    pictures = [np.rint(image * 255).astype(np.uint8)]
    pictures += [draw_overlay(Segmentation.from_labels(enlarged(labels)), image) for labels in maps]
    return side_by_side(pictures, ["", "annotated", *names])


def enlarged(values: np.ndarray) -> np.ndarray:
    """Four times as high and wide where it is small."""
    factor = 4 if max(values.shape[:2]) <= ENLARGED_UP_TO else 1
    return values.repeat(factor, 0).repeat(factor, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model folders")
    parser.add_argument("--data", help="COCO panoptic; default: made-up scenes")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--learned", metavar="RECIPE", help="of COCO the photos that a recipe learns from")
    which.add_argument("--kept-apart", metavar="RECIPE", help="of COCO the photos that a recipe leaves alone")
    parser.add_argument("--images", type=int, default=200, help="at most so many; default: 200")
    parser.add_argument("--picture", type=Path, help="where to draw the first ten images")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    data = open_images(options)
    scores, rows = [Score(model, data) for model in options.models], []
    for index in range(min(len(data), options.images)):
        sample = data[index]
        results = [score.add(sample) for score in scores]
        if options.picture and index < 10:
            rows.append(draw(sample, results, [Path(score.model).name for score in scores]))
    name = "panoptic_quality" + ("_shapes" if options.data is None else "_learned" if options.learned else "_coco")
    table = markdown_table(HEADINGS, (score.row() for score in scores))
    figures = {Path(score.model).name: dict(score.quality.compute()) for score in scores}
    title = f"Panoptic: quality on {index + 1} images"
    write_report(options.output, name, title, [table], {"scores": figures}, ["seconds: median"])
    if options.picture:
        Image.fromarray(stacked(rows, 200)).save(options.picture)


if __name__ == "__main__":
    main()
