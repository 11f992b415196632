"""CIHP: 38,280 photos of several people each, their body parts and clothes labelled (Gong et al. 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from upseg.data.dataset import OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import PairedFiles, choose_split, find_folder, list_files
from upseg.data.sources.label_images import labelled_sample, read_label_image
from upseg.errors import DataError
from upseg.segmentation import Category

_PARTS = """
hat, hair, glove, sunglasses, upper clothes, dress, coat, socks, pants, torso skin, scarf, skirt, face, left arm,
right arm, left leg, right leg, left shoe, right shoe
"""
PARTS: tuple[Category, ...] = tuple(
    Category(number, name) for number, name in enumerate(" ".join(_PARTS.split()).split(", "), start=1)
)
PERSON = Category(1, "person")
_SPLITS = {"train": "Training", "val": "Validation"}
_STEP = len(PARTS) + 1


class CIHP(PairedFiles):
    """One split: `{split}/Images/*.jpg`, `{split}/Category_ids/*.png` (0 to 19) and `{split}/Human_ids/*.png`.

    Args:
        root: The folder `instance-level_human_parsing`, or the one above it.
        split: Training or Validation (train and val will do); None for Validation, or the only one there is.
        segments: `people`: each person is a segment, as in COCO and ADE20K; `parts`: each part of each person.
    """

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        *,
        on_error: OnError = "raise",
        segments: Literal["parts", "people"] = "people",
    ) -> None:
        base = find_folder(
            root,
            [f"{place}/{name}" for place in (".", "instance-level_human_parsing") for name in _SPLITS.values()],
            "CIHP's Images, Category_ids and Human_ids",
        ).parent
        there = [name for name in _SPLITS.values() if (base / name).is_dir()]
        folder = base / choose_split(_SPLITS.get(split, split) if split else None, there, base)
        self.segments = segments
        self._people = list_files(folder / "Human_ids", (".png",), "the maps of people")
        super().__init__(
            list_files(folder / "Images", (".jpg",), "CIHP's images"),
            list_files(folder / "Category_ids", (".png",), "the maps of parts"),
            PARTS if segments == "parts" else (PERSON,),
            on_error,
        )

    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Put the maps of parts and people of one image together."""
        parts = read_label_image(truth).astype(np.int64)
        path = self._people.folder / truth.name
        people = read_label_image(path).astype(np.int64)
        if people.shape != parts.shape:
            raise DataError(f"{path}: the map is {people.shape} pixels, but {truth} is {parts.shape}")
        if int(parts.max()) > len(PARTS):
            raise DataError(f"{truth}: the value {parts.max()} has no category; the categories are 1 to {len(PARTS)}")
        labels = people if self.segments == "people" else np.where(parts > 0, people * _STEP + parts, 0)
        categories = {
            value: PERSON if self.segments == "people" else PARTS[value % _STEP - 1]
            for value in np.unique(labels).tolist()
            if value
        }
        return labelled_sample(image, labels, truth, categories=categories, name=name)
