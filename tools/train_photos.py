"""Train the embedding of photos (`methods/dynaseg/extensions/embedding.py`) on COCO, frozen features below it.

    python tools/train_photos.py --whole coco-panoptic:COCO --things folder:MORE --checkpoint photos.pt --steps 4000
    python tools/train_photos.py ... --export src/upseg/pretrained/photo_embedding.safetensors

Photos of `--whole` have every pixel labelled (what is not is ignored); in those of `--things` only instances are, and
two unlabelled pixels say nothing about each other. Photos for which `is_validation(name, 0.2)` holds are kept apart.
Each step sees four crops of 288 x 288, of photos at half to one and a quarter of their size, mirrored, recoloured, in
a part of them an object of another photo pasted in. Stopped at any time, it goes on from its checkpoint.

The loss: for pairs of pixels of a crop, logistic in the embeddings' distance less a learned margin, same and different
entity each half of it, near pairs more; binary cross-entropy of the boundary; Huber's loss of the size.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from upseg.data.holdout import is_validation
from upseg.data.sources import open_dataset
from upseg.files import atomic_path
from upseg.methods.dynaseg.extensions.embedding import EmbeddingMaps, EntityEmbedding
from upseg.methods.dynaseg.extensions.lite0 import Lite0Stages

CROP, BATCH, STRIDE = 288, 4, 4
SCALES = (0.5, 1.25)
PASTED = 0.35
"""Share of the crops in which an object of another photo is pasted."""
PAIRS = 600
"""Pixels of a crop all pairs of which are compared, half of them from one neighbourhood."""
NEAR = 25.0
"""Pairs weigh exp(-distance / NEAR), in pixels at stride 4."""
LOSS_WEIGHTS = {"pairs": 1.0, "boundary": 0.5, "size": 0.1}
RATE, WARM_UP, DECAY = 2e-3, 50, 0.02
AVERAGE = 0.998
SHARE = 0.2


@dataclass(frozen=True)
class Photo:
    """A photo in memory: (H, W, 3) bytes, (H, W) labels (-1 ignored, 0 unlabelled), whether all of it is labelled."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    whole: bool


class Crop(NamedTuple):
    """(3, S, S) in [0, 1], (S, S) labels, and log2 of the square root of each label's area (by label)."""

    image: Tensor
    labels: np.ndarray
    sizes: np.ndarray
    whole: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="append", default=[], help="FORMAT:FOLDER with every pixel labelled")
    parser.add_argument("--things", action="append", default=[], help="FORMAT:FOLDER with instances only")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--export", type=Path, help="write the averaged weights in half precision here, and stop")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.export:
        export(options.checkpoint, options.export)
        return
    photos = [photo for named in options.whole for photo in read_photos(named, whole=True)]
    photos += [photo for named in options.things for photo in read_photos(named, whole=False)]
    training = [photo for photo in photos if not is_validation(photo.name, SHARE)]
    validation = [photo for photo in photos if is_validation(photo.name, SHARE) and photo.whole]
    print(f"{len(training)} photos to train on, {len(validation)} wholly labelled ones to validate on", flush=True)
    train(training, validation, options.checkpoint, options.steps)


def read_photos(named: str, *, whole: bool) -> Iterator[Photo]:
    """The photos of a data set; crowds are ignored, and where every pixel should be labelled what is not."""
    dataset = open_dataset(named)
    for index in range(len(dataset)):
        sample = dataset[index]
        labels = np.array(sample.segment_map, np.int32)
        labels[np.isin(labels, list(sample.crowds))] = -1
        if whole:
            labels[labels == 0] = -1
        yield Photo(sample.name, np.round(np.array(sample.image) * 255).astype(np.uint8), labels, whole)


def train(training: Sequence[Photo], validation: Sequence[Photo], checkpoint: Path, steps: int) -> None:
    """Train up to so many steps in all; the schedule is of all of them, wherever it was stopped."""
    backbone, network, averaged = Lite0Stages(), EntityEmbedding(), EntityEmbedding()
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    first, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        first, seconds = state["step"], state["seconds"]
    else:
        measure_channels(backbone, network, training)
        averaged.load_state_dict(network.state_dict())
    rng, started, losses = np.random.default_rng(first), time.monotonic(), []
    for step in range(first + 1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, step / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / (steps + 1)))
        losses.append(one_step(backbone, network, optimiser, training, rng))
        share = min(AVERAGE, step / (step + 10))
        with torch.no_grad():
            for kept, new in zip(averaged.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - share)
        if step % 100 == 0 or step == steps:
            spent = seconds + time.monotonic() - started
            scores = validate(backbone, averaged, validation) if step % 400 == 0 or step == steps else []
            print(step, f"{spent:.0f} s", "train", np.round(np.mean(losses, 0), 3), "validation", scores, flush=True)
            losses = []
            state = {"network": network.state_dict(), "averaged": averaged.state_dict(), "step": step}
            state |= {"optimiser": optimiser.state_dict(), "seconds": spent, "validation": list(map(float, scores))}
            with atomic_path(checkpoint) as file:
                torch.save(state, file)


