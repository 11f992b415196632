"""Does the paper's finding hold: silhouette floor above a fixed floor of 3, FSF above SCF?

Four fits of each image: both weightings, each with q* read off the image by silhouettes and with q* = 3. The score is
region IoU of the connected label maps by the paper's protocol; beside it the floor, q' at the end, and the steps until
the fit stopped. A floor only matters in a fit long enough to reach it.

    UPSEG_DATA=... python benchmarks/silhouette_floor.py [--split train] [--images 50] [--steps 60] [--crop 240]

Results of single images are kept below the output folder; an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from harness.fits import fit_image
from harness.methods import Method
from harness.report import markdown_table, write_report
from harness.runs import Photos, add_sums, argument_parser, measure_images, open_photos, report_name, sums_of

from upseg.methods.dynaseg import DynaSegSettings
from upseg.methods.dynaseg.equations import cluster_labels, labels_in_use
from upseg.methods.dynaseg.grouping import group_labels
from upseg.metrics.region_iou import RegionIoU

FIXED_FLOOR = 3
SCORES = ("all", "fine", "coarse", "mean")
HEADINGS = ("weighting", "floor", "All", "Fine", "Coarse", "Mean", "q*", "q' at the end", "steps", "stopped early")
PUBLISHED = (
    "published (COCO-Stuff, FSF, CNN): silhouette against a floor of 3: All 26.0 → 30.5, Stuff 34.8 → 42.4; BSDS500 "
    "test, Mean: FSF .359, SCF .342"
)


def measure(method: Method, image: np.ndarray, truths: Sequence[np.ndarray]) -> dict[str, Any]:
    """The sums of `RegionIoU` of the connected label map, and how the fit went."""
    fit, floor, response = fit_image(image, DynaSegSettings(**method.settings))
    metric = RegionIoU()
    metric.update(truths, group_labels(response.float(), connected=True))
    return {
        "sums": sums_of(metric),
        "floor": floor,
        "labels": int(labels_in_use(cluster_labels(response), response.shape[1]).sum()),
        "steps": len(fit.losses),
    }


def methods_of(options: argparse.Namespace) -> list[Method]:
    """FSF and SCF, each with both floors."""
    changes = {"grouping": "labels", "steps": options.steps, "crop": options.crop or None}
    return [
        Method(
            f"{weighting.upper()}, {'silhouette' if floor == 'silhouette' else f'fixed {floor}'}",
            "dynaseg-labels",
            asdict(DynaSegSettings.preset(weighting=weighting, floor=floor, **changes)),
        )
        for weighting in ("fsf", "scf")
        for floor in ("silhouette", FIXED_FLOOR)
    ]


def summary(method: Method, images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row: scores over all regions, and means over the images."""
    metric = RegionIoU()
    add_sums(metric, (image["sums"] for image in images))
    most = method.settings["steps"]
    return {
        "method": method.name,
        "settings": dict(method.settings),
        **metric.compute(),
        **{key: float(np.mean([image[key] for image in images])) for key in ("floor", "labels", "steps")},
        "stopped": float(np.mean([image["steps"] < most for image in images])),
        "floors": np.bincount([image["floor"] for image in images]).tolist(),
    }


def cells(row: dict[str, Any]) -> list[object]:
    weighting, floor = row["method"].split(", ")
    means = (f"{row['floor']:.1f}", f"{row['labels']:.1f}", f"{row['steps']:.1f}", f"{row['stopped']:.0%}")
    return [weighting, floor, *(f"{row[score]:.3f}" for score in SCORES), *means]


def comparisons(methods: Sequence[Method], results: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    """Sentences that answer the question: the difference in All of each pair, image by image."""
    pairs = ((0, 1), (2, 3), (0, 2), (1, 3))
    return [_comparison(methods[a].name, results[a], methods[b].name, results[b]) for a, b in pairs]


def _comparison(name: str, images: Sequence[dict[str, Any]], other: str, others: Sequence[dict[str, Any]]) -> str:
    differences = np.array([_image_score(a) - _image_score(b) for a, b in zip(images, others, strict=True)])
    error = differences.std(ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else float("nan")
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return (
        f"{name} less {other}: All {differences.mean():+.4f} (standard error {error:.4f}) in the mean over images, "
        f"better on {better}, worse on {worse}, equal on {len(differences) - better - worse}"
    )


def _image_score(image: dict[str, Any]) -> float:
    metric = RegionIoU()
    add_sums(metric, [image["sums"]])
    return metric.compute()["all"]


def run(photos: Photos, options: argparse.Namespace) -> None:
    methods = methods_of(options)
    results = measure_images(methods, measure, photos, options)
    rows = [summary(method, images) for method, images in zip(methods, results, strict=True)]
    seen = f"crops of {options.crop}" if options.crop else "whole images"
    fits = f"at most {options.steps} steps on {seen}"
    title = f"BSDS500 {options.split}, {len(photos.names)} images: floor and weighting, {fits}"
    notes = [*comparisons(methods, results), PUBLISHED]
    name = report_name("silhouette_floor", photos, options)
    table = markdown_table(HEADINGS, map(cells, rows))
    write_report(options.output, name, title, [table], {"split": options.split, "rows": rows}, notes)


def main() -> None:
    parser = argument_parser(__doc__, split="train", images=50)
    parser.add_argument("--steps", type=int, default=60, help="at most; default: 60")
    parser.add_argument("--crop", type=int, default=240, help="side of what a step sees, 0 the image; default: 240")
    options = parser.parse_args()
    run(open_photos(options), options)


if __name__ == "__main__":
    main()
