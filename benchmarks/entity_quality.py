"""Recall and mean IoU of models of `entity` on made-up scenes that neither training nor its validation has seen.

The scenes are like those that the recipe validates on, from another seed.

    python benchmarks/entity_quality.py MODEL... [--recipe entity/shapes-simple] [--images 200] [--picture entity.png]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import yaml
from harness.report import markdown_table, write_report
from nuclei import stacked
from panoptic_ablation import TEST_SEED, frozen
from panoptic_quality import draw
from PIL import Image

import upseg
from upseg.data.shapes import ShapeScenes
from upseg.data.shapes.settings import Difficulty
from upseg.methods.entity.segmenter import EntitySegmenter
from upseg.metrics.class_agnostic import ClassAgnostic
from upseg.training.recipes import find_recipe

RESULTS = Path(__file__).resolve().parent / "results"
HEADINGS = ("model", "recall", "mean IoU", "Boundary IoU", "s/image")
DRAWN = 6


def held_out(recipe: str, count: int) -> ShapeScenes:
    """Scenes with the settings of a recipe's validation, and another seed."""
    content = yaml.safe_load(find_recipe(recipe).read_text())
    settings = frozen(content["data"]["init_args"]["validation"][0]["init_args"])
    if isinstance(settings["difficulty"], dict):
        settings["difficulty"] = Difficulty(**frozen(settings["difficulty"]))
    return ShapeScenes(**{**settings, "length": count, "seed": TEST_SEED})


def load(model: str) -> EntitySegmenter:
    segmenter = upseg.load_model(model)
    if not isinstance(segmenter, EntitySegmenter):
        sys.exit(f"expected a model of the method entity, {model} is a {type(segmenter).__name__}")
    return segmenter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="model folders")
    parser.add_argument("--recipe", default="entity/shapes-simple", help="default: entity/shapes-simple")
    parser.add_argument("--images", type=int, default=200, help="default: 200")
    parser.add_argument("--picture", type=Path, help="a PNG of the first scenes, their entities and those found")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    segmenters = {Path(model).name: load(model) for model in options.models}
    scenes = held_out(options.recipe, options.images)
    metrics = {name: ClassAgnostic() for name in segmenters}
    seconds: dict[str, list[float]] = {name: [] for name in segmenters}
    rows: list[np.ndarray] = []
    for index in range(options.images):
        sample, results = scenes[index], []
        for name, segmenter in segmenters.items():
            start = time.perf_counter()
            results.append(segmenter.segment(sample.image))
            seconds[name].append(time.perf_counter() - start)
            metrics[name].update(sample.segment_map, results[-1].labels)
        if index < DRAWN:
            rows.append(draw(sample, results, list(segmenters)))
    scores = {name: dict(metric.compute()) for name, metric in metrics.items()}
    keys = ("recall", "mean_iou", "boundary_iou")
    table = markdown_table(
        HEADINGS,
        (
            [name, *(f"{found[key]:.3f}" for key in keys), f"{np.median(seconds[name]):.3f}"]
            for name, found in scores.items()
        ),
    )
    title = f"Entity: {options.images} held-out scenes as those of {options.recipe}"
    file = f"entity_quality_{options.recipe.split('/')[-1]}"
    write_report(options.output, file, title, [table], {"scores": scores})
    if options.picture:
        Image.fromarray(stacked(rows)).save(options.picture)


if __name__ == "__main__":
    main()
