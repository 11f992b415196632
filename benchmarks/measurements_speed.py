"""How long measuring takes: 3,000 segments in 6 megapixels, the basic columns and all of them.

    python benchmarks/measurements_speed.py [--repeats 5]

Times are processor seconds, the least of the repeats, so that other work on the machine does not change them. Exit code
1 if the basic columns take more than half a second, or all more than three.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from harness.report import markdown_table, write_report
from harness.runs import RESULTS
from scipy import ndimage
from skimage.measure import regionprops_table

from upseg.functional.label_maps import canonical_order, segment_areas, segment_boxes
from upseg.measurements import measure
from upseg.segmentation import Segmentation

HEIGHT, WIDTH, SEGMENTS = 2000, 3000, 3000
GOALS = {"basic columns": 0.5, "all columns": 3.0, "canonical ids": 0.03}
SAME = (
    "area",
    "centroid",
    "perimeter",
    "axis_major_length",
    "eccentricity",
    "solidity",
    "orientation",
    "intensity_mean",
)
"""What scikit-image is asked for, for comparison."""


def scene(height: int, width: int, segments: int) -> tuple[Segmentation, np.ndarray]:
    """A label map of the Voronoi cells of random points, with ragged borders, and an image of noise."""
    rng = np.random.default_rng(0)
    points = np.zeros((height, width), np.int32)
    places = rng.choice(height * width, segments, replace=False)
    points.ravel()[places] = np.arange(1, segments + 1)
    rows, columns = ndimage.distance_transform_edt(points == 0, return_distances=False, return_indices=True)
    labels = points[rows, columns]
    shifts = rng.integers(-2, 3, (2, height, width))
    grid = np.mgrid[:height, :width] + shifts
    ragged = labels[np.clip(grid[0], 0, height - 1), np.clip(grid[1], 0, width - 1)]
    return Segmentation.from_labels(ragged), rng.random((height, width, 3), dtype=np.float32)


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The least processor time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def measured(segmentation: Segmentation, image: np.ndarray, repeats: int) -> Mapping[str, float]:
    """The seconds of each kind of measurement."""
    return {
        "basic columns": seconds(lambda: measure(segmentation, shapes=False), repeats),
        "all columns": seconds(lambda: measure(segmentation, image, "0.32um"), repeats),
        **label_map_operations(segmentation.labels, repeats),
        "scikit-image, the same": seconds(lambda: regionprops_table(segmentation.labels, image, properties=SAME), 1),
    }


def label_map_operations(labels: np.ndarray, repeats: int) -> Mapping[str, float]:
    """Those that every result goes through, a sort in their place, and the floor: a copy, which moves all once."""
    shuffled = np.append(0, np.random.default_rng(0).permutation(labels.max()) + 1).astype(np.int32)[labels]
    return {
        "canonical ids": seconds(lambda: canonical_order(shuffled), repeats),
        "canonical ids by np.unique": seconds(lambda: np.unique(shuffled, True, True), 1),
        "areas": seconds(lambda: segment_areas(labels), repeats),
        "boxes": seconds(lambda: segment_boxes(labels), repeats),
        "a copy of the map": seconds(labels.copy, repeats),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of which the least counts; default: 5")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    segmentation, image = scene(HEIGHT, WIDTH, SEGMENTS)
    found = measured(segmentation, image, options.repeats)
    rows = [[name, f"{spent:.3f}", f"{GOALS[name]}" if name in GOALS else ""] for name, spent in found.items()]
    title = f"Measuring {len(segmentation)} segments in {HEIGHT * WIDTH / 1e6:.0f} megapixels"
    table = markdown_table(("what", "processor seconds", "goal"), rows)
    write_report(options.output, "measurements_speed", title, [table], {"seconds": dict(found)}, [])
    return int(any(found[name] > goal for name, goal in GOALS.items()))


if __name__ == "__main__":
    sys.exit(main())
