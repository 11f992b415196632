"""Instances from class masks alone: how good are they next to what class masks give without a network?

On made-up scenes (those of the recipe `baiseg/shapes`, other seeds), on the validation images of `dsb2018` (15 % by
hash that the recipes leave alone; the class mask is the union of all nuclei) or on the photos of COCO that the recipe
`baiseg/photos` leaves alone (a fifth, by hash; nothing counts in crowds). Compared, all against the annotated
instances: connected components of the *ground-truth* class masks, the watershed of their distance transform, the model
with the ground-truth class masks, and the model with its own semantic map. AP is TP / (TP + FP + FN) at an IoU over all
objects, as cell papers define it, and mAP that of VOC, by class and score. The distance watershed has a prominence of 1
pixel for nuclei and scenes, where that is its best, and what `upseg split` has, 8, for photos. Also for objects that
touch another object of their class, which is where the methods differ: the share that is found at IoU 0.5.

With `--tuning` on other images: those on which the settings of the mask extraction were tuned, which are scenes of
another seed, the images that the recipe `baiseg/dsb2018` takes out of its training part to choose a checkpoint, or some
of the photos that `baiseg/photos` learns from. The difference between the two reports is what tuning flatters; settings
are tried there with `--set`.

    python benchmarks/baiseg_instances.py MODEL [--data shapes] [--tuning] [--images 200] [--picture instances.png]
    UPSEG_DATA=... python benchmarks/baiseg_instances.py MODEL --data photos [--tuning]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from harness.report import markdown_table, write_report
from nuclei import SHARE, stacked
from PIL import Image

from upseg.data.dataset import Dataset
from upseg.data.holdout import HashedPart
from upseg.data.sample import IGNORE, Sample
from upseg.data.shapes import Difficulty, ShapeScenes
from upseg.data.sources import open_dataset
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.functional.label_maps import connected_components
from upseg.methods.baiseg import BaisegSegmenter
from upseg.metrics.cell_matching import CellMatching
from upseg.metrics.mask_iou import label_map_ious
from upseg.metrics.voc_mask_ap import VocMaskAP
from upseg.segmentation import Category, Segmentation
from upseg.split.baselines import DistanceSettings, distance_objects, remove_small_objects
from upseg.training.recipes import find_recipe

RESULTS = Path(__file__).resolve().parent / "results"
TEST_SEED = 12_345
TUNING_SEED = 777
TUNING_SALT = "checkpoint"
PARTS = {
    "dsb2018": (SHARE, 0.06, [("folder", "dsb2018", None)]),
    "photos": (
        0.2,
        0.12,
        [
            ("folder", "coco-instances-more", None),
            ("coco-instances", "coco-instances-mini", "train2017"),
            ("coco-instances", "coco-instances-mini", "val2017"),
            ("coco-panoptic", "coco-panoptic-100", None),
        ],
    ),
}
"""The share that is left alone, as in the recipes, of the others the share for tuning, and the data sets."""
IMAGES = {False: 200, True: 40}
"""At most, unless told otherwise: to evaluate, and as many as the settings were tuned on."""
EXTRACTION = (
    "boundary_threshold",
    "marker_ratio",
    "prominence",
    "boundary_depth",
    "dilations",
    "minimum_area",
    "minimum_score",
    "flood",
    "semantic_contours",
    "refine",
    "closing",
)
"""The settings that decide how maps become instances."""
OBJECT = Category(1, "object")
HEADINGS = ("method", "AP50", "AP75", "mAP50 (VOC)", "mAP75", "touching found", "alone found", "s/image")


@dataclass
class Tally:
    """What one method has scored so far."""

    categories: Sequence[Category]
    cells: CellMatching = field(default_factory=CellMatching)
    seconds: list[float] = field(default_factory=list)
    found: dict[bool, list[bool]] = field(default_factory=lambda: {True: [], False: []})

    def __post_init__(self) -> None:
        self.voc = VocMaskAP(self.categories)

    def add(
        self,
        truth: np.ndarray,
        classes: dict[int, int],
        result: Segmentation,
        touching: set[int],
        valid: np.ndarray | None = None,
    ) -> None:
        """Add an image: things against things, in the pixels that count."""
        things = {s.id: s for s in result if s.category is None or s.category.is_thing}
        labels = np.where(np.isin(result.labels, list(things)), result.labels, 0)
        kinds = {number: (s.category or OBJECT).id for number, s in things.items()}
        scores = {number: 1.0 if s.score is None else s.score for number, s in things.items()}
        self.cells.update(truth, labels, valid)
        self.voc.update(truth, classes, labels, kinds, scores, valid)
        overlaps, ids, _ = label_map_ious(truth, labels, valid)
        for number, best in zip(ids, overlaps.max(axis=1, initial=0), strict=True):
            self.found[int(number) in touching].append(bool(best >= 0.5))

    def run(self, method: Callable[[Sample], Segmentation], sample: Sample) -> Segmentation:
        """Segment a sample, and add what is found and how long it took."""
        start = time.perf_counter()
        result = method(sample)
        self.seconds.append(time.perf_counter() - start)
        truth, classes = np.maximum(sample.instance_map(), 0), class_map(sample)
        kinds = {s.id: (s.category or OBJECT).id for s in sample.segments if s.is_thing and not s.is_crowd}
        self.add(truth, kinds, result, touching_objects(truth, classes), sample.instance_map() != IGNORE)
        return result

    def row(self, name: str) -> list[object]:
        """The cells of the table."""
        cells, voc = self.cells.compute(), self.voc.compute()
        shares = [f"{np.mean(self.found[kind]):.3f}" if self.found[kind] else "-" for kind in (True, False)]
        values = [f"{value:.3f}" for value in (cells["ap50"], cells["ap75"], voc["map50"], voc["map75"])]
        return [name, *values, *shares, f"{np.median(self.seconds):.3f}"]


def touching_objects(truth: np.ndarray, classes: np.ndarray) -> set[int]:
    """The objects that have a pixel of another object of their class among the four neighbours of one of theirs."""
    found: set[int] = set()
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        met = (truth[a] != truth[b]) & (truth[a] > 0) & (truth[b] > 0) & (classes[a] == classes[b])
        found |= set(truth[a][met].tolist()) | set(truth[b][met].tolist())
    return found


def class_map(sample: Sample) -> np.ndarray:
    """Ids of classes, 0 for none: all that the methods may know of the annotation."""
    kinds = [(segment.category or OBJECT).id if segment.is_thing else 0 for segment in sample.segments]
    return np.array([0, *kinds])[sample.segment_map]


def methods(
    segmenter: BaisegSegmenter, things: Sequence[Category], prominence: float = 1.0
) -> dict[str, Callable[[Sample], Segmentation]]:
    known = {category.id: category for category in things}

    def given(sample: Sample) -> Segmentation:
        classes = class_map(sample)
        return Segmentation.from_labels(classes, categories={int(k): known[int(k)] for k in np.unique(classes) if k})

    def baseline(cut: Callable[..., np.ndarray]) -> Callable[[Sample], Segmentation]:
        def run(sample: Sample) -> Segmentation:
            classes = class_map(sample)
            labels = remove_small_objects(cut(classes), segmenter.settings.minimum_area)
            first = {int(n): known[int(classes[labels == n][0])] for n in np.unique(labels[labels > 0])}
            return Segmentation.from_labels(labels, categories=first)

        return run

    found: dict[str, Callable[[Sample], Segmentation]] = {
        "components of the class masks": baseline(connected_components),
        "distance watershed of the class masks": baseline(partial(distance_objects, prominence=prominence)),
        "baiseg, given the class masks": lambda s: segmenter.segment(s.image, semantic_map=given(s)),
    }
    if segmenter.settings.semantic_width is not None:
        found["baiseg alone"] = lambda sample: segmenter.segment(sample.image)
    return found


def open_data(name: str, images: int, *, tuning: bool = False) -> list[Dataset]:
    """The images of `shapes` or of `PARTS`: those to report on, or those on which settings were tuned."""
    if name in PARTS:
        if not os.environ.get("UPSEG_DATA"):
            sys.exit("expected the folder of the data sets in the environment variable UPSEG_DATA, got none")
        share, tuned, sources = PARTS[name]
        whole = [open_dataset(source, Path(os.environ["UPSEG_DATA"], f), split=split) for source, f, split in sources]
        if tuning:
            return [HashedPart(HashedPart(d, "train", share), "validation", tuned, TUNING_SALT) for d in whole]
        return [HashedPart(dataset, "validation", share) for dataset in whole]
    recipe = yaml.safe_load(find_recipe("baiseg/shapes").read_text())
    scenes: dict[str, Any] = recipe["data"]["init_args"]["train"][0]["dataset"]["init_args"]
    ranges = {k: tuple(v) if isinstance(v, list) else v for k, v in scenes["difficulty"]["init_args"].items()}
    seed = TUNING_SEED if tuning else TEST_SEED
    return [ShapeScenes(images, tuple(scenes["size"]), Difficulty(**ranges), seed, scenes["classes"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder")
    parser.add_argument("--data", choices=("shapes", *PARTS), default="shapes", help="default: shapes")
    parser.add_argument("--tuning", action="store_true", help="the images on which the settings were tuned")
    parser.add_argument("--images", type=int, help="the first so many; default: 200, with --tuning 40")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other settings of the model")
    parser.add_argument("--picture", type=Path, help="a PNG: image, annotation and the methods in each row")
    parser.add_argument("--name", help="of the report; default: baiseg_DATA, with --tuning baiseg_DATA_tuning")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    changed = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.set)}
    segmenter = BaisegSegmenter.from_pretrained(options.model, device="cpu", **changed)
    images = options.images or IMAGES[options.tuning]
    data = open_data(options.data, images, tuning=options.tuning)
    things = list({c.id: c for dataset in data for c in dataset.categories if c.is_thing}.values()) or [OBJECT]
    tried = methods(segmenter, things, DistanceSettings().prominence if options.data == "photos" else 1.0)
    tallies = {name: Tally(things) for name in tried}
    rows = []
    for index, sample in enumerate(islice(chain.from_iterable(data), images)):
        results = [tallies[name].run(method, sample) for name, method in tried.items()]
        if options.picture and index < 12:
            rows.append(draw(sample, results, list(tried)))
        print(f"{index + 1}: {sample.name[:16]}", file=sys.stderr, flush=True)
    table = markdown_table(HEADINGS, (tally.row(name) for name, tally in tallies.items()))
    found = next(iter(tallies.values())).found
    objects, close = len(found[True]) + len(found[False]), len(found[True])
    extraction = {name: getattr(segmenter.settings, name) for name in EXTRACTION}
    notes = [
        f"{objects} objects in {index + 1} images, {close} of which touch another one of their class",
        "baiseg's extraction: " + ", ".join(f"`{name}` {value}" for name, value in extraction.items()),
    ]
    scores = {name: {**tally.cells.compute(), **tally.voc.compute()} for name, tally in tallies.items()}
    title, name = f"Instances from class masks alone: {options.data}", f"baiseg_{options.data}"
    if options.tuning:
        title, name = f"{title}, the images that the settings were tuned on", f"{name}_tuning"
    facts = {"extraction": extraction, "scores": scores}
    write_report(options.output, options.name or name, title, [table], facts, notes)
    if options.picture:
        Image.fromarray(stacked(rows, 200)).save(options.picture)


def draw(sample: Sample, results: Sequence[Segmentation], names: Sequence[str]) -> np.ndarray:
    maps = [Segmentation.from_labels(np.maximum(sample.instance_map(), 0)), *results]
    pictures = [np.rint(sample.image * 255).astype(np.uint8), *(draw_overlay(m, sample.image) for m in maps)]
    return side_by_side(pictures, ["", "annotated", *(name.replace("of the class masks", "") for name in names)])


if __name__ == "__main__":
    main()
