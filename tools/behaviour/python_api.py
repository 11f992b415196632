"""Segments through the public Python interface and prints what came out; run by `behaviour.session`."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import upseg


def show(title: str, found: upseg.Segmentation) -> None:
    digest = hashlib.sha256(np.ascontiguousarray(found.labels).tobytes()).hexdigest()[:16]
    print(f"{title}: {found.labels.shape} {found.labels.dtype} {digest}, {len(found)} segments")
    print(f"  provenance {dict(found.provenance)}")
    for segment in list(found)[:4]:
        facts = (segment.id, segment.area, segment.bbox, segment.score, segment.category, segment.parent)
        print(f"  {facts}, {int(found.mask(segment.id).sum())} pixels")


def main(inputs: Path, models: Path) -> None:
    photo = inputs / "photos" / "chelsea.png"
    pixels = np.asarray(Image.open(photo).convert("RGB"))
    tensor = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)
    for title, image in (("path", photo), ("array", pixels), ("Pillow", Image.open(photo)), ("tensor", tensor)):
        show(title, upseg.segment(image, detail=0.3))
    model = upseg.load_model("dynaseg", seed=1)
    for name in ("coffee.png", "moon.png"):
        show(f"loaded once, {name}", model.segment(inputs / "photos" / name))
    show("paper", upseg.segment(photo, preset="paper", steps=3))
    for name in ("entity", "panoptic", "baiseg"):
        show(name, upseg.load_model(models / name).segment(photo))
    show("mask_rcnn", upseg.load_model(models / "mask_rcnn", minimum_score=0.01).segment(photo))
    classes = np.asarray(Image.open(inputs / "scenes/masks/masks/scene1.png"))
    scene = inputs / "scenes/masks/images/scene1.png"
    show("class mask", upseg.load_model(models / "baiseg").segment(scene, semantic_map=classes))
    save_and_load(model.segment(photo), photo)
    print("public:", sorted(upseg.__all__))


def save_and_load(found: upseg.Segmentation, photo: Path) -> None:
    for suffix in ("png", "tif", "json", "geojson", "svg", "npz", "panoptic.json"):
        path = Path(f"saved.{suffix}")
        found.save(path)
        print(f"{suffix} read back: {upseg.Segmentation.load(path) == found}")
    Image.fromarray(found.overlay(photo)).save("overlay.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