def one_step(
    backbone: Lite0Stages,
    network: EntityEmbedding,
    optimiser: torch.optim.Optimizer,
    photos: Sequence[Photo],
    rng: np.random.Generator,
) -> list[float]:
    """The three losses of one batch, before its step."""
    crops = [make_crop(photos, rng) for _ in range(BATCH)]
    images = torch.stack([crop.image for crop in crops]).to(memory_format=torch.channels_last)
    maps = network(backbone(images))
    found = [losses_of(network, EmbeddingMaps(*(m[i] for m in maps)), crop, rng) for i, crop in enumerate(crops)]
    terms = torch.stack(found).mean(0)
    loss = terms @ torch.tensor(list(LOSS_WEIGHTS.values()))
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return terms.detach().tolist()


def make_crop(photos: Sequence[Photo], rng: np.random.Generator) -> Crop:
    """A random crop of a random photo, changed at random."""
    photo = photos[rng.integers(len(photos))]
    image, labels, sizes = cut(photo, float(np.exp(rng.uniform(*np.log(SCALES)))), rng)
    if rng.random() < PASTED:
        image, labels, sizes = paste(image, labels, sizes, photos[rng.integers(len(photos))], rng)
    return Crop(recolour(image, rng), labels, sizes, photo.whole)


def cut(photo: Photo, scale: float, rng: np.random.Generator) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """A square of a photo at a scale, mirrored half of the time; what is outside of the photo is grey and ignored."""
    side = round(CROP / scale)
    height, width = photo.labels.shape
    top, left = (int(rng.integers(max(1, length - side + 1))) for length in (height, width))
    image = torch.from_numpy(photo.image[top : top + side, left : left + side]).permute(2, 0, 1).float() / 255
    labels = torch.from_numpy(photo.labels[top : top + side, left : left + side])
    to = [max(1, min(CROP, round(length * scale))) for length in labels.shape]
    image = F.interpolate(image[None], to, mode="bilinear", antialias=True, align_corners=False)[0].clamp(0, 1)
    small = F.interpolate(labels[None, None].float(), to, mode="nearest")[0, 0].int()
    padding = (0, CROP - to[1], 0, CROP - to[0])
    image, small = F.pad(image, padding, value=0.5), F.pad(small, padding, value=-1)
    areas = np.bincount(np.maximum(photo.labels, 0).ravel()) * scale**2
    if rng.random() < 0.5:
        image, small = image.flip(-1), small.flip(-1)
    return image, small.numpy().copy(), 0.5 * np.log2(np.maximum(areas, 1))


