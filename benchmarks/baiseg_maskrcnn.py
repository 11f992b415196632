"""Does Mask R-CNN, trained on instances that were cut out of class masks, become better than its labels?

Made-up scenes of the recipe `baiseg/shapes` (another seed) and their class masks are written to a folder, `upseg split`
cuts the masks with each of its ways, and the Mask R-CNN of the recipe `baiseg/maskrcnn-shapes` is trained on each
result, with the same first weights and the same scenes in the same order; and once on the annotated instances, which is
what pseudo labels can reach at best. Measured on the held-out scenes of `baiseg_instances.py`: the labels themselves,
made from the ground-truth class masks, and Mask R-CNN on the images alone, beside the BAISeg model on the images alone.

    python benchmarks/baiseg_maskrcnn.py MODEL [--labels baiseg distance components truth] [--steps 1000] [--scenes 800]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
from baiseg_instances import Tally, class_map, methods, open_data
from harness.report import markdown_table, write_report
from harness.short_training import train_from_scratch
from PIL import Image
from torch import Tensor

from upseg.data.batches import Batch, Collate
from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.data.shapes import ShapeScenes
from upseg.data.sources import open_dataset
from upseg.methods.baiseg import BaisegSegmenter
from upseg.methods.mask_rcnn.network import MaskRcnnNetwork, class_count
from upseg.methods.mask_rcnn.segmenter import MaskRcnnSegmenter
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings
from upseg.methods.mask_rcnn.targets import instance_targets
from upseg.segmentation import Category, Segmentation
from upseg.split.run import split_files
from upseg.training.recipes import find_recipe

RESULTS = Path(__file__).resolve().parent / "results"
TRAINING_SEED = 31
LABELS = ("baiseg", "distance", "components", "truth")
HEADINGS = ("learned from", "AP50", "AP75", "mAP50 (VOC)", "mAP75", "touching found", "alone found", "s/image")


class Shuffled(Dataset):
    """The samples of a data set in one random order after another, so many in all."""

    def __init__(self, dataset: Dataset, length: int, seed: int) -> None:
        super().__init__(dataset.categories)
        generator = np.random.default_rng(seed)
        rounds = -(-length // len(dataset))
        self.dataset = dataset
        self.order = np.concatenate([generator.permutation(len(dataset)) for _ in range(rounds)])[:length]
        names = list(dataset.names)  # once: made-up scenes compute theirs
        self._names = [names[index] for index in self.order]

    @property
    def names(self) -> list[str]:
        """Those of the samples, again and again."""
        return self._names

    def load(self, index: int) -> Sample:
        """The sample that stands there in the order."""
        return self.dataset.load(int(self.order[index]))


def write_scenes(scenes: ShapeScenes, folder: Path) -> None:
    """Photos in `images`, and in `masks` the ids of the classes of things."""
    things = [category.id for category in scenes.categories if category.is_thing]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index, name in enumerate(scenes.names):
        sample = scenes[index]
        classes = class_map(sample)
        mask = np.where(np.isin(classes, things), classes, 0).astype(np.uint8)
        Image.fromarray(np.rint(sample.image * 255).astype(np.uint8)).save(folder / "images" / f"{name}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")


def split_scenes(folder: Path, how: str, model: str) -> Dataset:
    """The scenes with the instances that `upseg split` finds in their class masks."""
    settings = {} if how == "baiseg" else {"minimum_area": BaisegSegmenter.from_pretrained(model).settings.minimum_area}
    summary = split_files(
        [folder / "masks"],
        folder / how,
        model=model if how == "baiseg" else how,
        images=folder / "images",
        settings=settings,
    )
    if summary.instances is None or summary.problem is not None:
        sys.exit(f"upseg split made no annotations: {summary.problem}")
    (folder / how / "images").symlink_to(folder / "images")
    return open_dataset("folder", folder / how, annotations=summary.instances.name)


def train(dataset: Dataset, things: tuple[Category, ...], options: argparse.Namespace) -> MaskRcnnSegmenter:
    """Mask R-CNN after so many steps."""
    recipe = yaml.safe_load(find_recipe("baiseg/maskrcnn-shapes").read_text())
    chosen = recipe["model"]["init_args"]
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in chosen["settings"].items()}
    settings = MaskRcnnSettings(**lists, threads=torch.get_num_threads())

    def make() -> MaskRcnnNetwork:
        return MaskRcnnNetwork(settings, class_count(things), box_samples=chosen["box_samples"])

    def loss(network: MaskRcnnNetwork, batch: Batch) -> Tensor:
        pairs = zip(batch.segment_maps, batch.segments, strict=True)
        with torch.autocast("cpu", torch.bfloat16):
            losses = network(batch.images, [instance_targets(labels, segments, things) for labels, segments in pairs])
        return sum(losses.values(), start=torch.zeros(()))

    scenes = Shuffled(dataset, options.steps * options.batch, seed=0)
    network = train_from_scratch(
        make, loss, scenes, Collate(), seed=0, batch=options.batch, learning_rate=options.learning_rate
    )
    return MaskRcnnSegmenter(settings, "cpu", categories=things, network=network)


def score(run: Callable[[Sample], Segmentation], scenes: Dataset, things: tuple[Category, ...]) -> Tally:
    """One method on the held-out scenes."""
    tally = Tally(things)
    for index in range(len(scenes)):
        tally.run(run, scenes[index])
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder of baiseg, trained on shapes")
    parser.add_argument("--labels", nargs="*", choices=LABELS, default=LABELS, help="default: all")
    for name, value in {"steps": 1000, "batch": 8, "scenes": 800, "images": 200}.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest; default: 0.001")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    (held_out,) = open_data("shapes", options.images)
    things = tuple(category for category in held_out.categories if category.is_thing)
    tallies = {
        f"{name} (the labels)" if "class masks" in name else name: score(run, held_out, things)
        for name, run in methods(BaisegSegmenter.from_pretrained(options.model), things).items()
    }
    assert isinstance(held_out, ShapeScenes)
    scenes = ShapeScenes(options.scenes, held_out.size, held_out.difficulty, TRAINING_SEED, held_out.classes)
    with TemporaryDirectory() as place:
        write_scenes(scenes, Path(place))
        for how in options.labels:
            dataset = scenes if how == "truth" else split_scenes(Path(place), how, options.model)
            print(f"learning from {how}", file=sys.stderr, flush=True)
            learned = train(dataset, things, options)
            tallies[f"Mask R-CNN, from {how}"] = score(lambda s, m=learned: m.segment(s.image), held_out, things)
            report(tallies, options)


def report(tallies: dict[str, Tally], options: argparse.Namespace) -> None:
    table = markdown_table(HEADINGS, (tally.row(name) for name, tally in tallies.items()))
    notes = [
        f"{options.scenes} scenes, {options.steps} steps of {options.batch}, from scratch; {options.images} held out",
        "the first rows have the held-out scenes' ground-truth class masks, all others the images alone",
    ]
    scores = {name: {**tally.cells.compute(), **tally.voc.compute()} for name, tally in tallies.items()}
    title = "Mask R-CNN on pseudo labels: made-up scenes"
    write_report(options.output, "baiseg_maskrcnn", title, [table], {"scores": scores}, notes)


if __name__ == "__main__":
    main()
