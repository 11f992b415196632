"""What do positional embeddings and edge distance sampling bring? The paper's Table 4 at small scale.

Seven ways to say where the centre is and what counts, each trained with several seeds on the same made-up scenes, the
network, scenes and losses being those of `panoptic/shapes-stage2`: the coordinates themselves ("direct") without and
with edge distance sampling (EDS), probabilities of rows and columns ("cross-entropy") with it, sines and cosines of
L = 3, 4 and 5 frequencies with it, and L = 4 without. Measured on held-out scenes: panoptic quality, which of the
paper's orderings hold, and for each object its best IoU, whose gain by EDS and by the embedding is drawn against the
object's area as in the paper's Figures 4 and 5 (`panoptic_ablation.png` beside the report).

The paper's networks start from DINOv2. These start from scratch, or with `--start` all from one checkpoint of the same
network, such as that of `panoptic/shapes-stage2`, only the projection to the instance channels being new.

    OMP_NUM_THREADS=1 python benchmarks/panoptic_ablation.py --start CHECKPOINT [--steps 400] [--seeds 3] [--batch 16]

Seeds can be trained side by side: `--seeds 1 --first-seed 1 --output A`, and in the end `--seeds 0 --add A/*.json ...`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from harness.area_gains import draw_gains, mean_ious
from harness.report import markdown_table, write_report
from harness.short_training import train_from_scratch
from torch import Tensor

from upseg.data.batches import Batch, Collate
from upseg.data.sample import Sample
from upseg.data.shapes import ShapeScenes
from upseg.data.shapes.settings import Difficulty
from upseg.methods.panoptic.encodings import make_encoding
from upseg.methods.panoptic.losses import LossWeights, panoptic_losses
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.methods.panoptic.segmenter import PanopticSegmenter
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.methods.panoptic.targets import SAMPLED_HEADS, PanopticTargets
from upseg.metrics.mask_iou import label_map_ious
from upseg.metrics.panoptic_quality import PanopticQuality
from upseg.models.checkpoints import take_over_weights
from upseg.training.recipes import find_recipe

RESULTS = Path(__file__).resolve().parent / "results"
RECIPE: Mapping[str, Any] = yaml.safe_load(find_recipe("panoptic/shapes-stage2").read_text())
TARGETS: Mapping[str, Any] = RECIPE["data"]["init_args"]["targets"]["init_args"]
WEIGHTS = LossWeights(**RECIPE["model"]["init_args"]["loss_weights"])


def frozen(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a recipe, with tuples for lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


BASE = PanopticSettings(**frozen(RECIPE["model"]["init_args"]["settings"]))
SCENES = frozen(RECIPE["data"]["init_args"]["train"][0]["dataset"]["init_args"])
SCENES["difficulty"] = Difficulty(**frozen(SCENES["difficulty"]))
CATEGORIES = ShapeScenes(**{**SCENES, "length": 0}).categories
VARIANTS = {
    "direct": (replace(BASE, encoding="rgb"), False),
    "L = 4": (replace(BASE, frequencies=4), False),
    "direct + EDS": (replace(BASE, encoding="rgb"), True),
    "cross-entropy + EDS": (replace(BASE, encoding="bins"), True),
    "L = 3 + EDS": (replace(BASE, frequencies=3), True),
    "L = 4 + EDS": (replace(BASE, frequencies=4), True),
    "L = 5 + EDS": (replace(BASE, frequencies=5), True),
}
PUBLISHED = {
    "direct": 38.01,
    "L = 4": 44.86,
    "direct + EDS": 41.61,
    "cross-entropy + EDS": 39.87,
    "L = 3 + EDS": 47.38,
    "L = 4 + EDS": 48.61,
    "L = 5 + EDS": 48.12,
}
"""Panoptic quality in percent on COCO: the paper's Table 4."""
ORDERINGS = (
    ("direct", "direct + EDS"),
    ("L = 4", "L = 4 + EDS"),
    ("direct", "L = 4"),
    ("direct + EDS", "L = 4 + EDS"),
    ("cross-entropy + EDS", "direct + EDS"),
    ("L = 3 + EDS", "L = 4 + EDS"),
    ("L = 5 + EDS", "L = 4 + EDS"),
    ("L = 3 + EDS", "L = 5 + EDS"),
)
"""The worse and the better one of pairs in that table."""
GAINS = {
    "EDS, with L = 4 (Fig. 4)": ("L = 4", "L = 4 + EDS"),
    "EDS, direct": ("direct", "direct + EDS"),
    "L = 4 over direct, with EDS (Fig. 5)": ("direct + EDS", "L = 4 + EDS"),
    "L = 4 over direct, without EDS": ("direct", "L = 4"),
}
"""What is compared by area: from the first to the second."""
HEADINGS = ("variant", "PQ", "PQ things", "PQ stuff", "IoU small", "IoU medium", "IoU large", "paper's PQ")
TEST_SEED = 12_345
FIRST_SEED = 1_000
"""Of the training scenes: others than those of the recipes."""
BANDS = 3
Run = dict[str, Any]
"""PQ of all, things and stuff, and the best IoU of each object."""


