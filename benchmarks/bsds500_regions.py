"""Which method's segments match annotators' regions best? BSDS500 by the paper's protocol.

For every region that an annotator drew the best IoU over the predicted segments, averaged over all regions of all
images: All annotators, the one with most segments (Fine), with fewest (Coarse), and the mean of the three; for the
label maps as they are and with the 4-connected parts of each label separated. Seconds are of a pass of its own.

    UPSEG_DATA=... python benchmarks/bsds500_regions.py                       # the table
    UPSEG_DATA=... python benchmarks/bsds500_regions.py --tune --split train  # Felzenszwalb's settings
    UPSEG_DATA=... python benchmarks/bsds500_regions.py --paper fsf scf fixed # and the paper's own setting: very slow

Results of single images are kept below the output folder; an interrupted run goes on where it was. Felzenszwalb's
settings in the table are the ones that `--tune --split train --images 50` found best.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from harness.methods import Method, grid
from harness.report import markdown_table, write_report
from harness.runs import (
    Photos,
    add_sums,
    argument_parser,
    asked_for,
    measure_images,
    open_photos,
    report_name,
    seconds_note,
    seconds_per_image,
    sums_of,
)

from upseg.functional.label_maps import connected_components
from upseg.methods.dynaseg import DynaSegSettings
from upseg.methods.dynaseg.extensions.hierarchy import DEFAULT_DETAIL
from upseg.metrics.region_iou import RegionIoU

FELZENSZWALB = {"scale": 300, "sigma": 0.5, "min_size": 10}
FELZENSZWALB_GRID = {
    "scale": (50, 100, 150, 200, 300, 400),
    "sigma": (0.3, 0.5, 0.8, 1.0),
    "min_size": (10, 20, 40, 80),
}
KINDS = ("raw", "connected")
SCORES = ("all", "fine", "coarse", "mean")
HEADINGS = ("method", *(f"{score.title()}, {kind}" for kind in ("4-conn.", "raw") for score in SCORES))
PAPER_TIMED = 1
DETAILS = (0.35, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7)
PUBLISHED = """## Published, for orientation (paper: the 200 images of test; the last two: measured on val)

| method                          |  All | Fine | Coarse | Mean |
|---------------------------------|-----:|-----:|-------:|-----:|
| IIC (paper)                     | .172 | .151 |   .207 | .177 |
| CNN + superpixels (paper)       | .226 | .169 |   .324 | .240 |
| K-means (paper)                 | .240 | .221 |   .265 | .242 |
| graph-based (paper)             | .313 | .295 |   .325 | .311 |
| fixed mu = 5 (paper)            | .305 | .259 |   .374 | .313 |
| SCF (paper)                     | .330 | .290 |   .407 | .342 |
| FSF (paper)                     | .349 | .307 |   .420 | .359 |
| gPb-UCM, supervised             |      |      |        | .37  |
| one annotator against another   |      |      |        | .36  |"""


def measure(method: Method, image: np.ndarray, truths: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """For each map of the sweep the sums of `RegionIoU` and the number of segments, raw and 4-connected."""
    results = []
    for labels in method.label_maps(image):
        maps = {"raw": labels, "connected": connected_components(labels)}
        found = {}
        for kind, segments in maps.items():
            metric = RegionIoU()
            metric.update(truths, segments)
            found[kind] = {"sums": sums_of(metric), "segments": len(np.unique(segments))}
        results.append(found)
    return results


def scores_of(images: Sequence[Sequence[dict[str, Any]]], level: int) -> dict[str, dict[str, float]]:
    """All, fine, coarse and mean over the images, and the mean number of segments, of one setting of a sweep."""
    scores = {}
    for kind in KINDS:
        metric = RegionIoU()
        add_sums(metric, (image[level][kind]["sums"] for image in images))
        segments = np.mean([image[level][kind]["segments"] for image in images])
        scores[kind] = {**metric.compute(), "segments": float(segments)}
    return scores


def label_settings(weighting: str, *, preset: str = "default", **changes: Any) -> dict[str, Any]:
    """Settings for the paper's label map; the fixed weighting is the baseline without silhouette phase (floor 3)."""
    floor = 3 if weighting == "fixed" else "silhouette"
    changes = {"weighting": weighting, "grouping": "labels", "connected": False, "floor": floor, **changes}
    return asdict(DynaSegSettings.preset(preset, **changes))


def paper_settings(weighting: str, device: str) -> dict[str, Any]:
    """The paper's own setting; on a CPU the device is not part of it, so that results which are cached stay."""
    return label_settings(weighting, preset="paper") | ({} if device == "cpu" else {"device": device})


