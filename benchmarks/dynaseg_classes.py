"""What does DynaSeg find in a data set without labels? The paper's Tables 3 to 5 at small scale, beside K-means.

113 photos of COCO (coco-panoptic-100 and coco-stuff-13, merged into 27 classes), every other one to fit, the others to
score. Each row trains one network with several seeds and assigns its labels to the classes once for all photos that
are scored. K-means clusters, into 27, the colours, or the features that the untrained extractor of the row gives.

    python benchmarks/dynaseg_classes.py DATA [--size 64] [--epochs 4] [--seeds 3] [--only TEXT]

With `--only` the figures of the other rows stay those of the run before.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from harness.report import markdown_table, write_report
from PIL import Image
from sklearn.cluster import KMeans
from torch import Tensor

from upseg.data.sample import IGNORE
from upseg.data.sources.coco_stuff import CATEGORIES, MERGED_CATEGORIES, MERGED_OF
from upseg.methods.dynaseg.class_segmenter import build_class_network
from upseg.methods.dynaseg.class_settings import ClassExtractor, DynaSegClassesSettings
from upseg.methods.dynaseg.equations import cluster_labels
from upseg.methods.dynaseg.floor import silhouette_floor
from upseg.methods.dynaseg.losses import Weighting, image_losses
from upseg.methods.dynaseg.network import DynaSegNetwork
from upseg.methods.dynaseg.settings import PAPER_ALPHA
from upseg.metrics.hungarian import HungarianScores

RESULTS = Path(__file__).resolve().parent / "results"
CLASSES = len(MERGED_CATEGORIES)
BATCH = 8
COLUMNS = (
    "mean_iou", "mean_iou_things", "mean_iou_stuff", "pixel_accuracy", "mean_iou_things_only", "mean_iou_stuff_only"
)  # fmt: skip
HEADINGS = ("row", "All", "Things", "Stuff", "pixel acc.", "Things only", "Stuff only", "labels at the end")


@dataclass(frozen=True)
class Row:
    """A network to train: `longer` so many times as long as the others, at first the paper's learning rate."""

    extractor: ClassExtractor
    pretrained: bool
    weighting: Weighting = "fsf"
    silhouette: bool = True
    rate: float = 0.1
    frozen: bool = False
    longer: int = 1

    @property
    def name(self) -> str:
        """What the table calls it."""
        weights = {"cnn": "CNN"}.get(self.extractor, "Lite0 + FPN" + (", ImageNet" if self.pretrained else ", random"))
        ours = ("frozen",) * self.frozen + ((f"rate {self.rate:g}",) if self.rate != 0.1 or self.longer > 1 else ())
        floor = "silhouette" if self.silhouette else "3"
        return ", ".join((weights, self.weighting.upper(), f"floor {floor}", *ours, *_times(self.longer)))


def _times(longer: int) -> tuple[str, ...]:
    return (f"{longer} times as long",) if longer > 1 else ()


ROWS = (
    Row("lite0-fpn", True),
    Row("lite0-fpn", True, "scf"),
    Row("lite0-fpn", True, "fixed"),
    Row("lite0-fpn", True, silhouette=False),
    Row("lite0-fpn", False),
    Row("cnn", False),
    Row("cnn", False, "scf"),
    Row("lite0-fpn", True, rate=0.01, frozen=True, longer=4),
    Row("lite0-fpn", True, "scf", rate=0.01, frozen=True, longer=4),
    Row("lite0-fpn", True, "fixed", rate=0.01, frozen=True, longer=4),
    Row("lite0-fpn", True, silhouette=False, rate=0.01, frozen=True, longer=4),
    Row("lite0-fpn", True, frozen=True, longer=4),
    Row("lite0-fpn", True, rate=0.01),
    Row("lite0-fpn", True, frozen=True),
)


@dataclass(frozen=True)
class Photos:
    """(N, 3, S, S) images in [0, 1], the position of each pixel's class, and the silhouette floors."""

    images: Tensor
    truths: np.ndarray
    floors: Tensor


def positions(ids: np.ndarray, merged: dict[int, int]) -> np.ndarray:
    """The merged class of each pixel by the id of its class."""
    table = np.full(256, IGNORE)
    for identifier, position in merged.items():
        table[identifier] = position
    return table[ids]


