"""Do the segments agree with annotators, when crumbs gain nothing? BSDS500's region benchmark.

Segmentation covering, probabilistic Rand index (higher is better) and variation of information (bits, lower is
better), at one setting for all images (ODS) and at each image's own best setting (OIS). DynaSeg sweeps its level of
detail, all levels from one hierarchy; Felzenszwalb and mean shift sweep a grid of their settings, and ODS takes each
method's best setting on these very images. Three rows show what frozen ImageNet features and a fitted network bring:
with both, with the fitted network alone, with neither; the weights of the merging are the same in all of them.

    UPSEG_DATA=... python benchmarks/bsds500_agreement.py [--split val] [--images N] [--levels 25]

Results of single images are kept below the output folder; an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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

from upseg.methods.dynaseg import DynaSegSettings
from upseg.methods.dynaseg.extensions.hierarchy import DEFAULT_DETAIL
from upseg.metrics.region_sweep import RegionSweep

FELZENSZWALB_GRID = {
    "scale": (100, 200, 400, 800, 1600),
    "sigma": (0.8,),
    "min_size": (50, 200, 800),
}
MEAN_SHIFT = {"reduction": 4, "min_size": 100}
MEAN_SHIFT_GRID = {"spatial": (150,), "colour": (14, 16, 18, 20)}
MEAN_SHIFT_NOTE = (
    f"mean shift: scikit-learn's on (L, a, b, row, column), modes found on every {MEAN_SHIFT['reduction']}th row and "
    f"column, 4-connected parts below {MEAN_SHIFT['min_size']} pixels absorbed"
)
FITTED = 10
"""Steps of the fit, as many as the preset `default` took when it had no other features."""
MEASURES = {
    "covering": "covering",
    "probabilistic_rand_index": "PRI",
    "variation_of_information": "VOI",
}
HEADINGS = (
    "method",
    "settings",
    *(f"{short} {kind}" for short in MEASURES.values() for kind in ("ODS", "OIS")),
    "covering best",
    "segments",
    "seconds",
    "covering ODS at",
)
PUBLISHED = """## Published, for orientation (BSDS500 test, ODS covering)

Felzenszwalb .52, mean shift .54, gPb-UCM (supervised) .59: Arbeláez et al., PAMI 2011. Aim of `default` here: .60."""


def measure(method: Method, image: np.ndarray, truths: Sequence[np.ndarray]) -> dict[str, Any]:
    """The sums of `RegionSweep`, and the number of segments at each setting."""
    maps = method.label_maps(image)
    metric = RegionSweep(len(maps))
    metric.update(truths, maps)
    return {"sums": sums_of(metric), "segments": [len(np.unique(labels)) for labels in maps]}


def methods_of(levels: int) -> list[Method]:
    """Every row of the table."""
    default = asdict(DynaSegSettings.preset())
    values = sorted({DEFAULT_DETAIL, *(round(float(detail), 4) for detail in np.linspace(0, 1, levels))})
    details = tuple({"detail": detail} for detail in values)
    return [
        Method("default", "dynaseg-levels", default, details),
        Method("... and a fitted network", "dynaseg-levels", {**default, "steps": FITTED}, details),
        Method(
            "... fitted network only", "dynaseg-levels", {**default, "steps": FITTED, "compare_by": "colour"}, details
        ),
        Method("... ImageNet only", "dynaseg-levels", {**default, "compare_by": "imagenet"}, details),
        Method("... colour only", "dynaseg-levels", {**default, "compare_by": "colour"}, details),
        Method("Felzenszwalb", "felzenszwalb", {}, grid(FELZENSZWALB_GRID)),
        Method("mean shift", "mean-shift", MEAN_SHIFT, grid(MEAN_SHIFT_GRID)),
    ]


def summary(method: Method, images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row: the scores over all images, and the setting that covering's ODS uses."""
    metric = RegionSweep(len(method.sweep))
    add_sums(metric, (image["sums"] for image in images))
    sums = metric.sums
    by_setting = {
        "covering": sums["covered"] / sums["area"],
        "probabilistic_rand_index": sums["rand"] / sums["images"],
        "variation_of_information": sums["information"] / sums["images"],
    }
    return {
        "method": method.name,
        "settings": dict(method.settings),
        "sweep": [dict(changes) for changes in method.sweep],
        "scores": metric.compute(),
        "by_setting": {name: values.tolist() for name, values in by_setting.items()},
        "best_setting": int(np.argmax(sums["covered"])),
        "segments": np.mean([image["segments"] for image in images], axis=0).tolist(),
    }


def at_setting(row: Mapping[str, Any], chosen: Mapping[str, float]) -> dict[str, Any]:
    """The row of one fixed setting of a sweep, whose ODS and OIS are the same."""
    index = row["sweep"].index(chosen)
    values = {name: values[index] for name, values in row["by_setting"].items()}
    return {
        **row,
        "method": f"{row['method']}, this level only",
        "sweep": [dict(chosen)],
        "scores": {f"{name}_{kind}": value for name, value in values.items() for kind in ("ods", "ois")}
        | {"covering_best": values["covering"]},
        "by_setting": {name: [value] for name, value in values.items()},
        "best_setting": 0,
        "segments": [row["segments"][index]],
    }


def cells(row: Mapping[str, Any]) -> list[object]:
    best = row["sweep"][row["best_setting"]]
    scores = row["scores"]
    return [
        row["method"],
        len(row["sweep"]),
        *(f"{scores[f'{name}_{kind}']:.3f}" for name in MEASURES for kind in ("ods", "ois")),
        f"{scores['covering_best']:.3f}",
        row["segments"][row["best_setting"]],
        row["seconds"],
        " ".join(f"{key} {value:g}" for key, value in best.items()),
    ]


def main() -> None:
    parser = argument_parser(__doc__, split="val")
    parser.add_argument("--levels", type=int, default=25, help="of detail, evenly from 0 to 1; default: 25")
    options = parser.parse_args()
    photos = open_photos(options)
    run(photos, options)


def run(photos: Photos, options: argparse.Namespace) -> None:
    methods = asked_for(methods_of(options.levels), options)
    results = measure_images(methods, measure, photos, options)
    rows = [summary(method, images) for method, images in zip(methods, results, strict=True)]
    chosen = [
        replace(method, sweep=(method.sweep[row["best_setting"]],)) for method, row in zip(methods, rows, strict=True)
    ]
    for row, taken in zip(rows, seconds_per_image(chosen, photos, options), strict=True):
        row["seconds"] = float(np.median(taken)) if taken else None
    if methods[0].name == "default":
        rows.insert(1, at_setting(rows[0], {"detail": DEFAULT_DETAIL}))
    title = f"BSDS500 {options.split}, {len(photos.names)} images: agreement with annotators"
    notes = [
        "covering ODS at: the setting of each method's best covering; `segments` and `seconds` are at that setting",
        seconds_note(photos, options),
        "settings: how many the sweep has (OIS and best gain from many)",
        MEAN_SHIFT_NOTE,
    ]
    name = report_name("bsds500_agreement", photos, options)
    table = markdown_table(HEADINGS, map(cells, rows))
    write_report(options.output, name, title, [table, PUBLISHED], {"split": options.split, "rows": rows}, notes)


if __name__ == "__main__":
    main()
