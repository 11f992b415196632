"""How many segments must a person pick to get an annotated thing? COCO instances, from all levels of a hierarchy.

For each annotated thing the best IoU that the union of at most 1, 3, 5 and 8 segments can reach: of dynaseg's hierarchy
segments of any level (exact: a table over the tree), and of single label maps. Felzenszwalb, SLIC and the watershed get
for each photo the settings that come nearest to the number of segments of dynaseg's levels ("equal counts"); from their
eight maps, too, a person may take whichever is best for the thing in hand. Share of things with IoU >= .5 and >= .75.

    UPSEG_DATA=... python benchmarks/objects_from_levels.py --images 20

Crowds and things of less than 400 pixels are left out. Ctrl-C ends it with the photos that are done.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from harness.report import markdown_table, write_report
from harness.runs import RESULTS
from skimage.color import rgb2gray
from skimage.filters import sobel
from skimage.segmentation import felzenszwalb, slic, watershed

from upseg.data.sources.coco_layouts import CocoInstances
from upseg.hierarchy import Hierarchy, level_details
from upseg.methods.dynaseg import DynaSegSegmenter, DynaSegSettings
from upseg.methods.dynaseg.extensions.hierarchy import DEFAULT_DETAIL

PICKS = (1, 3, 5, 8)
OVERLAPS = (0.5, 0.75)
LEVELS = 8
LEAST_AREA = 400
SCALES = tuple(float(scale) for scale in np.geomspace(2, 20000, 16))
Masks = Sequence[np.ndarray]
Reached = list[list[float]]  # for each thing the IoU with 1, 3, 5, 8 picks


def flat_reach(labels: np.ndarray, masks: Masks) -> Reached:
    """The best IoU of unions of at most so many segments of one map, for each mask.

    Taking the segments by the share of them inside the mask is best for any IoU to be reached by enough of them; with a
    bound on their number those with the largest inside - t outside are, for the t that they reach.
    """
    areas = np.bincount(labels.ravel())
    reached = []
    for mask in masks:
        inside, size = np.bincount(labels[mask], minlength=len(areas)), int(mask.sum())
        reached.append([_best_flat(inside, areas, size, picks) for picks in PICKS])
    return reached


def _best_flat(inside: np.ndarray, areas: np.ndarray, size: int, picks: int) -> float:
    best = float((inside / (areas + size - inside)).max())
    while True:
        gains = inside - best * (areas - inside)
        chosen = np.argsort(-gains, kind="stable")[:picks]
        chosen = chosen[gains[chosen] > 0]
        shared = inside[chosen].sum()
        found = float(shared / (size + areas[chosen].sum() - shared))
        if found <= best:
            return best
        best = found


def tree_reach(hierarchy: Hierarchy, masks: Masks) -> Reached:
    """The best IoU of unions of at most so many segments of any level, for each mask."""
    return [[hierarchy.best_union(mask, picks).iou for picks in PICKS] for mask in masks]


def best_of(reaches: Sequence[Reached]) -> Reached:
    """The best of several maps for each thing and number of picks."""
    return np.max(np.array(reaches), axis=0).tolist()


def peers(image: np.ndarray) -> Mapping[str, Callable[[int], np.ndarray]]:
    """For each peer the map with about so many segments.

    SLIC and the watershed are told the number; of Felzenszwalb's maps over a grid of scales the nearest is taken.
    """
    gradient = sobel(rgb2gray(image))

    @cache
    def scaled(scale: float) -> np.ndarray:
        return felzenszwalb(image, scale=scale, sigma=0.8, min_size=20) + 1

    def nearest(count: int) -> np.ndarray:
        return min((scaled(scale) for scale in SCALES), key=lambda labels: abs(np.log(labels.max() / count)))

    return {
        "Felzenszwalb": nearest,
        "SLIC": lambda count: slic(image, n_segments=count, compactness=10, start_label=1),
        "watershed": lambda count: watershed(gradient, markers=count),
    }


def measure(image: np.ndarray, masks: Masks, log: Callable[[str], None]) -> dict[str, tuple[Reached, float]]:
    """For each row of the table what is reached, and the seconds that its maps took."""
    rows: dict[str, tuple[Reached, float]] = {}
    started = time.process_time()
    hierarchy = DynaSegSegmenter(DynaSegSettings()).hierarchy(image)
    levels = [hierarchy.at(detail) for detail in level_details(LEVELS)]
    default = hierarchy.at(DEFAULT_DETAIL)
    seconds = time.process_time() - started
    rows["dynaseg, any level"] = tree_reach(hierarchy, masks), seconds
    rows["dynaseg, best of 8 levels"] = best_of([flat_reach(labels, masks) for labels in levels]), seconds
    rows["dynaseg, default level"] = flat_reach(default, masks), seconds
    counts = [int(labels.max()) for labels in levels]
    for name, make in peers(image).items():
        started = time.process_time()
        maps = [make(count) for count in counts]
        rows[f"{name}, best of 8 maps"] = best_of([flat_reach(labels, masks) for labels in maps]), 0.0
        rows[f"{name}, one map"] = flat_reach(make(int(default.max())), masks), time.process_time() - started
        rows[f"{name}, best of 8 maps"] = rows[f"{name}, best of 8 maps"][0], rows[f"{name}, one map"][1]
    log(f"{len(masks)} things, {counts} segments, {seconds:.1f} s")
    return rows


def photos(options: argparse.Namespace) -> Iterator[tuple[np.ndarray, Masks]]:
    """Photos with things that count, and their masks."""
    named = options.data or os.environ.get("UPSEG_DATA")
    if not named:
        sys.exit("expected a folder of COCO instances, got none: give --data FOLDER or set UPSEG_DATA")
    root = Path(named)
    dataset = CocoInstances(
        root / "coco-instances-mini" if (root / "coco-instances-mini").is_dir() else root, options.split
    )
    found = 0
    for index in range(len(dataset)):
        sample = dataset[index]
        segment_map = np.asarray(sample.segment_map)
        masks = [segment_map == number for number, s in enumerate(sample.segments, 1) if not s.is_crowd]
        masks = [mask for mask in masks if mask.sum() >= LEAST_AREA]
        if masks:
            yield np.asarray(sample.image), masks
            found += 1
        if found == options.images:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="COCO instances, or the folder above it; default: $UPSEG_DATA")
    parser.add_argument("--split", default="train", help="train or val; default: train")
    parser.add_argument("--images", type=int, default=20, help="the first so many with things; default: 20")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    reached: dict[str, list[list[float]]] = {}
    seconds: dict[str, float] = {}
    done = 0
    try:
        for number, (image, masks) in enumerate(photos(options), start=1):
            rows = measure(image, masks, lambda text, number=number: print(f"{number}: {text}", flush=True))
            for name, (ious, spent) in rows.items():
                reached.setdefault(name, []).extend(ious)
                seconds[name] = seconds.get(name, 0.0) + spent
            done = number
    except KeyboardInterrupt:
        if not done:
            raise
    report(reached, seconds, done, options.output)


def report(reached: Mapping[str, Sequence[Sequence[float]]], seconds: Mapping[str, float], done: int, to: Path) -> None:
    things = len(next(iter(reached.values())))
    headings = ("method", *(f"{picks} at IoU {overlap}" for overlap in OVERLAPS for picks in PICKS), "CPU s / photo")
    table, data = [], {}
    for name, ious in reached.items():
        shares = [float((np.array(ious)[:, i] >= overlap).mean()) for overlap in OVERLAPS for i in range(len(PICKS))]
        table.append([name, *(f"{share:.2f}" for share in shares), f"{seconds[name] / done:.1f}"])
        data[name] = {"shares": shares, "ious": [list(map(float, row)) for row in ious]}
    facts: dict[str, Any] = {"photos": done, "things": things, "picks": PICKS, "overlaps": OVERLAPS, "methods": data}
    title = f"Things reached by picking segments: {things} things in {done} photos of COCO"
    notes = (
        "share of the things that the union of at most so many segments reaches",
        "best of 8: for each thing the one map in which it is best reached",
        "peers have the number of segments of dynaseg's levels, photo by photo; their seconds are of all their maps",
    )
    write_report(to, "objects_from_levels", title, [markdown_table(headings, table)], facts, notes)


if __name__ == "__main__":
    main()
