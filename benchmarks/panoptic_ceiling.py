"""What does decoding cost: the panoptic quality of a network of `panoptic` that makes no mistake.

The ground truth of each image is brought to the network's input size, turned into the targets that the network is
trained on, at the size of its maps, and these are decoded and grouped as if the network had said them. What is missing
to 1 is due to the size of the maps, to instances that share a cell of the grid or have centres close to each other, and
to what is suppressed and dropped. One setting is changed at a time; with noise on the instance channels, Gaussian and
independent in each pixel and channel, it shows what suppression and the least areas are good for.

    python benchmarks/panoptic_ceiling.py --data FOLDER [--images 100] [--only defaults grid radius votes areas noise]

FOLDER is COCO panoptic, or the folder above `coco-panoptic-100`; without it $UPSEG_DATA.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.report import markdown_table, write_report
from torch import Tensor

from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.data.sources.coco_layouts import CocoPanoptic
from upseg.methods.panoptic.encodings import make_encoding
from upseg.methods.panoptic.grouping import group_panoptic
from upseg.methods.panoptic.segmenter import network_size
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.methods.panoptic.targets import PanopticTargets
from upseg.metrics.panoptic_quality import PanopticQuality

PATCH, UPSAMPLING = 14, 8
GOAL = 0.93
SURE = 10.0
"""The logit of the right class; those of the others are 0."""
NOTHING_DROPPED: Mapping[str, Any] = {
    "suppression_radius": 0.0,
    "minimum_votes": 0.0,
    "minimum_thing_area": 0.0,
    "minimum_stuff_area": 0.0,
}
HEADINGS = ("settings", "noise", "PQ", "SQ", "RQ", "PQ things", "PQ stuff", "segments/image", "ms/image")


@dataclass
class Variant:
    """Settings, the noise on the channels, and what came of it.

    Attributes:
        group: Of the table's rows.
        changes: To the default settings.
        noise: Its standard deviation; the channels of things lie on circles of radius 1.
        seconds: Processor time of decoding and grouping, so far.
        segments: Found so far.
        quality: Of the images so far; None before the first.
    """

    group: str
    changes: Mapping[str, Any]
    noise: float = 0.0
    seconds: float = 0.0
    segments: int = 0
    quality: PanopticQuality | None = field(default=None, repr=False)

    @property
    def settings(self) -> PanopticSettings:
        """The defaults with the changes."""
        return replace(PanopticSettings(), **self.changes)

    @property
    def name(self) -> str:
        """The changes in words."""
        return ", ".join(f"{key} {value}" for key, value in self.changes.items()) or "the defaults"


def variants() -> list[Variant]:
    """What is compared."""
    rows = [Variant("defaults", {}), Variant("defaults", NOTHING_DROPPED)]
    rows += [Variant("grid", {**NOTHING_DROPPED, "grid": (side, side)}) for side in (40, 160, 320)]
    rows += [Variant("size", {**NOTHING_DROPPED, "size": size}) for size in (420, 1120)]
    rows += [Variant("encoding", {"encoding": encoding}) for encoding in ("rgb", "bins")]
    rows += [Variant("radius", {"suppression_radius": radius}) for radius in (0.0, 1.0, 1.5, 2.0, 3.0, 4.0)]
    rows += [Variant("votes", {"minimum_votes": share}) for share in (0.0, 0.0001, 0.0003)]
    rows += [Variant("areas", {"minimum_thing_area": share}) for share in (0.0, 0.0001, 0.0003)]
    rows += [Variant("areas", {"minimum_stuff_area": share}) for share in (0.0, 0.0005, 0.002, 0.005)]
    for noise in (0.2, 0.3, 0.4):
        rows += [Variant("noise", {"suppression_radius": radius}, noise) for radius in (1.0, 1.5, 2.0, 3.0)]
        rows += [Variant("noise", {}, noise)]
    return rows


def perfect_maps(sample: Sample, dataset: Dataset, settings: PanopticSettings) -> dict[str, Any]:
    """The maps that a network without mistakes would give, and how much of them the image covers."""
    size = network_size(*sample.shape, settings.size)
    rows, columns = ((np.arange(new) + 0.5) * old // new for new, old in zip(size, sample.shape, strict=True))
    labels = sample.segment_map[np.ix_(rows.astype(int), columns.astype(int))]
    nothing = np.broadcast_to(np.float32(0), (*size, 3))  # nobody looks at the image
    resized = Sample.from_labels(nothing, labels, categories=sample.categories, crowds=sample.crowds)
    targets = PanopticTargets(dataset.categories, PATCH, UPSAMPLING, settings.grid, edge_sampling=())(resized)
    encoding = make_encoding(settings)
    codes = encoding.targets(targets["centre"][None], targets["inside"][None])
    if settings.encoding == "bins":
        codes = _one_hot(codes[:, 0], settings.grid[0] + 1), _one_hot(codes[:, 1], settings.grid[1] + 1)
        codes = torch.cat(codes, dim=1)
    return {
        "instance": codes[0],
        "semantic": _one_hot(targets["semantic"][None], len(dataset.categories))[0],
        "extent": tuple(UPSAMPLING * side / PATCH for side in size),
    }


def _one_hot(numbers: Tensor, count: int) -> Tensor:
    """(B, count, h, w) logits; all 0 where a number is -1."""
    return SURE * (numbers[:, None] == torch.arange(count)[:, None, None]).float()


def evaluate(sample: Sample, dataset: Dataset, rows: Sequence[Variant]) -> None:
    """Add one image to all variants."""
    is_thing = np.array([category.is_thing for category in dataset.categories])
    truth = {number: category.id for number, category in sample.categories.items()}
    maps: dict[object, dict[str, Any]] = {}
    for row in rows:
        settings = row.settings
        key = (settings.size, settings.grid, settings.encoding)
        if key not in maps:
            maps[key] = perfect_maps(sample, dataset, settings)
        instance, semantic, extent = maps[key].values()
        generator = torch.Generator().manual_seed(sum(sample.shape))
        instance = instance + row.noise * torch.randn(instance.shape, generator=generator) if row.noise else instance
        start = time.process_time()
        found = group_panoptic(instance, semantic, is_thing, settings, sample.shape, extent)
        row.seconds += time.process_time() - start
        row.segments += len(found.classes)
        row.quality = row.quality or PanopticQuality(dataset.categories)
        classes = {number: dataset.categories[position].id for number, position in found.classes.items()}
        row.quality.update(sample.segment_map, truth, found.labels, classes, sample.crowds)


def open_images(options: argparse.Namespace) -> Dataset:
    named = options.data or os.environ.get("UPSEG_DATA")
    if not named:
        sys.exit("expected the folder of COCO panoptic, got none: give --data FOLDER or set UPSEG_DATA")
    root = Path(named)
    within = root / "coco-panoptic-100"
    dataset = CocoPanoptic(within if within.is_dir() else root)
    dataset.decode_images = False
    return dataset.subset(dataset.names[: options.images])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="default: $UPSEG_DATA")
    parser.add_argument("--images", type=int, default=100, help="the first so many; default: 100")
    parser.add_argument("--only", nargs="+", help="groups of rows; default: all")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = open_images(options)
    rows = [row for row in variants() if not options.only or row.group in options.only]
    for number, sample in enumerate(dataset, start=1):
        evaluate(sample, dataset, rows)
        print(f"{number}/{len(dataset)} {sample.name}: PQ so far {_scores(rows[0])['pq']:.4f}", file=sys.stderr)
    data = [_result(row, len(dataset)) for row in rows]
    cells = [
        [row.name, row.noise, *(f"{100 * one[k]:.2f}" for k in _SHOWN), one["segments"], one["milliseconds"]]
        for row, one in zip(rows, data, strict=True)
    ]
    best = data[0]["pq"]
    notes = [
        f"{len(dataset)} images of COCO panoptic, training split; maps at {UPSAMPLING}/{PATCH} of the network's input",
        f"goal: a PQ of at least {100 * GOAL:g}; the first row's is {100 * best:.2f}",
        f"milliseconds of the processor in decoding and grouping, {options.threads} threads",
    ]
    full = not options.only and len(dataset) == 100
    write_report(
        options.output,
        "panoptic_ceiling" if full else f"panoptic_ceiling_{len(dataset)}_images",
        "The best panoptic quality that decoding allows",
        [markdown_table(HEADINGS, cells)],
        {"rows": data},
        notes,
    )


_SHOWN = ("pq", "sq", "rq", "pq_things", "pq_stuff")


def _scores(row: Variant) -> dict[str, float]:
    assert row.quality is not None
    return row.quality.compute()


def _result(row: Variant, images: int) -> dict[str, Any]:
    return {
        "settings": dict(row.changes),
        "noise": row.noise,
        **_scores(row),
        "segments": row.segments / images,
        "milliseconds": 1000 * row.seconds / images,
    }


if __name__ == "__main__":
    main()
