"""Train what scores the regions of photos (`methods/dynaseg/extensions/entity_levels.py`), on COCO.

    python tools/train_entity_levels.py --whole coco-panoptic:COCO --things folder:MORE --cache nodes \
        --export src/upseg/pretrained/entity_levels.safetensors

Data sets and the photos kept apart are those of `tools/train_photos.py`, which is run before: the hierarchies are built
with the embedding that comes with the package. Every node of a training photo's hierarchy is an example, with its
highest IoU with an annotated entity; nodes of which most is unlabelled are left out. The cache has one file for each
photo, and a second run goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from train_photos import SHARE, Photo, read_photos

from upseg.data.holdout import is_validation
from upseg.files import atomic_path
from upseg.hierarchy import MergeTree
from upseg.methods.dynaseg.extensions.atoms import colour_gradient, find_atoms, perceptual_colours
from upseg.methods.dynaseg.extensions.entity_levels import LEAST_AREA, EntityScorer, best_cut, node_facts, sum_up
from upseg.methods.dynaseg.extensions.features import photo_maps
from upseg.methods.dynaseg.extensions.merging import MergeWeights, build_merge_tree
from upseg.methods.dynaseg.extensions.region_graph import build_region_graph

STEPS, BATCH, RATE, DECAY, NOISE = 2500, 2048, 4e-3, 0.02, 0.05
FEW_OF_POOR = 0.15
"""Share of the nodes with an IoU below `POOR` that are used; each stands for 1 / share of them."""
POOR = 0.3
ENTITY = 0.5

Table = dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="append", default=[], help="FORMAT:FOLDER with every pixel labelled")
    parser.add_argument("--things", action="append", default=[], help="FORMAT:FOLDER with instances only")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the tables of nodes")
    parser.add_argument("--export", type=Path, required=True, help="the file to write")
    options = parser.parse_args()
    torch.manual_seed(0)
    options.cache.mkdir(parents=True, exist_ok=True)
    named = [(name, True) for name in options.whole] + [(name, False) for name in options.things]
    tables = [cached(photo, options.cache) for name, whole in named for photo in read_photos(name, whole=whole)]
    network = EntityScorer()
    fit(network, [table for table in tables if not table["kept_apart"]])
    scores = evaluate(network, [table for table in tables if table["kept_apart"] and table["whole"]])
    half = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    facts = {"steps": STEPS, "photos": sum(not table["kept_apart"] for table in tables), "kept_apart": scores}
    options.export.write_bytes(save(half, metadata={"format": "pt", "training": json.dumps(facts)}))
    print(f"{options.export}: {facts}")


def cached(photo: Photo, cache: Path) -> Table:
    """The table of a photo's nodes, made if it is not there."""
    file = cache / f"{photo.name.replace('/', '_')}-{photo.whole:d}.npz"
    if not file.exists():
        table = table_of(photo)
        with atomic_path(file) as part, part.open("wb") as opened:
            np.savez(opened, **table)
        print(photo.name, len(table["facts"]), flush=True)
    with np.load(file) as loaded:
        return dict(loaded)


def table_of(photo: Photo) -> Table:
    """Facts and IoUs of all nodes of a photo's hierarchy; IoUs are (N, entities)."""
    image = photo.image.astype(np.float32) / 255
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
    maps = photo_maps(tensor, "photos")
    atoms = find_atoms(colour_gradient(image))
    graph = build_region_graph(atoms, perceptual_colours(image), None, maps)
    tree = build_merge_tree(graph, MergeWeights())
    labels = np.maximum(photo.labels, 0).astype(np.int64)
    count = int(labels.max()) + 1
    shared = np.bincount((atoms.ravel().astype(np.int64) - 1) * count + labels.ravel(), minlength=tree.regions * count)
    inside = sum_up(shared.reshape(-1, count).astype(np.float64), tree.children)
    areas, sizes = inside.sum(1), inside[-1]
    overlaps = inside[:, 1:] / (areas[:, None] + sizes[1:] - inside[:, 1:])
    assert maps.size is not None
    return {
        "facts": node_facts(tree, graph, atoms, maps.size),
        "overlaps": overlaps[:, sizes[1:] > 0].astype(np.float16),
        "areas": areas,
        "labelled": (1 - inside[:, 0] / areas).astype(np.float32),
        "merges": tree.merges,
        "heights": tree.heights,
        "whole": np.array(photo.whole),
        "kept_apart": np.array(is_validation(photo.name, SHARE)),
    }


def fit(network: EntityScorer, tables: Sequence[Table]) -> None:
    """Train on the nodes of some photos."""
    rng, facts, overlaps = np.random.default_rng(0), [], []
    for table in tables:
        best = table["overlaps"].max(1, initial=0).astype(np.float32)
        used = (table["areas"] >= LEAST_AREA) & (table["labelled"] > 0.5)
        used &= (best >= POOR) | (rng.random(len(best)) < FEW_OF_POOR)
        facts.append(table["facts"][used])
        overlaps.append(best[used])
    inputs, best = torch.from_numpy(np.concatenate(facts)), torch.from_numpy(np.concatenate(overlaps))
    network.mean.copy_(inputs.mean(0))
    network.deviation.copy_(inputs.std(0) + 1e-3)
    weights = torch.where(best < POOR, 1 / FEW_OF_POOR, 1.0)
    weights /= weights.mean()
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS)
    for step in range(STEPS):
        batch = torch.randint(0, len(inputs), (BATCH,))
        noise = NOISE * network.deviation * torch.randn(BATCH, inputs.shape[1])
        logits = network(inputs[batch] + noise)
        loss = F.binary_cross_entropy_with_logits(logits, (best[batch] >= ENTITY).float(), weights[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(step, len(inputs), float(loss.detach()), flush=True)


@torch.no_grad()
def evaluate(network: EntityScorer, tables: Sequence[Table]) -> dict[str, float]:
    """Recall at an IoU of one half and mean IoU of the entities of some photos, and the segments of a photo."""
    overlaps, segments = [], 0
    for table in tables:
        tree = MergeTree(len(table["merges"]) + 1, table["merges"], table["heights"])
        scores = network(torch.from_numpy(table["facts"])).sigmoid().numpy().astype(np.float64)
        below = best_cut(tree, np.where(table["areas"] < LEAST_AREA, 0, scores))
        chosen = below & ~np.where(tree.parents >= 0, below[tree.parents], False)
        segments += int(chosen.sum())
        overlaps.append(table["overlaps"][chosen].max(0).astype(np.float32))
    found = np.concatenate(overlaps)
    rows = {"photos": len(tables), "entities": len(found), "recall": float((found >= ENTITY).mean())}
    return {key: round(value, 4) for key, value in rows.items()} | {
        "mean_iou": round(float(found.mean()), 4),
        "segments": round(segments / len(tables), 1),
    }


if __name__ == "__main__":
    main()