def panoptic_table(categories: list[dict]) -> dict[int, int]:
    """The merged class of each category of COCO panoptic: `ceiling-merged` is where `ceiling-other` is."""
    by_name = {category.name: category.id for category in CATEGORIES}

    def known(category: dict) -> int:
        name = category["name"].removesuffix("-merged")
        return category["id"] if category["id"] in MERGED_OF else by_name.get(name, by_name.get(f"{name}-other", 0))

    return {category["id"]: MERGED_OF[known(category)].id for category in categories}


def panoptic_photos(folder: Path) -> list[tuple[Path, np.ndarray]]:
    """Photos of coco-panoptic-100 and their classes."""
    file = json.loads((folder / "annotations" / "panoptic_train2017.json").read_text())
    merged, names = panoptic_table(file["categories"]), {row["id"]: row["file_name"] for row in file["images"]}
    found = []
    for row in file["annotations"]:
        colours = np.asarray(Image.open(folder / "annotations" / "panoptic_train2017" / row["file_name"])).astype(int)
        ids = colours @ [1, 256, 65536]
        truth = np.full(ids.shape, IGNORE)
        for segment in row["segments_info"]:
            truth[ids == segment["id"]] = merged[segment["category_id"]]
        found.append((folder / "train2017" / names[row["image_id"]], truth))
    return found


def stuff_photos(folder: Path) -> list[tuple[Path, np.ndarray]]:
    """Photos of coco-stuff-13 and their classes."""
    merged = {category.id - 1: MERGED_OF[category.id].id for category in CATEGORIES}
    return [
        (folder / "images" / f"{path.stem}.jpg", positions(np.asarray(Image.open(path)), merged))
        for path in sorted((folder / "classes").glob("*.png"))
    ]


def read(pairs: list[tuple[Path, np.ndarray]], size: int) -> Photos:
    """All photos as squares of one size; truth takes the pixel in the middle of each new one."""
    images, truths = [], []
    for path, truth in pairs:
        image = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BOX)
        images.append(np.asarray(image, np.float32) / 255)
        rows, columns = ((np.arange(size) + 0.5) * side / size for side in truth.shape)
        truths.append(truth[np.ix_(rows.astype(int), columns.astype(int))])
    floors = [silhouette_floor(image, samples=500) for image in images]
    return Photos(torch.tensor(np.stack(images)).permute(0, 3, 1, 2), np.stack(truths), torch.tensor(floors))


def cluster_numbers(photos: Sequence[Photos]) -> dict[str, list[int]]:
    """The paper's Figure 6: how many photos have so many classes, and how many so high a silhouette floor."""
    classes = [len(np.unique(truth[truth != IGNORE])) for part in photos for truth in part.truths]
    floors = [int(floor) for part in photos for floor in part.floors]
    most = max(*classes, *floors)
    return {
        name: np.bincount(values, minlength=most + 1)[1:].tolist()
        for name, values in (("classes in the truth", classes), ("silhouette floor", floors))
    }


def score(label: Callable[[Tensor], np.ndarray], photos: Photos) -> dict[str, float]:
    """One assignment for all photos; `label` gives labels from 0 for one image."""
    scores, used = HungarianScores(MERGED_CATEGORIES, CLASSES), []
    for image, truth in zip(photos.images, photos.truths, strict=True):
        labels = label(image[None])
        used.append(len(np.unique(labels)))
        scores.update(np.maximum(truth, 0), labels + 1, truth != IGNORE)
    return {**scores.compute(), "labels": float(np.mean(used))}


def train(row: Row, photos: Photos, seed: int, epochs: int) -> DynaSegNetwork:
    """SGD over the photos as the recipes have it; those that have ended add nothing."""
    torch.manual_seed(seed)
    settings = DynaSegClassesSettings(row.extractor, features=100 if row.extractor != "cnn" else 32, clusters=CLASSES)
    network = build_class_network(settings, pretrained=row.pretrained).train()
    if row.frozen:
        network.extractor.backbone.requires_grad_(False).eval()
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, row.rate, momentum=0.9, weight_decay=1e-4)
    for _ in range(epochs * row.longer):
        for chosen in torch.randperm(len(photos.images)).split(BATCH):
            losses, counts = image_losses(network(photos.images[chosen]), row.weighting, PAPER_ALPHA[row.weighting])
            active = counts > (photos.floors[chosen] if row.silhouette else 3)
            if active.any():
                optimizer.zero_grad()
                ((losses * active).sum() / len(chosen)).backward()
                optimizer.step()
    return network.eval()


