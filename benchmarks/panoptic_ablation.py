"""What do positional embeddings and edge distance sampling bring? The paper's Table 4 at small scale.

Seven ways to say where the centre is and what counts, each trained from scratch with several seeds on the same made-up
scenes: the coordinates themselves ("direct") without and with edge distance sampling (EDS), probabilities of rows and
columns ("cross-entropy") with it, sines and cosines of L = 3, 4 and 5 frequencies with it, and L = 4 without. Measured
on held-out scenes: panoptic quality, and for each object of the ground truth its best IoU, which is drawn against the
object's area as in the paper's Figures 4 and 5: the gain by EDS, and the gain by the embedding.

    python benchmarks/panoptic_ablation.py [--steps 1200] [--seeds 3] [--size 128] [--picture gains.png]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from harness.report import markdown_table, write_report

from upseg.data.batches import Batch, Collate
from upseg.data.shapes import CATEGORIES, ShapeScenes
from upseg.methods.panoptic.encodings import make_encoding
from upseg.methods.panoptic.equations import panoptic_losses
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.methods.panoptic.segmenter import PanopticSegmenter
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.methods.panoptic.targets import SAMPLED_TASKS, PanopticTargets
from upseg.metrics.mask_iou import label_map_ious
from upseg.metrics.panoptic_quality import PanopticQuality

RESULTS = Path(__file__).resolve().parent / "results"
PATCH = 16
BASE = PanopticSettings(
    backbone="vit_small_patch16_224", layers=(2, 4, 6), decoder_channels=(128, 96, 64), size=None, minimum_votes=0.0005
)
VARIANTS = {
    "direct": (replace(BASE, encoding="rgb"), False),
    "L = 4": (BASE, False),
    "direct + EDS": (replace(BASE, encoding="rgb"), True),
    "cross-entropy + EDS": (replace(BASE, encoding="bins"), True),
    "L = 3 + EDS": (replace(BASE, frequencies=3), True),
    "L = 4 + EDS": (BASE, True),
    "L = 5 + EDS": (replace(BASE, frequencies=5), True),
}
PUBLISHED = {
    "direct": 38.0,
    "L = 4": 44.9,
    "direct + EDS": 41.6,
    "cross-entropy + EDS": 39.9,
    "L = 3 + EDS": 47.4,
    "L = 4 + EDS": 48.6,
    "L = 5 + EDS": 48.1,
}
"""Panoptic quality in percent on COCO: the paper's Table 4."""
GAINS = {"EDS (with L = 4)": ("L = 4", "L = 4 + EDS"), "L = 4 (with EDS)": ("direct + EDS", "L = 4 + EDS")}
"""What is compared in the picture: from the first to the second."""
HEADINGS = ("variant", "PQ", "PQ things", "PQ stuff", "IoU small", "IoU medium", "IoU large", "paper's PQ")
TEST_SEED = 12_345
BANDS = 3
"""Objects in so many groups of equal number by area."""


def batch_of(scenes: ShapeScenes, indices: range, settings: PanopticSettings, *, sampled: bool) -> Batch:
    targets = PanopticTargets(
        CATEGORIES,
        patch=PATCH,
        upsampling=2 ** len(settings.decoder_channels),
        grid=settings.grid,
        edge_sampling=SAMPLED_TASKS if sampled else (),
        semantic_boundaries="segments",
    )
    return Collate(targets)([scenes[index] for index in indices])


def train(settings: PanopticSettings, seed: int, options: argparse.Namespace, *, sampled: bool) -> PanopticNetwork:
    """A network after so many steps; the seed is that of its first weights and of the scenes."""
    torch.manual_seed(seed)
    network = PanopticNetwork(
        settings.backbone, settings.layers, settings.decoder_channels, outputs=output_channels(settings, CATEGORIES)
    )
    encoding = make_encoding(settings)
    optimizer = torch.optim.AdamW(network.parameters(), options.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, options.steps, pct_start=0.05)
    size = (options.size, options.size)
    scenes = ShapeScenes(options.steps * options.batch, size, (0.0, options.difficulty), seed)
    for step in range(options.steps):
        indices = range(step * options.batch, (step + 1) * options.batch)
        batch = batch_of(scenes, indices, settings, sampled=sampled)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(batch.images)
        outputs = {task: values.float() for task, values in outputs.items()}
        losses = panoptic_losses(outputs, batch.targets, encoding)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def evaluate(network: PanopticNetwork, settings: PanopticSettings, options: argparse.Namespace) -> dict[str, object]:
    """Panoptic quality, and area and best IoU of each thing, on held-out scenes."""
    scenes = ShapeScenes(options.scenes, (options.size, options.size), options.difficulty / 2, TEST_SEED)
    segmenter = PanopticSegmenter(settings, "cpu", categories=CATEGORIES, network=network)
    quality, areas, ious = PanopticQuality(CATEGORIES), [], []
    for index in range(options.scenes):
        sample = scenes[index]
        found = segmenter.segment(sample.image)
        truth = {segment.id: segment.category.id for segment in sample.segments if segment.category}
        quality.update(sample.segment_map, truth, found.labels, {s.id: s.category.id for s in found if s.category})
        things = np.isin(found.labels, [s.id for s in found if s.category and s.category.is_thing])
        objects = sample.instance_map()
        overlap, ids, _ = label_map_ious(objects, np.where(things, found.labels, 0))
        areas += [sample.segments[number - 1].area for number in ids]
        ious += overlap.max(axis=1, initial=0).tolist()
    scores = quality.compute()
    return {"areas": areas, "ious": ious, **{key: float(scores[key]) for key in ("pq", "pq_things", "pq_stuff")}}


