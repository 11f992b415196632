"""Which prominence and least area should `upseg split -m distance` have without options?

Three kinds of class masks are cut with each of them: those of PASCAL VOC (whose instances are not known: VOC 2012 has
2.4 objects in an image), those of nuclei and those of COCO's photos, both made from instances, so that AP (TP / (TP +
FP + FN), the mean over IoU 0.5 to 0.95, whatever the class) tells how well they come apart again. The best row has the
highest mean of both APs, each divided by the highest in its column: neither kind is given up for the other.

    UPSEG_DATA=... python benchmarks/split_distance.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from harness.report import markdown_table, write_report

from upseg.data.sample import IGNORE
from upseg.data.sources import open_dataset
from upseg.functional.label_maps import segment_areas
from upseg.metrics.cell_matching import CellMatching
from upseg.split.baselines import distance_objects, remove_small_objects

RESULTS = Path(__file__).resolve().parent / "results"
PROMINENCES = (1, 2, 4, 6, 8)
AREAS = (0, 20, 50, 100)
HEADINGS = ("prominence", "least area", "VOC: instances", "VOC: of an image", "AP nuclei", "AP COCO", "of the best")
Pair = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Class mask, instances (0 where none), and the pixels that count."""


def pairs(source: str, path: Path, count: int) -> Iterator[Pair]:
    """Class masks made from instances: every n-th image."""
    dataset = open_dataset(source, path, on_error="skip")
    dataset.decode_images = False
    for index in np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist():
        sample = dataset[index]
        instances = sample.instance_map()
        classes = np.array([0, *(1 if s.category is None else s.category.id for s in sample.segments)])
        valid = instances != IGNORE
        yield np.where(valid, classes[np.maximum(instances, 0)], 0), np.where(valid, instances, 0), valid


def voc_masks(path: Path, count: int) -> Iterator[np.ndarray]:
    """Class masks of VOC, 0 for the background and void."""
    dataset = open_dataset("voc2012", path, on_error="skip", background=False)
    dataset.decode_images = False
    for index in range(min(count, len(dataset))):
        yield np.maximum(dataset[index].semantic_map(), 0)


def measure(prominence: float, data: Path, counts: tuple[int, int, int]) -> dict[int, list[float]]:
    """For each least area: instances of VOC, VOC's images, AP of nuclei, AP of COCO."""
    instances, images = dict.fromkeys(AREAS, 0), 0
    for mask in voc_masks(data / "voc2012-semantic-100", counts[0]):
        areas = segment_areas(distance_objects(mask, prominence=prominence))[1:]
        images += 1
        for least in AREAS:
            instances[least] += int((areas >= least).sum())
    scores: dict[int, list[float]] = {least: [instances[least], images] for least in AREAS}
    for source, place, count in (("folder", "dsb2018", counts[1]), ("folder", "coco-instances-more", counts[2])):
        metrics = {least: CellMatching() for least in AREAS}
        for mask, truth, valid in pairs(source, data / place, count):
            found = distance_objects(mask, prominence=prominence)
            for least, metric in metrics.items():
                metric.update(truth, remove_small_objects(found, least), valid)
        for least, metric in metrics.items():
            scores[least].append(metric.compute()["ap"])
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("UPSEG_DATA", ".")), help="$UPSEG_DATA")
    parser.add_argument("--images", type=int, nargs=3, default=(100, 50, 80), help="of VOC, nuclei and COCO")
    parser.add_argument("--workers", type=int, default=1, help="prominences measured side by side")
    arguments = parser.parse_args()
    one = partial(measure, data=arguments.data, counts=tuple(arguments.images))
    with Pool(arguments.workers) as pool:
        found = dict(zip(PROMINENCES, pool.map(one, PROMINENCES, chunksize=1), strict=True))
    table = [[p, least, *row] for p, rows in found.items() for least, row in rows.items()]
    best = [max(row[column] for row in table) for column in (4, 5)]
    rows = [
        [p, least, int(count), count / images, nuclei, coco, (nuclei / best[0] + coco / best[1]) / 2]
        for p, least, count, images, nuclei, coco in table
    ]
    rows.sort(key=lambda row: -row[-1])
    title = "split -m distance: prominence and least area"
    notes = [f"VOC: {rows[0][3]:.1f} instances in an image with the best; PASCAL VOC 2012 itself has 2.4."]
    data = {"headings": HEADINGS, "rows": rows}
    write_report(RESULTS, "split_distance", title, [markdown_table(HEADINGS, rows)], data, notes)


if __name__ == "__main__":
    main()
