"""Drawn class masks with their photos, what splitting made of them, a small splitter, and the command line with it.

`python -m tests.split.splitting_folder split ...` runs the command line.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from upseg.batch.journal import JOURNAL_NAME
from upseg.cli import main
from upseg.images.reading import ImageLike, read_image
from upseg.models.registry import METHODS, Method
from upseg.segmentation import Segmentation
from upseg.split.classes import MaskClasses
from upseg.split.run import SplitSummary, split_files

SHAPE = (20, 30)
NAMED = MaskClasses({1: "cell", 2: "blob", 3: "ground"}, frozenset({3}))


def classes_of(number: int) -> np.ndarray:
    """A cell (1) across the middle column, two blobs (2), ground (3), and void (255) above it."""
    classes = np.zeros(SHAPE, np.uint8)
    classes[2:9, 8 + number % 3 : 22] = 1
    classes[11:15, 3:7] = classes[11:15, 24:28] = 2
    classes[17:] = 3
    classes[16] = 255
    return classes


def draw(root: Path, *names: str) -> None:
    """Write masks/NAME.png and photos/NAME.jpg; the name decides about the picture."""
    for name in names:
        number = sum(map(ord, name)) - ord("a")
        for folder, suffix in (("masks", "png"), ("photos", "jpg")):
            path = root / folder / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = classes_of(number)
            Image.fromarray(pixels if suffix == "png" else np.stack([pixels * 60] * 3, axis=2)).save(path)


def run(root: Path, paths: object = "masks", **options: object) -> SplitSummary:
    """Split the masks below `root` into `out`, with the photos and with names of the classes unless told otherwise."""
    arguments = [root / paths] if isinstance(paths, str) else paths
    photos = options.pop("images", root / "photos")
    defaults = {"model": "components", "classes": NAMED, "device": "cpu"}
    return split_files(arguments, options.pop("output", root / "out"), images=photos, **{**defaults, **options})


def statuses(summary: SplitSummary) -> dict[str, str]:
    return {result.input.stem: result.status for result in summary.results}


def error_of(summary: SplitSummary, stem: str) -> str:
    return next(str(result.error) for result in summary.results if result.input.stem == stem)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != JOURNAL_NAME)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def instances(root: Path) -> dict:
    return json.loads((root / "out" / "instances.json").read_text())


class HalvesSplitter:
    """Cuts each thing at the middle column of the image; slow if UPSEG_TEST_DELAY says so."""

    def __init__(self, settings: Any, device: str) -> None:
        self.settings = settings

    def segment(self, image: ImageLike) -> Segmentation:
        raise NotImplementedError

    def split(
        self, image: ImageLike, semantic_map: Segmentation, progress: Callable[[int, int], None] | None = None
    ) -> Segmentation:
        pixels = read_image(image)
        time.sleep(float(os.environ.get("UPSEG_TEST_DELAY", "0")))
        if progress is not None:
            progress(1, 1)
        things = np.array([False, *(segment.category.is_thing for segment in semantic_map)])[semantic_map.labels]
        right = np.arange(pixels.shape[1]) >= pixels.shape[1] // 2
        labels = 2 * semantic_map.labels + (things & right)
        labels[semantic_map.labels == 0] = 0
        values = [value for value in np.unique(labels).tolist() if value > 0]
        return Segmentation.from_labels(
            labels,
            scores=dict.fromkeys(values, 0.5),
            categories={value: semantic_map[value // 2].category for value in values},
            provenance={"method": "halves", "seen": list(pixels.shape)},
        )


HALVES = Method(
    "halves",
    "tests.batch.segmenters:ThresholdSettings",
    f"{__name__}:HalvesSplitter",
    reports_progress=True,
    splits_masks=True,
)


def register(put: Callable[[dict[str, Method], str, Method], None] = dict.__setitem__) -> None:
    put(METHODS, "halves", HALVES)


if __name__ == "__main__":
    HALVES = replace(HALVES, segmenter="tests.split.splitting_folder:HalvesSplitter")
    register()
    main()
