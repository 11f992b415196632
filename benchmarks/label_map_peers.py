"""How fast label maps are measured and compared, next to the libraries that are known for it?

A map of 6 megapixels with 3,000 ragged segments: numbering by first pixel, counting, boxes and centroids, connected
parts, neighbours, borders, run lengths, outlines, overlaps with a second map, and the scores made of these. The peers
are fastremap and connected-components-3d (both LGPL, for which reason upseg does not use them; compared if installed),
scikit-image, pycocotools, and the counting of panopticapi, which is one np.unique over pairs. Ours and the peer take
turns; processor seconds, the least of the repeats. The floor is reading the map once, at the rate measured here.

    python benchmarks/label_map_peers.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness.report import markdown_table, write_report
from harness.runs import RESULTS
from measurements_speed import scene
from pycocotools import mask as coco_mask
from skimage import measure as skimage_measure
from skimage.metrics import adapted_rand_error
from skimage.metrics import variation_of_information as skimage_information
from skimage.segmentation import find_boundaries

from upseg.functional.contingency import overlaps
from upseg.functional.label_maps import (
    border_pixels,
    canonical_order,
    connected_components,
    neighbour_pairs,
    present_values,
    segment_areas,
    segment_boxes,
    segment_centroids,
)
from upseg.functional.polygons import trace_rings
from upseg.functional.runs import encode_label_map
from upseg.metrics.rand_index import rand_index
from upseg.metrics.variation_of_information import variation_of_information

HEIGHT, WIDTH, SEGMENTS = 2000, 3000, 3000
CORNER = (400, 600)
"""Of the map whose masks pycocotools encodes one by one."""
SHIFT = (4, 4)
OFFSET = 256**3
"""By which panopticapi tells the two ids of a pair."""

Work = Callable[[], object]
IN_CORNER = "in 240,000 pixels"


def installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def seconds(work: Work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def encode_masks(labels: np.ndarray) -> list[object]:
    return [coco_mask.encode(np.asfortranarray(labels == number)) for number in range(1, int(labels.max()) + 1)]


def contours(labels: np.ndarray) -> list[object]:
    """Each segment's in its own box."""
    boxes = segment_boxes(labels)
    parts = (labels[top:bottom, left:right] == n for n, (top, left, bottom, right) in enumerate(boxes, start=1))
    return [skimage_measure.find_contours(np.pad(part, 1).astype(np.float32), 0.5) for part in parts]


def paired_counts(truth: np.ndarray, prediction: np.ndarray) -> object:
    """As panopticapi does it."""
    return np.unique(truth.astype(np.uint64) * OFFSET + prediction.astype(np.uint64), return_counts=True)


