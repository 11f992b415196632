"""How fast panoptic quality and the class-agnostic scores are, against a loop over masks.

    python benchmarks/metrics_speed.py [--processes 2] [--seconds 2]

Images are 640 x 480 with compact segments that tile them and ids as wide as COCO's; the prediction is the ground truth
shifted by four pixels. Times are processor time while all processes run, so that other work on the machine does not
change them. The loop is the one that the tests hold the fast version against, run on one image. Exit code 1 if the
throughput of all processes together is below the goal anywhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.reference import metrics as reference

from upseg.metrics.boundary_iou import boundary_width
from upseg.metrics.class_agnostic import best_matches
from upseg.metrics.panoptic_quality import panoptic_counts

HEIGHT, WIDTH, CLASSES, IMAGES_PER_SECOND = 480, 640, 20, 200
SEGMENTS = (10, 40, 100)
ID_STEP = 131_071  # ids as large and as far apart as those from COCO's RGB


@dataclass(frozen=True)
class Scene:
    """Two label maps (H, W), and the class of each id (the same in both)."""

    truth: np.ndarray
    prediction: np.ndarray
    classes: dict[int, int]


def draw(seed: int, segments: int) -> Scene:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, [HEIGHT, WIDTH], (segments, 2))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([rows.ravel(), columns.ravel()], axis=1)
    truth = (cKDTree(centres).query(pixels)[1].reshape(HEIGHT, WIDTH) + 1) * ID_STEP
    classes = {(i + 1) * ID_STEP: i % CLASSES for i in range(segments)}
    return Scene(truth, np.roll(truth, (4, 4), axis=(0, 1)), classes)


def panoptic(scene: Scene) -> object:
    return panoptic_counts(scene.truth, scene.classes, scene.prediction, scene.classes, CLASSES)


def panoptic_loop(scene: Scene) -> object:
    return reference.panoptic_counts(scene.truth, scene.classes, scene.prediction, scene.classes, CLASSES)


def class_agnostic(scene: Scene) -> object:
    return best_matches(scene.truth, scene.prediction)


def class_agnostic_loop(scene: Scene) -> object:
    width = boundary_width(HEIGHT, WIDTH)
    best = reference.best_matches(scene.truth, scene.prediction)
    pairs = zip(reference.ids_of(scene.truth), best, strict=True)
    return [reference.boundary_iou(scene.truth == i, scene.prediction == j, width) for i, (_, j) in pairs]


METRICS: dict[str, tuple[Callable[[Scene], object], Callable[[Scene], object]]] = {
    "panoptic quality": (panoptic, panoptic_loop),
    "class-agnostic scores": (class_agnostic, class_agnostic_loop),
}


def seconds_per_image(seed: int, name: str, segments: int, seconds: float) -> float:
    """Processor time of one process, on images that it has drawn before."""
    scenes = [draw(seed * 100 + k, segments) for k in range(8)]
    metric = METRICS[name][0]
    metric(scenes[0])
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        metric(scenes[done % len(scenes)])
        done += 1
    return (time.process_time() - start) / done


def seconds_of_loop(name: str, segments: int) -> float:
    scene = draw(0, segments)
    start = time.process_time()
    METRICS[name][1](scene)
    return time.process_time() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each figure is measured")
    options = parser.parse_args()
    title = f"640 x 480 images, {options.processes} processes (goal: {IMAGES_PER_SECOND} images/s)"
    columns = ("metric", "segments", "images/s", "ms/image", "loop ms/image", "loop / ours")
    table = Table(*columns, title=title)
    slowest = float("inf")
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for name in METRICS:
            for segments in SEGMENTS:
                measure = partial(seconds_per_image, name=name, segments=segments, seconds=options.seconds)
                ours = float(np.mean(pool.map(measure, range(options.processes), chunksize=1)))
                throughput, loop = options.processes / ours, seconds_of_loop(name, segments)
                cells = (f"{throughput:.0f}", f"{1e3 * ours:.1f}", f"{1e3 * loop:.0f}", f"{loop / ours:.0f}")
                table.add_row(name, str(segments), *cells)
                slowest = min(slowest, throughput)
    Console().print(table)
    return int(slowest < IMAGES_PER_SECOND)


if __name__ == "__main__":
    sys.exit(main())
