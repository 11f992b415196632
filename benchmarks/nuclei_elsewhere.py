"""Does the model `nuclei` hold on images unlike those it learned from? Beside it Otsu's threshold and a watershed.

Held-out images as another microscope would have made them: other sizes, colours, noise. BBBC039, which is the screen
that part of the training images comes from, in 16 bits. And scikit-image's own images, of which only the number of
objects is known, if that.

    UPSEG_DATA=... python benchmarks/nuclei_elsewhere.py [--model nuclei] [--images 30]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from harness.report import markdown_table, write_report
from nuclei import SHARE, kinds_of, otsu_watershed
from scipy import ndimage
from skimage import data as skimage_data
from skimage.transform import resize

import upseg
from upseg.data.dataset import Dataset
from upseg.data.holdout import HashedPart
from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.metrics.cell_matching import CellMatching

RESULTS = Path(__file__).resolve().parent / "results"
HEADINGS = ("images", "number", "method", "AP50", "AP75", "AP50, mean of images", "seconds")
Image = np.ndarray
Labels = np.ndarray
Change = Callable[[Image, Labels], tuple[Image, Labels]]


def scaled(factor: float) -> Change:
    """The image larger or smaller, and its labels with it."""

    def change(image: Image, labels: Labels) -> tuple[Image, Labels]:
        size = [round(side * factor) for side in labels.shape]
        larger = resize(image, size, order=1, anti_aliasing=factor < 1).astype(np.float32)
        return larger, resize(labels, size, order=0, preserve_range=True, anti_aliasing=False).astype(np.int32)

    return change


def negative(image: Image, labels: Labels) -> tuple[Image, Labels]:
    return 1 - image, labels


def green(image: Image, labels: Labels) -> tuple[Image, Labels]:
    grey = image.mean(axis=2)
    return np.stack((0.1 * grey, grey, 0.2 * grey), axis=2), labels


def swapped(image: Image, labels: Labels) -> tuple[Image, Labels]:
    return np.ascontiguousarray(image[..., ::-1]), labels


def noisy(image: Image, labels: Labels) -> tuple[Image, Labels]:
    noise = np.random.default_rng(0).normal(0, 0.05 * float(image.max()), image.shape[:2])
    return np.clip(image + noise[..., None], 0, 1).astype(np.float32), labels


def blurred(image: Image, labels: Labels) -> tuple[Image, Labels]:
    return ndimage.gaussian_filter(image, (1.5, 1.5, 0)), labels


CHANGES: dict[str, Change] = {
    "as they are": lambda image, labels: (image, labels),
    "twice as large": scaled(2.0),
    "half as large": scaled(0.5),
    "negatives": negative,
    "in green": green,
    "red and blue swapped": swapped,
    "with noise": noisy,
    "blurred": blurred,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="with dsb2018/ and bbbc039-train/; default: $UPSEG_DATA")
    parser.add_argument("--model", default="nuclei", help="default: nuclei")
    parser.add_argument("--images", type=int, default=30, help="of each change, the first so many; default: 30")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    if not (options.data or os.environ.get("UPSEG_DATA")):
        sys.exit("expected a folder with dsb2018/, got none: give --data FOLDER or set UPSEG_DATA")
    data = options.data or Path(os.environ["UPSEG_DATA"])
    segmenter = upseg.load_model(options.model)
    methods: dict[str, Callable[[Image], Labels]] = {
        options.model: lambda image: segmenter.segment(image).labels,
        "Otsu + watershed": otsu_watershed,
    }
    rows = [row for name, samples in sets(data, options.images) for row in compared(name, samples, methods)]
    counted = list(counts(methods))
    tables = [markdown_table(HEADINGS, rows), markdown_table(("image", "objects known", *methods), counted)]
    results = {"columns": HEADINGS, "rows": rows, "counts": counted}
    write_report(options.output, "nuclei_elsewhere", "Nuclei on images of other sources", tables, results, [])


def sets(data: Path, count: int) -> Iterator[tuple[str, list[tuple[Image, Labels]]]]:
    """Each set's name, its images and their labels."""
    kinds = kinds_of(data / "dsb2018")
    part = HashedPart(open_dataset("folder", data / "dsb2018"), "validation", SHARE)
    for kind in ("fluorescence", "histology"):
        chosen = first(part, [name for name in part.names if kinds[name] == kind], count)
        for name, change in CHANGES.items():
            yield f"{kind}, {name}", [change(s.image, s.segment_map) for s in chosen]
    if (data / "bbbc039-train").is_dir():
        screen = open_dataset("folder", data / "bbbc039-train")
        yield "BBBC039 (16 bits)", [(s.image, s.segment_map) for s in first(screen, list(screen.names), count)]


def first(dataset: Dataset, names: list[str], count: int) -> list[Sample]:
    return list(dataset.subset(names[:count]))


def compared(
    name: str, samples: list[tuple[Image, Labels]], methods: dict[str, Callable[[Image], Labels]]
) -> Iterator[list[object]]:
    for method, segment in methods.items():
        metric, start = CellMatching(), time.perf_counter()
        for image, labels in samples:
            metric.update(labels, segment(image))
        seconds = (time.perf_counter() - start) / len(samples)
        scores = metric.compute()
        values = [f"{scores[key]:.3f}" for key in ("ap50", "ap75", "image_ap50")]
        print(name, method, *values, file=sys.stderr, flush=True)
        yield [name, len(samples), method, *values, f"{seconds:.2f}"]


KNOWN = {
    "human_mitosis": "about 300 nuclei",
    "immunohistochemistry": "well over 100 nuclei",
    "coins": "24 coins",
}
"""Images of scikit-image, and how many objects they show."""


def skimage_images() -> Iterator[tuple[str, Image]]:
    """Name and (H, W, 3) pixels in [0, 1] of each image that can be had."""
    for name in KNOWN:
        try:
            pixels = np.asarray(getattr(skimage_data, name)(), np.float32) / 255
        except ModuleNotFoundError:  # scikit-image downloads some images, with the package pooch
            print(f"{name}: left out, for scikit-image needs pooch to get it", file=sys.stderr)
            continue
        yield name, pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def counts(methods: dict[str, Callable[[Image], Labels]]) -> Iterator[list[object]]:
    """How many objects each method finds in scikit-image's images."""
    for name, pixels in skimage_images():
        found = [len(np.unique(segment(pixels))) - 1 for segment in methods.values()]
        print(name, *found, file=sys.stderr, flush=True)
        yield [name, KNOWN[name], *found]


if __name__ == "__main__":
    main()