def cells(name: str, runs: list[dict[str, object]]) -> list[str]:
    columns = [[float(run[key]) for run in runs] for key in ("pq", "pq_things", "pq_stuff")]
    by_band = [means_by_area(run)[1] for run in runs]
    columns += [[means[band] for means in by_band] for band in range(BANDS)]
    return [name, *(f"{np.mean(c):.3f} ± {np.std(c):.3f}" for c in columns), f"{PUBLISHED[name] / 100:.3f}"]


def means_by_area(run: dict[str, object], bands: int = BANDS) -> tuple[np.ndarray, np.ndarray]:
    """Median area and mean IoU of the objects in groups of equal number by area."""
    areas, ious = np.array(run["areas"]), np.array(run["ious"])
    groups = np.array_split(np.argsort(areas, kind="stable"), bands)
    return np.array([np.median(areas[g]) for g in groups]), np.array([ious[g].mean() for g in groups])


def draw(results: dict[str, list[dict[str, object]]], path: Path) -> None:
    """The gain in IoU against the objects' area, mean and range over the seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(GAINS), figsize=(10, 3.6), sharey=True, layout="constrained")
    for axis, (title, (before, after)) in zip(axes, GAINS.items(), strict=True):
        pairs = [(means_by_area(a, 8), means_by_area(b, 8)) for a, b in zip(*map(results.get, (before, after)))]  # noqa: B905
        areas = pairs[0][0][0]
        gains = np.array([b[1] - a[1] for a, b in pairs])
        axis.fill_between(areas, gains.min(0), gains.max(0), alpha=0.25)
        axis.plot(areas, gains.mean(0), marker="o")
        axis.axhline(0, color="grey", linewidth=0.8)
        axis.set(xscale="log", xlabel="area of the object in pixels", title=f"Gain by {title}")
    axes[0].set_ylabel("gain in IoU")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"steps": 1200, "seeds": 3, "size": 128, "batch": 16, "scenes": 100}.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--first-seed", type=int, default=0, help="seeds count from here; default: 0")
    parser.add_argument("--difficulty", type=float, default=0.2, help="of the scenes, up to this; default: 0.2")
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="the highest; default: 0.0005")
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="JSON reports of other seeds to join")
    parser.add_argument("--picture", type=Path, help="PNG of the gains against area")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    results: dict[str, list[dict[str, object]]] = {name: [] for name in VARIANTS}
    for report in options.add:
        for name, runs in json.loads(report.read_text())["results"].items():
            results[name] += runs
    for seed in range(options.first_seed, options.first_seed + options.seeds):  # interrupted, like is with like
        for name, (settings, sampled) in VARIANTS.items():
            start = time.perf_counter()
            results[name].append(evaluate(train(settings, seed, options, sampled=sampled), settings, options))
            print(
                f"seed {seed}, {name}: PQ {results[name][-1]['pq']:.3f}, {time.perf_counter() - start:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    report(results, options)


def report(results: dict[str, list[dict[str, object]]], options: argparse.Namespace) -> None:
    seeds = len(results["direct"])
    title = f"Panoptic: the paper's Table 4 on made-up scenes, {seeds} seeds"
    notes = [
        f"{options.steps} steps of {options.batch} scenes of {options.size} x {options.size}, {BASE.backbone}",
        f"{options.scenes} held-out scenes; IoU: best match of each object, in {BANDS} groups of equal number by area",
        "mean ± standard deviation over the seeds; the paper's PQ is that of COCO",
    ]
    table = markdown_table(HEADINGS, (cells(name, runs) for name, runs in results.items()))
    settings = {name: str(value) for name, value in vars(options).items() if name not in ("output", "add", "picture")}
    write_report(options.output, "panoptic_ablation", title, [table], {"settings": settings, "results": results}, notes)
    if options.picture:
        draw(results, options.picture)


if __name__ == "__main__":
    main()
