"""Which method finds the entities of everyday photos? COCO photos that nothing here was trained on, peers side by side.

Two sets: wholly labelled photos (things and stuff; those of coco-panoptic-100 and coco-stuff-13 that are kept apart by
hash), and photos in which only things are outlined (the first of coco-instances-mini, of which none was trained on).
Of each entity the best IoU with a segment: recall is the share with at least one half, covering weighs them by area. Of
things of 400 pixels or more, too, the share that the union of at most 1, 3 and 8 picked segments reaches; of methods
with a hierarchy segments of any level may be picked.

    UPSEG_DATA=... python benchmarks/photos.py --images 20

Settings of Felzenszwalb are those that were best on training images of BSDS500; those of the others are common ones.
Seconds are of processor time with one thread. MB is the largest resident size of a process that segments one photo,
less that of one that has only imported what it needs.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from harness.report import markdown_table, write_report
from harness.runs import RESULTS
from objects_from_levels import flat_reach, tree_reach
from skimage import graph as region_adjacency
from skimage.color import rgb2gray
from skimage.filters import sobel
from skimage.segmentation import felzenszwalb, slic, watershed

import upseg
from upseg.data.holdout import is_validation
from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.hierarchy import Hierarchy
from upseg.models.calling import torch_threads

FELZENSZWALB = {"scale": 300, "sigma": 0.5, "min_size": 10}
SUPERPIXELS, MERGED_BELOW, MARKERS = 400, 20.0, 200
MODELS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "dynaseg": ("dynaseg", {}),
    "photos": ("photos", {}),
}
PICKS = (1, 3, 8)
LEAST_THING = 400
SHARE = 0.2
Answer = tuple[np.ndarray, Hierarchy | None]


def peer_felzenszwalb(image: np.ndarray) -> Answer:
    return felzenszwalb(image, **FELZENSZWALB) + 1, None


def peer_slic(image: np.ndarray) -> Answer:
    """SLIC's superpixels, those of similar mean colour merged."""
    parts = slic(image, n_segments=SUPERPIXELS, compactness=10, start_label=1)
    neighbours = region_adjacency.rag_mean_color(image * 255, parts)
    return region_adjacency.cut_threshold(parts, neighbours, MERGED_BELOW) + 1, None


def peer_watershed(image: np.ndarray) -> Answer:
    return watershed(sobel(rgb2gray(image)), markers=MARKERS), None


@cache
def model(name: str) -> Any:
    kind, settings = MODELS[name]
    return upseg.load_model(kind, "cpu", **settings)


def own(name: str) -> Callable[[np.ndarray], Answer]:
    def answer(image: np.ndarray) -> Answer:
        result = model(name).segment(image)
        return result.labels, result.hierarchy

    return answer


METHODS: Mapping[str, Callable[[np.ndarray], Answer]] = {
    "Felzenszwalb": peer_felzenszwalb,
    "SLIC + merging by colour": peer_slic,
    "watershed": peer_watershed,
    **{name: own(name) for name in MODELS},
}


def kept_apart(root: Path) -> Iterator[tuple[str, Sample]]:
    """The set and the sample of each photo that is measured."""
    for named in (f"coco-panoptic:{root / 'coco-panoptic-100'}", f"folder:{root / 'coco-stuff-13'}"):
        dataset = open_dataset(named)
        for index, name in enumerate(dataset.names):
            if is_validation(name, SHARE):
                yield "entities", dataset[index]
    dataset = open_dataset(f"coco-instances:{root / 'coco-instances-mini'}")
    for index in range(len(dataset)):
        yield "things", dataset[index]


def measure(sample: Sample, answer: Answer) -> dict[str, Any]:
    """Area and best IoU of each entity of a photo, what picking reaches of its things, and the number of segments."""
    labels, hierarchy = answer
    truth = np.asarray(sample.segment_map)
    numbers = [number for number, segment in enumerate(sample.segments, 1) if not segment.is_crowd]
    masks = [truth == number for number in numbers]
    things = [
        mask
        for mask, number in zip(masks, numbers, strict=True)
        if sample.segments[number - 1].is_thing and mask.sum() >= LEAST_THING
    ]
    best = [reached[0] for reached in flat_reach(labels, masks)]
    picks = flat_reach(labels, things) if hierarchy is None else tree_reach(hierarchy, things)
    return {
        "areas": [int(mask.sum()) for mask in masks],
        "best": best,
        "picks": [[row[0], row[1], row[3]] for row in picks],  # of 1, 3, 5, 8
        "segments": int(labels.max()),
    }