@torch.no_grad()
def k_means(extract: Callable[[Tensor], Tensor], fit: Photos, scored: Photos, seed: int) -> dict[str, float]:
    """27 clusters of the values that `extract` gives, (B, D, H, W), learned on a sample of the pixels."""
    values = torch.cat([extract(image[None]).flatten(2)[0].T for image in fit.images])
    sample = np.random.default_rng(seed).choice(len(values), min(len(values), 20_000), replace=False)
    clusters = KMeans(CLASSES, n_init=1, random_state=seed).fit(values[sample].numpy())

    def label(image: Tensor) -> np.ndarray:
        found = extract(image)
        small = clusters.predict(found.flatten(2)[0].T.numpy()).reshape(found.shape[-2:])
        times = image.shape[-1] // small.shape[-1]
        return small.repeat(times, 0).repeat(times, 1).astype(np.int64)

    return score(label, scored)


def untrained(extractor: ClassExtractor, *, pretrained: bool, seed: int) -> Callable[[Tensor], Tensor]:
    """The features x of a network before training, with the statistics of each image."""
    torch.manual_seed(seed)
    settings = DynaSegClassesSettings(extractor, features=100 if extractor != "cnn" else 32, clusters=CLASSES)
    network = build_class_network(settings, pretrained=pretrained)
    return (network.eval() if pretrained else network.train()).extractor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with coco-panoptic-100 and coco-stuff-13")
    for name, value in {"size": 64, "epochs": 4, "seeds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--only", default="", help="rows whose name has this")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    pairs = panoptic_photos(options.data / "coco-panoptic-100") + stuff_photos(options.data / "coco-stuff-13")
    fit, scored = (read(pairs[start::2], options.size) for start in (0, 1))
    kept = options.output / "dynaseg_classes.json"
    before = json.loads(kept.read_text())["runs"] if options.only and kept.exists() else {}
    runs: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):  # seeds outside, so that an interrupted run has compared like with like
        clustered: dict[str, Callable[[Tensor], Tensor]] = {
            "K-means, colours": lambda image: image,
            "K-means, Lite0 + FPN, ImageNet": untrained("lite0-fpn", pretrained=True, seed=seed),
            "K-means, Lite0 + FPN, random": untrained("lite0-fpn", pretrained=False, seed=seed),
            "K-means, CNN": untrained("cnn", pretrained=False, seed=seed),
        }
        for name, extract in clustered.items():
            if name in before:
                continue
            runs.setdefault(name, []).append(k_means(extract, fit, scored, seed))
        for row in (row for row in ROWS if options.only in row.name):
            network = train(row, fit, seed, options.epochs)
            with torch.no_grad():
                found = score(lambda image, n=network: cluster_labels(n(image))[0].numpy(), scored)
            runs.setdefault(row.name, []).append(found)
            print(f"seed {seed}, {row.name}: {found}", file=sys.stderr, flush=True)
    runs = before | runs
    table = markdown_table(HEADINGS, ([n, *(_mean(rs, c) for c in (*COLUMNS, "labels"))] for n, rs in runs.items()))
    title = f"DynaSeg over a data set: {len(fit.images)} photos to fit, {len(scored.images)} to score, 27 classes"
    notes = [
        f"{options.size} x {options.size} pixels, {options.epochs} epochs of batches of {BATCH}, {options.seeds} seeds",
        "one assignment of labels to classes for all photos that are scored; mean ± standard deviation over the seeds",
        "All, Things, Stuff and pixel accuracy: of one matrix, as PiCIE and STEGO have All",
        "Things only, Stuff only: of the sub-matrices, which compare with the paper's Tables 2 to 5 alone",
        "p = 100 for Lite0 + FPN, 32 for the CNN; SGD, learning rate 0.1 unless the row says so, as in the paper",
        "frozen: the backbone stays as it is on ImageNet",
    ]
    numbers = cluster_numbers((fit, scored))
    figure = markdown_table(
        ("photos with so many clusters", *range(1, len(next(iter(numbers.values()))) + 1)),
        ([name, *counts] for name, counts in numbers.items()),
    )
    sections = [table, "## The paper's Figure 6: clusters of the silhouette against those of the truth", figure]
    write_report(options.output, "dynaseg_classes", title, sections, {"runs": runs, "clusters": numbers}, notes)


def _mean(runs: list[dict[str, float]], column: str) -> str:
    values = np.array([run[column] for run in runs])
    return f"{values.mean():.1f}" if column == "labels" else f"{values.mean():.3f} ± {values.std():.3f}"


if __name__ == "__main__":
    main()
