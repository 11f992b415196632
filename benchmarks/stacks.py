"""How many objects of a made-up stack are found whole, by the overlap at which segments are joined?

Ellipsoids with known places, some touching, cut into planes. `true planes`: every plane's own segments with numbers of
their own, so that only the joining is measured. `nuclei`: planes drawn as pictures and segmented by the model. An
object is whole if its IoU with one joined object, over all planes, is at least one half.

    python benchmarks/stacks.py [--objects 120] [--seeds 3] [--model nuclei]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from harness.report import markdown_table, write_report

from upseg.functional.label_maps import canonical_order
from upseg.functional.linking import PlaneLinker

BENCHMARKS = Path(__file__).resolve().parent
SHAPE = 16, 320, 320
LINKS = 0.05, 0.1, 0.25, 0.5, 0.7


def made_up(count: int, seed: int) -> np.ndarray:
    """(Z, Y, X) ids of ellipsoids; a pixel of two belongs to the nearer."""
    rng = np.random.default_rng(seed)
    nearest, labels = np.full(SHAPE, np.inf), np.zeros(SHAPE, np.int32)
    grid = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    for number in range(1, count + 1):
        centre = rng.uniform((1, 8, 8), np.array(SHAPE) - (2, 9, 9))
        radii = np.array((rng.uniform(2, 5), *rng.uniform(7, 12, 2)))
        box = tuple(slice(max(0, int(c - r) - 1), int(c + r) + 2) for c, r in zip(centre, radii, strict=True))
        parts = zip(grid[(slice(None), *box)], centre, radii, strict=True)
        distance = np.sum([((axis - c) / r) ** 2 for axis, c, r in parts], axis=0)
        wins = (distance < 1) & (distance < nearest[box])
        labels[box][wins], nearest[box][wins] = number, distance[wins]
    return labels


def linked(planes: list[np.ndarray], link: float) -> np.ndarray:
    linker = PlaneLinker(link)
    return np.stack([linker.add(plane) for plane in planes])


def share_whole(true: np.ndarray, found: np.ndarray) -> float:
    """Of the objects, those with an IoU of at least one half with one found object."""
    count = int(found.max()) + 1
    pairs, shared = np.unique(true.astype(np.int64) * count + found, return_counts=True)
    areas, found_areas = np.bincount(true.ravel()), np.bincount(found.ravel())
    a, b = pairs // count, pairs % count
    whole = (a > 0) & (b > 0) & (2 * shared >= areas[a] + found_areas[b] - shared)
    return float(whole.sum() / np.count_nonzero(areas[1:]))


def segmented(true: np.ndarray, model: Any, seed: int) -> list[np.ndarray]:
    """Every plane drawn as a picture and segmented."""
    rng = np.random.default_rng(seed)
    brightness = np.concatenate([[0.08], rng.uniform(0.5, 0.9, int(true.max()))])
    pictures = np.clip(brightness[true] + rng.normal(0, 0.02, true.shape), 0, 1).astype(np.float32)
    return [model.segment(np.repeat(picture[..., None], 3, 2)).labels for picture in pictures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", help="also segment the planes with this model; default: true planes only")
    parser.add_argument("--output", type=Path, default=BENCHMARKS / "results", help="default: benchmarks/results")
    options = parser.parse_args()
    ways: dict[str, list[list[float]]] = {}
    for seed in range(options.seeds):
        true = made_up(options.objects, seed)
        planes = {"true planes": [canonical_order(plane)[0] for plane in true]}
        if options.model:
            from upseg import load_model

            planes[options.model] = segmented(true, load_model(options.model, "cpu", diameter=18.0), seed)
        for way, maps in planes.items():
            ways.setdefault(way, []).append([share_whole(true, linked(maps, link)) for link in LINKS])
    rows = {way: np.mean(shares, axis=0).tolist() for way, shares in ways.items()}
    table = markdown_table(["planes", *(f"IoU {link:g}" for link in LINKS)], [(w, *s) for w, s in rows.items()])
    notes = [f"{options.objects} objects in {SHAPE[0]} planes of {SHAPE[1]} x {SHAPE[2]}, {options.seeds} stacks"]
    title = "Stacks: share of objects found whole, by the least overlap of neighbours"
    write_report(options.output, "stacks", title, [table], {"links": LINKS, "rows": rows}, notes)


if __name__ == "__main__":
    main()
