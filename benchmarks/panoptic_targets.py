"""How many training images per second and core do the targets of `panoptic` take, and what takes the time?

The targets are computed as a `DataLoader`'s worker does, on one thread, for random crops of real photos with panoptic
ground truth, or of made-up scenes where no data set is given. Beside the whole stand its two large parts, and a
straightforward version of them: instance by instance a mask, its mean, and a distance transform. Both versions must
agree. Last what reading, cropping and colouring an image takes, which a worker has to do as well. All times are
processor time; medians of several rounds over the same images.

    python benchmarks/panoptic_targets.py [--data COCO_PANOPTIC_FOLDER] [--split train2017] [--sizes 280 336 420 1008]
        [--images 24] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.report import markdown_table, write_report
from scipy import ndimage

from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.data.shapes import ShapeScenes
from upseg.data.sources import open_dataset
from upseg.data.transforms import Augmentation
from upseg.functional.label_maps import border_pixels
from upseg.methods.panoptic.targets import PanopticTargets, boundary_distances, centres_of_mass

SCENE = (480, 640)
SIZE, WANTED = 336, 100
"""At crops of this side in pixels, so many images per second and core are wanted."""
HEADINGS = (
    "crop",
    "instances",
    "images/s",
    "targets (ms)",
    "centres (ms)",
    "distances (ms)",
    "by instance (ms)",
    "by instance / these",
    "reading and cropping (ms)",
)


def plain_centres(labels: np.ndarray) -> dict[int, tuple[float, float]]:
    """Row and column of the mean of each instance's mask."""
    found = {}
    for instance in np.unique(labels[labels > 0]).tolist():
        rows, columns = np.nonzero(labels == instance)
        found[instance] = (rows.mean(), columns.mean())
    return found


def plain_distances(labels: np.ndarray) -> np.ndarray:
    """The smallest of the distances to the boundaries of the masks."""
    nearest = np.full(labels.shape, np.inf)
    for label in np.unique(labels).tolist():
        border = border_pixels((labels == label).astype(np.uint8))
        if border.any():
            nearest = np.minimum(nearest, ndimage.distance_transform_edt(~border))
    return nearest


def check_agreement(labels: np.ndarray, reduced: np.ndarray) -> None:
    """That both versions say the same of an image."""
    centres = centres_of_mass(labels)
    for instance, centre in plain_centres(labels).items():
        np.testing.assert_allclose(centres[:, instance], centre)
    np.testing.assert_allclose(boundary_distances(reduced), plain_distances(reduced), rtol=1e-5)


def milliseconds(function: Callable[[Any], object], inputs: Sequence[Any], repeats: int) -> float:
    """Of processor time for each input: the median of several rounds, after one that does not count."""
    found = []
    for _ in range(repeats + 1):
        start = time.process_time()
        for value in inputs:
            function(value)
        found.append(1000 * (time.process_time() - start) / len(inputs))
    return statistics.median(found[1:])


def measure(dataset: Dataset, size: int, images: int, repeats: int) -> dict[str, Any]:
    crop, targets = Augmentation((size, size)), PanopticTargets(dataset.categories)
    start = time.process_time()
    samples: list[Sample] = [crop(dataset[index], index) for index in range(images)]
    reading = 1000 * (time.process_time() - start) / images
    maps = [sample.instance_map() for sample in samples]
    reduced = [targets(sample)["instances"].numpy() for sample in samples]
    for pair in zip(maps, reduced, strict=True):
        check_agreement(*pair)
    whole = milliseconds(targets, samples, repeats)
    centres, distances = (
        milliseconds(centres_of_mass, maps, repeats),
        milliseconds(boundary_distances, reduced, repeats),
    )
    plain = milliseconds(plain_centres, maps, repeats) + milliseconds(plain_distances, reduced, repeats)
    return {
        "size": size,
        "instances": statistics.mean(len(np.unique(labels[labels > 0])) for labels in reduced),
        "images_per_second": 1000 / whole,
        "targets_ms": whole,
        "centres_ms": centres,
        "distances_ms": distances,
        "plain_ms": plain,
        "plain_ratio": plain / (centres + distances),
        "reading_ms": reading,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="COCO panoptic; without it made-up scenes")
    parser.add_argument("--split", default="train2017", help="default: train2017")
    parser.add_argument("--sizes", type=int, nargs="+", default=[280, SIZE, 420, 1008])
    parser.add_argument("--images", type=int, default=24, help="default: 24")
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset: Dataset = ShapeScenes(options.images, size=SCENE)
    if options.data is not None:
        dataset = open_dataset("coco-panoptic", options.data, split=options.split)
    rows = [measure(dataset, size, min(options.images, len(dataset)), options.repeats) for size in options.sizes]
    notes = [
        f"{min(options.images, len(dataset))} images of {type(dataset).__name__}, a random crop of each at that size",
        "one thread, processor time, medians",
        "patch size 14: the maps have 8 / 14 of the crop's side",
        *(
            f"{row['images_per_second']:.0f} images per second and core at {SIZE} x {SIZE}; {WANTED} are wanted"
            for row in rows
            if row["size"] == SIZE
        ),
    ]
    cells = [(f"{row['size']} x {row['size']}", *list(row.values())[1:]) for row in rows]
    title = "Targets of panoptic, computed in the loader"
    write_report(options.output, "panoptic_targets", title, [markdown_table(HEADINGS, cells)], {"rows": rows}, notes)


if __name__ == "__main__":
    main()
