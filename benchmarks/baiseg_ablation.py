"""What do the parts of BAISeg bring? The paper's Tables 3, 7 and 10 at small scale, on made-up scenes.

Each variant is trained from scratch, on class masks alone, with several seeds on the same scenes (those of the recipe
`baiseg/shapes`, smaller): without fusion modules, with them (CFM), with deep mutual attention (DMA), with the contrast
(PPC), and this without refinement of the masks, which needs no training of its own; other temperatures of the contrast;
a projection to 32 dimensions instead of 1. Measured on held-out scenes with the classes given, so that only the
boundaries matter: VOC's mean average precision at IoU 0.5 and 0.75, AP50 as cell papers define it, and the share of the
objects touching one of their class that are found.

    python benchmarks/baiseg_ablation.py [--steps 300] [--seeds 3] [--size 64] [--batch 8]
    python benchmarks/baiseg_ablation.py --anchors  # what Eq. 6 contrasts: boundary pixels alone, or both kinds
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import baiseg_instances
import numpy as np
import torch
from baiseg_instances import Tally, class_map
from harness.report import markdown_table, write_report
from harness.short_training import train_from_scratch

from upseg.data.batches import Collate
from upseg.data.shapes import ShapeScenes
from upseg.methods.baiseg import BaisegSegmenter, BaisegSettings
from upseg.methods.baiseg.losses import LossWeights, baiseg_losses
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.methods.baiseg.targets import BaisegTargets, class_count

RESULTS = Path(__file__).resolve().parent / "results"
BASE = BaisegSettings(
    backbone="resnet10t",
    width=32,
    resolution=2,
    hidden=32,
    semantic_width=None,
    dilations=1,
    boundary_threshold=0.5,
    marker_ratio=0.4,
    minimum_area=20,
    threads=1,
)
PLAIN = replace(BASE, fusion=False, attention=False, contrast_dimensions=0, refine=False)
CFM = replace(PLAIN, fusion=True)
DMA = replace(CFM, attention=True)
PPC = replace(DMA, contrast_dimensions=1)
WHOLE = replace(PPC, refine=True)
SAMPLED = LossWeights(anchors=512, keys=1024)
VARIANTS: dict[str, tuple[BaisegSettings, LossWeights]] = {
    "none": (PLAIN, SAMPLED),
    "CFM": (CFM, SAMPLED),
    "CFM + DMA": (DMA, SAMPLED),
    "CFM + DMA + PPC": (PPC, SAMPLED),
    "CFM + DMA + PPC + refinement": (WHOLE, SAMPLED),
    "temperature 0.1": (WHOLE, replace(SAMPLED, temperature=0.1)),
    "temperature 0.5": (WHOLE, replace(SAMPLED, temperature=0.5)),
    "32 dimensions": (replace(WHOLE, contrast_dimensions=32), SAMPLED),
}
ANCHORS: dict[str, tuple[BaisegSettings, LossWeights]] = {
    "boundary pixels (Eq. 6)": (WHOLE, SAMPLED),
    "both kinds": (WHOLE, replace(SAMPLED, anchor_kinds="both")),
    "boundary pixels, without weights": (WHOLE, replace(SAMPLED, weighted=False)),
}
PUBLISHED = {
    "none": 43.4,
    "CFM": 45.3,
    "CFM + DMA": 47.0,
    "CFM + DMA + PPC": 48.1,
    "CFM + DMA + PPC + refinement": 48.4,
    "temperature 0.1": 47.4,
    "temperature 0.5": 47.6,
    "32 dimensions": 47.3,
}
"""mAP50 in percent on VOC 2012, with the network's own classes: the paper's Tables 3, 7 and 10."""
HEADINGS = ("variant", "mAP50", "mAP75", "AP50", "touching found", "paper's mAP50")
COLUMNS = ("map50", "map75", "ap50", "touching")


def scenes_of(length: int, seed: int, options: argparse.Namespace) -> ShapeScenes:
    """Scenes as in the recipe, of another size and seed."""
    (recipe,) = baiseg_instances.open_data("shapes", 1)
    assert isinstance(recipe, ShapeScenes)
    return ShapeScenes(length, (options.size, options.size), recipe.difficulty, seed, recipe.classes)


def train(settings: BaisegSettings, weights: LossWeights, seed: int, options: argparse.Namespace) -> BaisegNetwork:
    """A network after so many steps; the seed is that of its first weights and of the scenes."""
    scenes = scenes_of(options.steps * options.batch, seed, options)
    generator = torch.Generator().manual_seed(seed)
    return train_from_scratch(
        lambda: BaisegNetwork(settings, class_count(scenes.categories, background=False)),
        lambda network, batch: baiseg_losses(network(batch.images), batch.targets, weights, generator)["total"],
        scenes,
        Collate(BaisegTargets(scenes.categories)),
        seed=seed,
        batch=options.batch,
        learning_rate=options.learning_rate,
    )


def evaluate(network: BaisegNetwork, settings: BaisegSettings, options: argparse.Namespace) -> dict[str, float]:
    """The measures on held-out scenes."""
    scenes = scenes_of(options.scenes, baiseg_instances.TEST_SEED, options)
    segmenter = BaisegSegmenter(settings, "cpu", categories=scenes.categories, network=network)
    tally = Tally([category for category in scenes.categories if category.is_thing])
    for index in range(options.scenes):
        tally.run(lambda sample: segmenter.segment(sample.image, semantic_map=class_map(sample)), scenes[index])
    cells, voc = tally.cells.compute(), tally.voc.compute()
    touching = float(np.mean(tally.found[True]))
    return {"map50": voc["map50"], "map75": voc["map75"], "ap50": cells["ap50"], "touching": touching}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"steps": 300, "seeds": 3, "size": 64, "batch": 8, "scenes": 150}.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest; default: 0.001")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    parser.add_argument("--anchors", action="store_true", help="other anchors of the contrast, not the paper's tables")
    options = parser.parse_args()
    variants = ANCHORS if options.anchors else VARIANTS
    results: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for seed in range(options.seeds):  # seeds outside, so that an interrupted run has compared like with like
        trained: dict[tuple[object, ...], BaisegNetwork] = {}
        for name, (settings, weights) in variants.items():
            key = (replace(settings, refine=True), weights)  # refinement alone needs no other network
            trained[key] = trained.get(key) or train(settings, weights, seed, options)
            results[name].append(evaluate(trained[key], settings, options))
            print(f"seed {seed}, {name}: {results[name][-1]}", file=sys.stderr, flush=True)
        report(results, options)


def report(results: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    rows = []
    for name, runs in results.items():
        values = [np.array([run[column] for run in runs]) for column in COLUMNS]
        rows.append(
            [
                name,
                *(f"{v.mean():.3f} ± {v.std():.3f}" for v in values),
                f"{PUBLISHED[name] / 100:.3f}" if name in PUBLISHED else "",
            ]
        )
    seeds = len(next(iter(results.values())))
    notes = [
        f"{options.steps} steps of {options.batch} scenes of {options.size} x {options.size}, {BASE.backbone}",
        f"{options.scenes} held-out scenes, classes given; mean ± standard deviation over the seeds",
    ]
    settings = {name: value for name, value in vars(options).items() if name != "output"}
    data = {"settings": settings, "results": results}
    about = "anchors of the contrast" if options.anchors else "the paper's ablations"
    title = f"BAISeg: {about} on made-up scenes, {seeds} seeds"
    write_report(
        options.output,
        "baiseg_anchors" if options.anchors else "baiseg_ablation",
        title,
        [markdown_table(HEADINGS, rows)],
        data,
        notes,
    )


if __name__ == "__main__":
    main()