def paste(
    image: Tensor, labels: np.ndarray, sizes: np.ndarray, other: Photo, rng: np.random.Generator
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Put one entity of another photo over a crop, at a random place."""
    theirs, theirs_labels, theirs_sizes = cut(other, float(np.exp(rng.uniform(*np.log(SCALES)))), rng)
    areas = np.bincount(np.maximum(theirs_labels, 0).ravel())
    usable = np.flatnonzero((areas > 0.005 * CROP**2) & (areas < 0.3 * CROP**2))
    usable = usable[usable > 0]
    if len(usable) == 0:
        return image, labels, sizes
    chosen = int(rng.choice(usable))
    moved = tuple(int(rng.integers(-CROP // 3, CROP // 3)) for _ in range(2))
    inside = torch.from_numpy(theirs_labels == chosen).roll(moved, (0, 1))
    image = torch.where(inside, theirs.roll(moved, (1, 2)), image)
    labels = np.where(inside.numpy(), len(sizes), labels)
    return image, labels.astype(np.int32), np.append(sizes, theirs_sizes[chosen])


def recolour(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Other light: brightness, contrast and white balance, now and then no colour."""
    if rng.random() < 0.05:
        image = image.mean(0, keepdim=True).expand(3, -1, -1)
    gains = torch.from_numpy(rng.uniform(0.9, 1.1, (3, 1, 1)).astype(np.float32)) * float(rng.uniform(0.8, 1.2))
    middle = image.mean()
    image = (middle + (image - middle) * float(rng.uniform(0.8, 1.2))) * gains
    return image.clamp(0, 1) ** float(rng.uniform(0.85, 1.2))


def losses_of(network: EntityEmbedding, maps: EmbeddingMaps, crop: Crop, rng: np.random.Generator) -> Tensor:
    """The losses of pairs, boundary and size of one crop: (3,); 0 where there is nothing to learn from."""
    small = torch.from_numpy(crop.labels[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].astype(np.int64))
    pairs, _ = pair_loss(network.margin, maps.embedding, small, rng)
    return torch.stack([pairs, boundary_loss(maps.boundary[0], crop), size_loss(maps.size[0], small, crop.sizes)])


def pair_loss(margin: Tensor, embedding: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, float]:
    """The loss of pairs of pixels, and the share of them on the right side of the margin (both halves balanced)."""
    height, width = labels.shape
    known = np.flatnonzero(labels.numpy().ravel() >= 0)
    if len(known) < PAIRS // 10:
        return embedding.sum() * 0, math.nan
    rows, columns = np.divmod(known, width)
    row, column, reach = rng.integers(height), rng.integers(width), rng.integers(10, 30)
    near = known[(abs(rows - row) < reach) & (abs(columns - column) < reach)]
    chosen = np.concatenate([rng.permutation(known)[: PAIRS // 2], rng.permutation(near)[: PAIRS // 2]])
    chosen = np.unique(chosen)
    of = labels.flatten()[chosen]
    points = embedding.flatten(1).T[chosen]
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    places = torch.from_numpy(np.stack(np.divmod(chosen, width), 1)).float()
    weights = torch.exp(-torch.cdist(places, places) / NEAR)
    weights = weights.masked_fill((of[:, None] == 0) & (of[None] == 0), 0).fill_diagonal_(0)
    same = of[:, None] == of[None]
    losses = F.binary_cross_entropy_with_logits(margin - distances, same.float(), reduction="none")
    right = ((distances < margin) == same).float()
    halves = [(weights * part, (weights * part).sum().clamp(min=1e-6)) for part in (same, ~same)]
    loss = sum(((losses * part).sum() / total for part, total in halves), torch.zeros(())) / 2
    return loss, float(sum((right * part).sum() / total for part, total in halves) / 2)


def boundary_loss(logits: Tensor, crop: Crop) -> Tensor:
    """Binary cross-entropy; borders count four times. Unlabelled surroundings count only where things are near."""
    labels = torch.from_numpy(crop.labels)[None, None]
    border = torch.zeros(labels.shape)
    for axis in (2, 3):
        differs = (labels.diff(dim=axis) != 0).float()
        border += F.pad(differs, (0, 0, 0, 1) if axis == 2 else (0, 1))
        border += F.pad(differs, (0, 0, 1, 0) if axis == 2 else (1, 0))
    border = F.max_pool2d((border > 0).float(), STRIDE)[0, 0]
    known = 1 - F.max_pool2d((labels < 0).float(), STRIDE)[0, 0]
    if not crop.whole:
        known = known * F.max_pool2d((labels > 0).float(), 9, STRIDE, 4)[0, 0]
    weights = known * (1 + 3 * border)
    losses = F.binary_cross_entropy_with_logits(logits, border, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1)


def size_loss(found: Tensor, labels: Tensor, sizes: np.ndarray) -> Tensor:
    """Huber's loss of log2 of the square root of the area of the entity that each pixel belongs to."""
    known = labels > 0
    wanted = torch.from_numpy(sizes).float()[labels.clamp(min=0)]
    losses = F.smooth_l1_loss(found, wanted, reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def measure_channels(backbone: Lite0Stages, network: EntityEmbedding, photos: Sequence[Photo]) -> None:
    """Set the means and deviations that the network's input is standardised by."""
    rng = np.random.default_rng(0)
    images = torch.stack([make_crop(photos, rng).image for _ in range(40)])
    for level, change in zip(backbone(images), network.standardise, strict=True):
        change.mean.copy_(level.mean((0, 2, 3), keepdim=True))
        change.deviation.copy_(level.std((0, 2, 3), keepdim=True) + 1e-3)
    network.size.bias.fill_(6.0)


@torch.no_grad()
def validate(backbone: Lite0Stages, network: EntityEmbedding, photos: Sequence[Photo]) -> list[float]:
    """Mean losses over whole photos, and the share of pairs on the right side of the margin."""
    rows = []
    for number, photo in enumerate(photos):
        rng = np.random.default_rng(number)
        image = torch.from_numpy(photo.image).permute(2, 0, 1)[None].float() / 255
        maps = network(backbone(image.contiguous(memory_format=torch.channels_last)))
        height, width = (side // STRIDE for side in photo.labels.shape)
        maps = EmbeddingMaps(*(m[0, :, :height, :width] for m in maps))
        labels = photo.labels[: height * STRIDE, : width * STRIDE]
        small = torch.from_numpy(labels[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].astype(np.int64))
        areas = np.bincount(np.maximum(labels, 0).ravel())
        crop = Crop(image[0], labels, 0.5 * np.log2(np.maximum(areas, 1)), photo.whole)
        pairs, right = pair_loss(network.margin, maps.embedding, small, rng)
        rest = boundary_loss(maps.boundary[0], crop), size_loss(maps.size[0], small, crop.sizes)
        rows.append([float(pairs), *map(float, rest), right])
    return [round(float(value), 4) for value in np.nanmean(rows, 0)]


def export(checkpoint: Path, to: Path) -> None:
    """Write the averaged weights in half precision."""
    state = torch.load(checkpoint, weights_only=True)
    half = {name: tensor.half().contiguous() for name, tensor in state["averaged"].items()}
    facts = {"steps": state["step"], "seconds": round(state["seconds"]), "validation": state["validation"]}
    to.write_bytes(save(half, metadata={"format": "pt", "training": json.dumps(facts)}))
    print(f"{to}: {to.stat().st_size / 1e6:.2f} MB, {facts}")


if __name__ == "__main__":
    main()