def train(settings: PanopticSettings, seed: int, options: argparse.Namespace, *, sampled: bool) -> PanopticNetwork:
    """A network after so many steps; the seed is that of its first weights and of the scenes."""
    encoding = make_encoding(settings)
    heads = SAMPLED_HEADS if sampled else ()
    maps = {**TARGETS, "void_weight": options.void_weight}
    targets = PanopticTargets(CATEGORIES, grid=settings.grid, edge_sampling=heads, **maps)
    sizes = settings.backbone, settings.layers, settings.decoder_channels, output_channels(settings, CATEGORIES)

    def loss(network: PanopticNetwork, batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(batch.images)
        return panoptic_losses(outputs, batch.targets, encoding, WEIGHTS)["total"]

    def start() -> PanopticNetwork:
        network = PanopticNetwork(*sizes, patch=settings.patch)
        if options.start is not None:
            take_over_weights(network, options.start, may_differ=("projections.instance.",))
        return network

    return train_from_scratch(
        start,
        loss,
        ShapeScenes(**{**SCENES, "length": options.steps * options.batch, "seed": FIRST_SEED + seed}),
        Collate(targets),
        seed=seed,
        batch=options.batch,
        learning_rate=options.learning_rate,
    )


def evaluate(network: PanopticNetwork, settings: PanopticSettings, scenes: Sequence[Sample]) -> Run:
    """The measures on held-out scenes; the objects in the order of `object_areas`."""
    segmenter = PanopticSegmenter(settings, "cpu", categories=CATEGORIES, network=network)
    quality, ious = PanopticQuality(CATEGORIES), []
    for sample in scenes:
        found = segmenter.segment(sample.image)
        truth = {segment.id: segment.category.id for segment in sample.segments if segment.category}
        quality.update(sample.segment_map, truth, found.labels, {s.id: s.category.id for s in found if s.category})
        things = np.isin(found.labels, [s.id for s in found if s.category and s.category.is_thing])
        overlap, _, _ = label_map_ious(sample.instance_map(), np.where(things, found.labels, 0))
        ious += overlap.max(axis=1, initial=0).round(4).tolist()
    scores = quality.compute()
    return {**{key: float(scores[key]) for key in ("pq", "pq_things", "pq_stuff")}, "ious": ious}


def object_areas(scenes: Sequence[Sample]) -> list[int]:
    """The pixels of each object, scene by scene, in each by id."""
    counts = (np.unique(sample.instance_map(), return_counts=True) for sample in scenes)
    return [int(area) for ids, areas in counts for area in areas[ids > 0]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"steps": 400, "seeds": 3, "batch": 16, "scenes": 100, "first-seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--start", help="a checkpoint that all go on from; default: none, from scratch")
    parser.add_argument("--void-weight", type=float, default=1.0, help="of the targets; default: 1, as in the paper")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest; default: 0.001")
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="JSON reports of other seeds to join")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    others = ("output", "add", "seeds", "first_seed", "start")
    settings = {name: value for name, value in vars(options).items() if name not in others}
    results: dict[str, list[Run]] = {name: [] for name in VARIANTS}
    for path in options.add:
        joined = json.loads(path.read_text())
        if joined["settings"] != settings:
            sys.exit(f"expected a report with the settings {settings}, {path} has {joined['settings']}")
        for name, runs in joined["results"].items():
            results[name] += runs
    held_out = ShapeScenes(**{**SCENES, "length": options.scenes, "seed": TEST_SEED})
    scenes = [held_out[index] for index in range(options.scenes)]
    for seed in range(options.first_seed, options.first_seed + options.seeds):  # interrupted, like is with like
        for name, (variant, sampled) in VARIANTS.items():
            start = time.perf_counter()
            network = train(variant, seed, options, sampled=sampled)
            trained = time.perf_counter()
            results[name].append(evaluate(network, variant, scenes))
            seconds = f"{trained - start:.0f} + {time.perf_counter() - trained:.0f} s"
            last = results[name][-1]
            scores = f"PQ {last['pq']:.3f}, things {last['pq_things']:.3f}"
            print(f"seed {seed}, {name}: {scores}, {seconds}", file=sys.stderr, flush=True)
        report(results, object_areas(scenes), settings, options)
    if not options.seeds:
        report(results, object_areas(scenes), settings, options)