def methods_of(options: argparse.Namespace) -> list[Method]:
    names = {"fixed": "fixed mu = 5", "scf": "SCF", "fsf": "FSF"}
    details = sorted({DEFAULT_DETAIL, *options.details})
    return [
        Method("K-means, 5 colours", "kmeans", {"clusters": 5}),
        Method("Felzenszwalb ({scale}, {sigma}, {min_size})".format(**FELZENSZWALB), "felzenszwalb", FELZENSZWALB),
        Method("default", "dynaseg-levels", asdict(DynaSegSettings.preset()), tuple({"detail": d} for d in details)),
        *(
            Method(f"{name}, {options.steps} steps", "dynaseg-labels", label_settings(w, steps=options.steps))
            for w, name in names.items()
        ),
        *(
            Method(f"{title}, {options.steps} steps", family, {"steps": options.steps, "clusters": 64})
            for family, title in (("iic", "IIC"), ("slic-cnn", "CNN + superpixels"))
            if options.baselines
        ),
        *(Method(f"{names[w]}, paper", "dynaseg-labels", paper_settings(w, options.device)) for w in options.paper),
    ]


def run(photos: Photos, options: argparse.Namespace) -> None:
    """The table of all methods."""
    methods = asked_for(methods_of(options), options)
    results = measure_images(methods, measure, photos, options)
    limits = {method.name: PAPER_TIMED for method in methods if method.name.endswith(", paper")}
    seconds = seconds_per_image(methods, photos, options, limits)
    rows: list[dict[str, Any]] = []
    for method, images, taken in zip(methods, results, seconds, strict=True):
        for level, changes in enumerate(method.sweep):
            name = f"{method.name}, detail {changes['detail']:g}" if changes else method.name
            scores = scores_of(images, level)
            settings = {**method.settings, **changes}
            rows.append({"method": name, "settings": settings, **scores, "seconds": median(taken)})
    headings = (*HEADINGS, "segments, 4-conn.", "seconds")
    table = markdown_table(headings, ((*cells(row), row["connected"]["segments"], row["seconds"]) for row in rows))
    title = f"BSDS500 {options.split}, {len(photos.names)} images: region IoU by the paper's protocol"
    notes = [
        seconds_note(photos, options),
        f"`default` is one hierarchy for all its levels; the paper's own setting is timed on {PAPER_TIMED} image",
        f"`default` without more has detail {DEFAULT_DETAIL:g}; Felzenszwalb was tuned on train (`--tune`)",
    ]
    name = report_name("bsds500_regions", photos, options)
    write_report(options.output, name, title, [table, PUBLISHED], {"split": options.split, "rows": rows}, notes)


def tune(photos: Photos, options: argparse.Namespace) -> None:
    """Felzenszwalb over a grid, the best setting first."""
    sweep = grid(FELZENSZWALB_GRID)
    (images,) = measure_images([Method("Felzenszwalb grid", "felzenszwalb", {}, sweep)], measure, photos, options)
    rows: list[dict[str, Any]] = [
        {"method": " ".join(f"{key} {value:g}" for key, value in changes.items()), **scores_of(images, level)}
        for level, changes in enumerate(sweep)
    ]
    rows.sort(key=lambda row: -row["connected"]["mean"])
    table = markdown_table(HEADINGS, map(cells, rows))
    title = f"Felzenszwalb tuned on BSDS500 {options.split}, {len(photos.names)} images: region IoU"
    name = report_name("felzenszwalb_tuning", photos, options)
    write_report(options.output, name, title, [table], {"split": options.split, "rows": rows})
    print(f"best 4-connected: {rows[0]['method']}; best raw: {max(rows, key=lambda r: r['raw']['mean'])['method']}")


def cells(row: dict[str, Any]) -> list[str]:
    return [row["method"], *(f"{row[kind][score]:.3f}" for kind in ("connected", "raw") for score in SCORES)]


def median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def main() -> None:
    parser = argument_parser(__doc__, split="val")
    parser.add_argument("--steps", type=int, default=30, help="of the label maps; default: 30")
    parser.add_argument("--details", type=float, nargs="*", default=DETAILS, help="more levels of `default`")
    parser.add_argument("--paper", choices=("fsf", "scf", "fixed"), nargs="*", default=(), help="the paper's setting")
    parser.add_argument("--device", default="cpu", help="that --paper computes on: cpu, cuda; default: cpu")
    parser.add_argument("--baselines", action="store_true", help="also IIC and the CNN with superpixels")
    parser.add_argument("--tune", action="store_true", help="only Felzenszwalb over a grid, on train")
    options = parser.parse_args()
    if options.tune:
        options.split = "train"
        tune(open_photos(options), options)
    else:
        run(open_photos(options), options)


if __name__ == "__main__":
    main()
