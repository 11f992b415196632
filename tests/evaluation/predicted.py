"""Tiny data sets with predictions beside them, for each protocol one that is right and one whose score is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.data.sources import trees
from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.segmentation import Segmentation

SHAPE = (trees.HEIGHT, trees.WIDTH)


@dataclass(frozen=True)
class Case:
    """A protocol, a data set for it, the scores of a perfect prediction, and a flaw with the scores worked out by hand.

    `spoil` takes the number of the sample and its perfect label map, and returns the labels to predict.
    """

    protocol: str
    source: str
    draw: Callable[[Path], None]
    perfect: dict[str, float]
    spoil: Callable[[int, np.ndarray], np.ndarray]
    expected: dict[str, float]
    classes: bool = True


def one_label(_: int, labels: np.ndarray) -> np.ndarray:
    return np.ones_like(labels)


def without_last_rows_on_the_left(number: int, labels: np.ndarray) -> np.ndarray:
    """Two thirds of the left region in the first image."""
    return labels if number else np.where(trees.LEFT & (np.arange(trees.HEIGHT) > 3)[:, None], 0, labels)


def without_left(image: int) -> Callable[[int, np.ndarray], np.ndarray]:
    return lambda number, labels: np.where(trees.LEFT, 0, labels) if number == image else labels


def without_sky(_: int, labels: np.ndarray) -> np.ndarray:
    spoilt = labels.copy()
    spoilt[0, 3:] = 0
    return spoilt


# in pixels: the image 48, the region on the left 18, that on the right 12, VOC's void 6
CASES = (
    Case(
        "bsds500",
        "bsds500",
        trees.draw_bsds500,
        # the second annotator joins what the first one parts: (3 + 30/48 -> 18/30 + 18/18) over five regions
        {"all": (3 + 18 / 30 + 18 / 18) / 5, "fine": 1.0, "coarse": (18 / 30 + 18 / 18) / 2},
        one_label,
        {"all": (18 + 12 + 18 + 30 + 18) / 48 / 5, "fine": 1 / 3, "coarse": 1 / 2, "mean": (0.4 + 1 / 3 + 1 / 2) / 3},
        classes=False,
    ),
    Case(
        "voc-regions",
        "voc2012",
        trees.draw_voc2012,
        {"mean_iou": 1.0},
        one_label,
        {"mean_iou": 1 / 3},
        classes=False,
    ),
    Case(
        "coco-stuff27",
        "coco-stuff27",
        trees.draw_coco_stuff,
        {"mean_iou": 1.0, "pixel_accuracy": 1.0},
        one_label,
        {"mean_iou": 18 / 30 / 2, "pixel_accuracy": 18 / 30},
    ),
    Case(
        "entity",
        "coco-panoptic",
        trees.draw_coco_panoptic,
        {"mean_iou": 1.0, "recall": 1.0, "boundary_iou": 1.0},
        without_last_rows_on_the_left,
        {"mean_iou": (2 / 3 + 1 + 1) / 3, "recall": 1.0},
        classes=False,
    ),
    Case(
        "cells",
        "dsb2018",
        trees.draw_dsb2018,
        {"ap": 1.0, "f1_50": 1.0, "image_ap": 1.0},
        without_left(0),
        {"ap": 3 / 4, "f1_50": 6 / 7, "image_ap": (1 / 2 + 1) / 2},
        classes=False,
    ),
    Case(
        "coco-panoptic",
        "coco-panoptic",
        trees.draw_coco_panoptic,
        {"pq": 1.0, "sq": 1.0, "rq": 1.0, "pq_things": 1.0, "pq_stuff": 1.0},
        without_last_rows_on_the_left,
        {"pq": (5 / 6 + 1) / 2, "rq": 1.0, "pq_things": 1.0, "pq_stuff": 5 / 6},
    ),
    Case(
        "cityscapes-panoptic",
        "cityscapes",
        trees.draw_cityscapes,
        {"pq": 1.0, "pq_things": 1.0, "pq_stuff": 1.0},
        without_sky,
        {"pq": 0.5, "pq_things": 1.0, "pq_stuff": 0.0},
    ),
    Case(
        "coco-instances",
        "coco-instances",
        trees.draw_coco_instances,
        {"ap": 1.0, "ap50": 1.0},
        without_left(1),
        # recall 1/2 at precision 1, of the 101 recalls at which COCO looks
        {"ap": 51 / 101, "ap50": 51 / 101},
    ),
    Case(
        "coco-agnostic",
        "coco-instances",
        trees.draw_coco_instances,
        {"ap": 1.0, "ap50": 1.0},
        without_left(1),
        {"ap": 51 / 101, "ap50": 51 / 101},
        classes=False,
    ),
    Case(
        "voc-instances",
        "voc2012",
        trees.draw_voc2012,
        {"map25": 1.0, "map75": 1.0},
        without_left(1),
        {"map25": 3 / 4, "map75": 3 / 4},
    ),
)


def name_of(case: Case) -> str:
    return case.protocol


def segmentation_of(sample: Sample, labels: np.ndarray, *, classes: bool) -> Segmentation:
    """A prediction with the labels of the sample, some of which may be missing."""
    categories = sample.categories if classes else {}
    return Segmentation.from_labels(labels, categories=categories)


def predict(case: Case, truth: Path, folder: Path, *, perfect: bool, form: str = ".png") -> Dataset:
    """Draw the data set into `truth`, write predictions into `folder`, and open the data set."""
    case.draw(truth)
    dataset = open_dataset(case.source, truth)
    for number, sample in enumerate(dataset):
        labels = sample.segment_map if perfect else case.spoil(number, sample.segment_map)
        path = folder / f"{sample.name}{form}"
        segmentation_of(sample, labels, classes=case.classes).save(path)
    return dataset


def predict_depth(truth: Path, folder: Path, factor: float = 1.0) -> Dataset:
    """NYUv2's frames and predicted depth in millimetres."""
    trees.draw_depth_folders(truth)
    dataset = open_dataset("nyuv2", truth)
    for sample in dataset:
        trees.write_map(folder / f"{sample.name}.png", np.round(sample.depth * 1000 * factor).astype(np.int64))
    return dataset