def cases(labels: np.ndarray) -> dict[str, tuple[Work, str, Work | None]]:
    """What is done, by us, by whom else, and by them; None where the peer is not installed."""
    remap, cc3d = installed("fastremap"), installed("cc3d")
    random = np.random.default_rng(0)
    count = int(labels.max())
    shuffled = np.append(0, random.permutation(count) + 1).astype(np.int32)[labels]
    wide = np.append(0, random.choice(OFFSET, count, replace=False)).astype(np.int64)[labels]
    unsigned, corner = labels.astype(np.uint32), canonical_order(labels[: CORNER[0], : CORNER[1]])[0]
    other, wide_other = (np.roll(one, SHIFT, (0, 1)) for one in (labels, wide))

    def boxes_and_centroids() -> None:
        segment_areas(labels)
        segment_boxes(labels)
        segment_centroids(labels)

    return {
        "canonical ids": (
            lambda: canonical_order(shuffled),
            "fastremap.renumber",
            remap and (lambda: remap.renumber(shuffled)),
        ),
        "canonical ids, of 24-bit ones": (
            lambda: canonical_order(wide),
            "fastremap.renumber",
            remap and (lambda: remap.renumber(wide)),
        ),
        "ids that occur": (
            lambda: present_values(labels),
            "fastremap.unique",
            remap and (lambda: remap.unique(labels)),
        ),
        "areas": (
            lambda: segment_areas(labels),
            "fastremap.unique",
            remap and (lambda: remap.unique(labels, return_counts=True)),
        ),
        "areas, boxes and centroids": (
            boxes_and_centroids,
            "cc3d.statistics",
            cc3d and (lambda: cc3d.statistics(unsigned)),
        ),
        "connected parts": (
            lambda: connected_components(labels),
            "cc3d.connected_components",
            cc3d and (lambda: cc3d.connected_components(labels, connectivity=4)),
        ),
        "connected parts, scikit-image": (
            lambda: connected_components(labels),
            "skimage.measure.label",
            lambda: skimage_measure.label(labels, background=0, connectivity=1),
        ),
        "pairs of neighbours": (
            lambda: neighbour_pairs(labels),
            "cc3d.region_graph",
            cc3d and (lambda: cc3d.region_graph(unsigned, connectivity=4)),
        ),
        "pixels at borders": (
            lambda: border_pixels(labels),
            "skimage find_boundaries",
            lambda: find_boundaries(labels),
        ),
        f"run lengths {IN_CORNER}": (
            lambda: encode_label_map(corner),
            "pycocotools",
            lambda: encode_masks(corner),
        ),
        f"outlines {IN_CORNER}": (lambda: trace_rings(corner), "skimage find_contours", lambda: contours(corner)),
        "overlaps": (lambda: overlaps(labels, other), "panopticapi's", lambda: paired_counts(labels, other)),
        "overlaps, 24-bit ids": (
            lambda: overlaps(wide, wide_other),
            "panopticapi's",
            lambda: paired_counts(wide, wide_other),
        ),
        "variation of information": (
            lambda: variation_of_information(labels, other),
            "scikit-image",
            lambda: skimage_information(labels, other),
        ),
        "Rand index": (lambda: rand_index(labels, other), "scikit-image", lambda: adapted_rand_error(labels, other)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of which the least counts; default: 5")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    labels = scene(HEIGHT, WIDTH, SEGMENTS)[0].labels.copy()
    floor = min(seconds(lambda: np.bitwise_or.reduce(labels, axis=None)) for _ in range(options.repeats))
    found: dict[str, dict[str, Any]] = {}
    for name, (ours, peer, theirs) in cases(labels).items():
        rounds = [(seconds(ours), seconds(theirs) if theirs else None) for _ in range(options.repeats)]
        mine = min(first for first, _ in rounds)
        other = min(second for _, second in rounds if second is not None) if theirs else None
        found[name] = {"seconds": mine, "peer": peer, "peer_seconds": other}
        print(name, found[name], flush=True)
    rows = [
        (
            name,
            f"{1000 * row['seconds']:.1f}",
            row["peer"],
            f"{1000 * row['peer_seconds']:.1f}" if row["peer_seconds"] else "not installed",
            f"{row['peer_seconds'] / row['seconds']:.2f}" if row["peer_seconds"] else "",
            "" if IN_CORNER in name else f"{row['seconds'] / floor:.1f}",
        )
        for name, row in found.items()
    ]
    table = markdown_table(("what", "upseg (ms)", "peer", "peer (ms)", "peer / upseg", "upseg / floor"), rows)
    notes = [
        f"processor time, the least of {options.repeats}; {SEGMENTS} segments in {HEIGHT * WIDTH / 1e6:.0f} megapixels",
        f"floor: {1000 * floor:.2f} ms to read the {labels.nbytes / 1e6:.0f} MB of one map",
        "upseg's parts and pairs are sorted: parts by their first pixel, pairs by their ids",
    ]
    data = {"floor_seconds": floor, "rows": [{"what": name, **row} for name, row in found.items()]}
    write_report(options.output, "label_map_peers", "Label maps next to peers", [table], data, notes)


if __name__ == "__main__":
    main()