def report(results: dict[str, list[Run]], areas: list[int], settings: Mapping[str, Any], options: Any) -> None:
    seeds = len(results["direct"])
    medians = ", ".join(f"{area:.0f}" for area in mean_ious(areas, areas, BANDS)[0])
    title = f"Panoptic: the paper's Table 4 on made-up scenes, {seeds} seeds"
    notes = [
        f"{options.steps} steps of {options.batch} scenes, " + ("from one start" if options.start else "from scratch"),
        f"void counts {options.void_weight:g}",
        f"network, scenes and losses of `panoptic/shapes-stage2`: {BASE.backbone}, patches of {BASE.patch}",
        f"{options.scenes} held-out scenes; the paper's PQ is that of COCO",
        "mean ± standard deviation over the seeds",
        f"IoU: best match of each of {len(areas)} objects, in {BANDS} groups of equal number by area",
        f"median areas: {medians} pixels",
    ]
    sections = [
        markdown_table(HEADINGS, (cells(name, runs, areas) for name, runs in results.items())),
        "## The paper's orderings",
        markdown_table(
            ("worse < better", "difference in PQ", "seeds in which", "holds", "paper's"),
            (ordering(results, *pair) for pair in ORDERINGS),
        ),
        "## Gain in IoU by area",
        markdown_table(
            ("gain by", "small", "medium", "large"),
            (
                [name, *(f"{v:+.3f}" for v in gains(results, areas, pair, BANDS).mean(0))]
                for name, pair in GAINS.items()
            ),
        ),
    ]
    data = {"settings": settings, "areas": areas, "results": results}
    write_report(options.output, "panoptic_ablation", title, sections, data, notes)
    places = mean_ious(areas, areas, 8)[0]
    drawn = {name: gains(results, areas, pair, len(places)) for name, pair in GAINS.items()}
    draw_gains(places, drawn, options.output / "panoptic_ablation.png")


def cells(name: str, runs: list[Run], areas: list[int]) -> list[str]:
    """A row of the first table."""
    columns = [[run[key] for run in runs] for key in ("pq", "pq_things", "pq_stuff")]
    columns += np.transpose([mean_ious(areas, run["ious"], BANDS)[1] for run in runs]).tolist()
    return [name, *(f"{np.mean(c):.3f} ± {np.std(c):.3f}" for c in columns), f"{PUBLISHED[name] / 100:.3f}"]


def ordering(results: dict[str, list[Run]], worse: str, better: str) -> list[str]:
    """A row of the second table: the difference of two variants, seed by seed."""
    differences = np.array([b["pq"] - a["pq"] for a, b in zip(results[worse], results[better], strict=True)])
    right = int((differences > 0).sum())
    holds = "yes" if right == len(differences) else "on average" if differences.mean() > 0 else "no"
    seeds = f"{right} of {len(differences)}"
    published = f"{(PUBLISHED[better] - PUBLISHED[worse]) / 100:+.3f}"
    return [f"{worse} < {better}", f"{differences.mean():+.3f} ± {differences.std():.3f}", seeds, holds, published]


def gains(results: dict[str, list[Run]], areas: list[int], pair: tuple[str, str], groups: int) -> np.ndarray:
    """(seeds, groups): by how much the mean IoU of the objects of a group rises."""
    before, after = ([mean_ious(areas, run["ious"], groups)[1] for run in results[name]] for name in pair)
    return np.array(after) - np.array(before)


if __name__ == "__main__":
    main()