def peak_of(name: str | None, image: np.ndarray) -> float:
    """Largest resident size of this process in MB, after segmenting an image; of None, only the imports."""
    if name is not None:
        with torch_threads(1):
            METHODS[name](image)
    # not getrusage, which begins with the parent's size
    return float(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def peaks(image: np.ndarray) -> dict[str, float]:
    """MB of each method, each in a process of its own."""
    found = {}
    for name in (None, *METHODS):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found[name] = pool.submit(peak_of, name, image).result()
    bare = found.pop(None)
    return {str(name): peak - bare for name, peak in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("UPSEG_DATA"), help="folder; default: $UPSEG_DATA")
    parser.add_argument("--images", type=int, default=20, help="of the photos with things only; default: 20")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    if not options.data:
        sys.exit(
            "expected a folder with coco-panoptic-100, coco-stuff-13 and coco-instances-mini, got none: give --data"
        )
    samples = list(kept_apart(Path(options.data)))
    chosen = [row for row in samples if row[0] == "entities"]
    chosen += list(islice((row for row in samples if row[0] == "things" and row[1].segments), options.images))
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in METHODS}
    for number, (kind, sample) in enumerate(chosen, 1):
        image = np.ascontiguousarray(sample.image, np.float32)
        for name, method in METHODS.items():
            with torch_threads(1):
                method(image[:64, :64])  # what is loaded once is not timed
                started = time.process_time()
                answer = method(image)
            seconds = time.process_time() - started
            rows[name].append({"set": kind, "seconds": seconds, **measure(sample, answer)})
        so_far = {name: " ".join(summary([p for p in photos if p["set"] == kind])) for name, photos in rows.items()}
        print(f"{number} of {len(chosen)}, {kind}: {so_far}", flush=True)
    report(rows, peaks(np.ascontiguousarray(chosen[0][1].image, np.float32)), options.output)


def summary(photos: list[dict[str, Any]]) -> list[str]:
    """The scores of one method on one set, as texts."""
    best = np.concatenate([photo["best"] for photo in photos])
    areas = np.concatenate([photo["areas"] for photo in photos])
    picks = np.concatenate([np.reshape(photo["picks"], (-1, len(PICKS))) for photo in photos])
    scores = [(best >= 0.5).mean(), best.mean(), (best * areas).sum() / areas.sum(), *(picks >= 0.5).mean(0)]
    return [*(f"{score:.3f}" for score in scores), f"{np.mean([photo['segments'] for photo in photos]):.0f}"]


def report(rows: Mapping[str, list[dict[str, Any]]], memory: Mapping[str, float], to: Path) -> None:
    headings = ("method", "recall", "mean IoU", "covering", *(f"{count} picks" for count in PICKS), "segments")
    tables = []
    for kind in ("entities", "things"):
        table = []
        for name, photos in rows.items():
            of_set = [photo for photo in photos if photo["set"] == kind]
            seconds = np.mean([photo["seconds"] for photo in of_set])
            table.append([name, *summary(of_set), f"{seconds:.2f}", f"{memory[name]:.0f}"])
        counted = sum(len(photo["best"]) for photo in of_set)
        title = "wholly labelled" if kind == "entities" else "things only"
        tables += [f"{len(of_set)} photos, {title}, {counted} entities", markdown_table((*headings, "s", "MB"), table)]
    notes = (
        "recall, mean IoU, covering: of every entity, the single segment that fits it best",
        f"picks: share of things of {LEAST_THING} pixels or more that so many segments reach at IoU 0.5",
        f"Felzenszwalb with {FELZENSZWALB}; SLIC with {SUPERPIXELS} superpixels, merged below {MERGED_BELOW:.0f}",
        f"watershed of the gradient with {MARKERS} markers",
    )
    write_report(to, "photos", "Entities of photos of COCO kept apart", tables, {"photos": dict(rows)}, notes)


if __name__ == "__main__":
    main()
