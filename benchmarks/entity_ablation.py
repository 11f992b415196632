"""What does the segment-space representation bring? The paper's Table 5 at small scale, on made-up scenes.

Three combinations of the losses, with the weights of Eq. 9, each trained from scratch with several seeds on the same
scenes: L_rc + L_a + L_r; with L_s; with L_s and L_g. Measured on held-out scenes: the similarity of the target lines of
different entities (0: all orthogonal) and that of features and the line of their entity (1: all the same), each also
in degrees, and the recall of the segments.

    python benchmarks/entity_ablation.py [--steps 400] [--seeds 3] [--size 64] [--batch 8] [--positions 80]
        [--repulsion 20]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from harness.report import markdown_table, write_report
from harness.short_training import train_from_scratch
from torch import Tensor

from upseg.data.batches import Batch, Collate
from upseg.data.shapes import ShapeScenes
from upseg.methods.entity.equations import LossWeights
from upseg.methods.entity.grouping import group_features
from upseg.methods.entity.losses import entity_losses
from upseg.methods.entity.network import EntityNetwork
from upseg.methods.entity.targets import EntityTargets
from upseg.metrics.class_agnostic import ClassAgnostic
from upseg.metrics.segment_similarity import SegmentSimilarities

RESULTS = Path(__file__).resolve().parent / "results"
COMBINATIONS = {
    "L_rc + L_a + L_r": LossWeights(segment=0.0, gradient=0.0),
    "+ L_s": LossWeights(gradient=0.0),
    "+ L_s + L_g": LossWeights(),
}
HEADINGS = ("losses", "inter-mean", "degrees", "intra-entity", "degrees", "recall")
PUBLISHED = """## Published (paper, Table 5: ADE20K, 10 epochs)

| losses                   | inter-mean | degrees | intra-entity | degrees |
|--------------------------|-----------:|--------:|-------------:|--------:|
| L_rc + L_a + L_r         |       .024 |    88.6 |         .152 |    81.2 |
| + L_s                    |       .031 |    88.2 |         .745 |    41.8 |
| + L_s + L_g              |       .029 |    88.3 |         .754 |    41.1 |"""
TEST_SEED = 12_345
COLLATE = Collate(EntityTargets(3))
CONTRASTED = 64
"""Queries and negatives of L_rc for each entity: fewer than the paper has, which take most of the time."""


def train(weights: LossWeights, seed: int, options: argparse.Namespace) -> EntityNetwork:
    """A network after so many steps; the seed is that of its first weights and of the scenes."""

    def loss(network: EntityNetwork, batch: Batch) -> Tensor:
        raw, labels, seeds = network(batch.images), batch.targets["labels"], batch.targets["seed"]
        sampled = {"queries": CONTRASTED, "negatives": CONTRASTED}
        return entity_losses(raw, labels, seeds=seeds, loss_weights=weights, **sampled)["total"]

    return train_from_scratch(
        lambda: EntityNetwork(options.backbone, options.channels, options.dimensions, options.positions),
        loss,
        ShapeScenes(options.steps * options.batch, (options.size, options.size), options.difficulty, seed),
        COLLATE,
        seed=seed,
        batch=options.batch,
        learning_rate=options.learning_rate,
    )


@torch.inference_mode()
def evaluate(network: EntityNetwork, options: argparse.Namespace) -> dict[str, float]:
    """Both similarities and the recall on held-out scenes."""
    scenes = ShapeScenes(options.scenes, (options.size, options.size), options.difficulty, TEST_SEED)
    similarities, found = SegmentSimilarities(), ClassAgnostic()
    for index in range(options.scenes):
        batch = COLLATE([scenes[index]])
        features = F.normalize(network(batch.images), dim=1)[0]
        similarities.update(features, batch.targets["labels"][0])
        labels = group_features(features, minimum_area=10).labels
        found.update(batch.segment_maps[0].numpy(), labels)
    return {**similarities.compute(), "recall": found.compute()["recall"]}


def cells(name: str, runs: list[dict[str, float]]) -> list[str]:
    columns = ("inter_mean", "inter_mean_degrees", "intra_entity", "intra_entity_degrees", "recall")
    values = {column: np.array([run[column] for run in runs]) for column in columns}
    texts = [
        f"{v.mean():.1f} ± {v.std():.1f}" if c.endswith("degrees") else f"{v.mean():.3f} ± {v.std():.3f}"
        for c, v in values.items()
    ]
    return [name, *texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"steps": 400, "seeds": 3, "size": 64, "batch": 8, "scenes": 100, "channels": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--dimensions", type=int, default=64, help="of the features; default: 64")
    parser.add_argument("--positions", type=int, help="period of the positions, an addition of ours; default: none")
    parser.add_argument(
        "--repulsion",
        type=float,
        default=1.0,
        help="weight of L_r, which grows with the number of entities; default: 1",
    )
    parser.add_argument("--difficulty", type=float, default=0.1, help="of the scenes; default: 0.1")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest; default: 0.001")
    parser.add_argument("--backbone", default="resnet10t", help="default: resnet10t")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in COMBINATIONS}
    combinations = {name: replace(w, repulsion=options.repulsion) for name, w in COMBINATIONS.items()}
    for seed in range(options.seeds):  # seeds outside, so that an interrupted run has compared like with like
        for name, weights in combinations.items():
            results[name].append(evaluate(train(weights, seed, options), options))
            print(f"seed {seed}, {name}: {results[name][-1]}", file=sys.stderr, flush=True)
    title = f"Entity: the paper's Table 5 on made-up scenes, {options.seeds} seeds"
    notes = [
        f"{options.steps} steps of {options.batch} scenes of {options.size} x {options.size}",
        f"difficulty {options.difficulty:g}, {options.backbone}, d = {options.dimensions}",
        f"weight of L_r: {options.repulsion:g}",
        f"positions: {options.positions or 'none, as in the paper'}",
        f"{options.scenes} held-out scenes; L_rc with {CONTRASTED} queries and negatives per entity",
        "mean ± standard deviation over the seeds",
    ]
    table = markdown_table(HEADINGS, (cells(name, runs) for name, runs in results.items()))
    settings = {name: value for name, value in vars(options).items() if name != "output"}
    weights_used = {name: asdict(weights) for name, weights in combinations.items()}
    data = {"settings": settings, "weights": weights_used, "results": results}
    write_report(options.output, "entity_ablation", title, [table, PUBLISHED], data, notes)


if __name__ == "__main__":
    main()
