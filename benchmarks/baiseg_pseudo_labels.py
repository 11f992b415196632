"""A page of pictures of pseudo labels: what a BAISeg model makes of the class masks of real photos, good and bad.

For photos of any data set that has classes, which need no annotated instances: the photo, its class mask, the boundary
map, and the instances, in an HTML page beside its pictures. The photos with most instances for each connected component
come first, because that is where masks were cut, rightly or wrongly. The pictures show the data set's photos, whose
licences decide who may see them.

    python benchmarks/baiseg_pseudo_labels.py MODEL PATH [--source voc2012] [--split train] [--images 24] [-o page]
"""

from __future__ import annotations

import argparse
import html
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from baiseg_instances import class_map
from PIL import Image

from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.functional.label_maps import connected_components
from upseg.functional.resizing import resize_image
from upseg.methods.baiseg import BaisegSegmenter
from upseg.methods.baiseg.segmenter import working_sizes
from upseg.segmentation import Category, Segmentation
from upseg.split.baselines import remove_small_objects

HEIGHT = 320
"""Of the pictures, in pixels, at most."""
STYLE = "body{font:16px sans-serif;margin:2em;max-width:1500px}img{max-width:100%}h2{margin:1.5em 0 .3em}"


@dataclass(frozen=True)
class Picture:
    """One photo of the page.

    Attributes:
        name: Of the photo.
        components: How many connected components its class mask has.
        instances: How many were found.
        classes: Their names, and how many of each.
    """

    name: str
    components: int
    instances: int
    classes: dict[str, int]


def boundary_map(segmenter: BaisegSegmenter, image: np.ndarray) -> np.ndarray:
    """The probability of a boundary as a grey picture of the image's size."""
    seen, _ = working_sizes(image.shape[0], image.shape[1], segmenter.settings)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    boundary = segmenter.predict(resize_image(batch, seen).clamp(0, 1))["boundary"].float().sigmoid()
    grey = resize_image(boundary, image.shape[:2])[0, 0].clamp(0, 1).numpy()
    return np.rint(grey * 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def draw(sample: Sample, segmenter: BaisegSegmenter, things: dict[int, str], path: Path) -> Picture:
    """Split one class mask, and draw all there is to see."""
    ids = class_map(sample)
    ids = np.where(np.isin(ids, list(things)), ids, 0)
    found = segmenter.segment(sample.image, semantic_map=Segmentation.from_labels(ids, categories=named(sample, ids)))
    components = remove_small_objects(connected_components(ids), segmenter.settings.minimum_area)
    photo = np.rint(sample.image * 255).astype(np.uint8)
    pictures = [
        photo,
        draw_overlay(Segmentation.from_labels(ids), sample.image),
        boundary_map(segmenter, sample.image),
        draw_overlay(found, sample.image),
    ]
    captions = ["", "class mask", "boundary", f"{len(found)} instances"]
    row = Image.fromarray(side_by_side(pictures, captions))
    row.thumbnail((4 * row.width, HEIGHT))
    row.save(path, quality=85)
    counts: dict[str, int] = {}
    for segment in found:
        name = segment.category.name if segment.category else "object"
        counts[name] = counts.get(name, 0) + 1
    return Picture(sample.name, len(np.unique(components[components > 0])), len(found), counts)


def named(sample: Sample, ids: np.ndarray) -> dict[int, Category]:
    """The class of each id in a map of class ids."""
    categories = {segment.category.id: segment.category for segment in sample.segments if segment.category}
    return {int(number): categories[int(number)] for number in np.unique(ids[ids > 0])}


def write_page(pictures: list[Picture], folder: Path, title: str) -> Path:
    """The page, beside its pictures."""
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{html.escape(title)}</h1>")
    for picture in sorted(pictures, key=lambda p: p.instances / max(1, p.components), reverse=True):
        classes = ", ".join(f"{count} {name}" for name, count in picture.classes.items()) or "nothing"
        caption = f"{picture.name}: {picture.components} components, {picture.instances} instances ({classes})"
        parts.append(f"<h2>{html.escape(caption)}</h2><img src='{html.escape(picture.name)}.jpg' loading=lazy>")
    page = folder / "index.html"
    page.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder of baiseg")
    parser.add_argument("path", type=Path, help="the data set's folder")
    parser.add_argument("--source", default="voc2012", help="the data set, by upseg's name; default: voc2012")
    parser.add_argument("--split", help="default: the reader's")
    parser.add_argument("--images", type=int, default=24, help="the first so many; default: 24")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other settings of the model")
    parser.add_argument("-o", "--output", type=Path, default=Path("pseudo-labels"), help="default: pseudo-labels")
    options = parser.parse_args()
    changed = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.set)}
    segmenter = BaisegSegmenter.from_pretrained(options.model, device="cpu", **changed)
    dataset = open_dataset(options.source, options.path, split=options.split)
    things = {category.id: category.name for category in dataset.categories if category.is_thing}
    options.output.mkdir(parents=True, exist_ok=True)
    pictures = []
    for index in range(min(options.images, len(dataset))):
        sample = dataset[index]
        path = options.output / f"{sample.name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures.append(draw(sample, segmenter, things, path))
        print(pictures[-1], file=sys.stderr, flush=True)
    title = f"Pseudo labels of {len(pictures)} photos of {options.source}"
    print(f"written: {write_page(pictures, options.output, title)}")


if __name__ == "__main__":
    main()
