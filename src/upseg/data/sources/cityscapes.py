"""Cityscapes, fine annotations: 5,000 street scenes, 8 thing and 11 stuff classes (Cordts et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import LazyImage, Sample
from upseg.data.sources.folders import PairedFiles, choose_split, find_file, find_folder, image_of, list_files
from upseg.data.sources.label_images import labelled_sample, read_label_image
from upseg.data.sources.panoptic_json import PanopticJson
from upseg.errors import DataError
from upseg.segmentation import Category

_STUFF = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky",
}  # fmt: skip
_THINGS = {24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}
_LAST_ID = 33  # the other ids up to it are not evaluated
_INSTANCES_FROM = 1000  # an instance's value is its class's id times 1000 and its number

CATEGORIES: tuple[Category, ...] = tuple(
    Category(number, name, is_thing=number in _THINGS) for number, name in sorted((_STUFF | _THINGS).items())
)
"""The 19 classes of the evaluation with their ids in Cityscapes."""

_IMAGE, _MAP = "_leftimg8bit.png", "_gtfine_instanceids.png"  # endings, in lower case


class Cityscapes(PairedFiles):
    """One split: `leftImg8bit/{split}/CITY/*_leftImg8bit.png` and `gtFine/{split}/CITY/*_gtFine_instanceIds.png`.

    Classes that are not evaluated are unlabelled. Things whose value has no instance number are crowds.

    Args:
        root: The folder that holds `leftImg8bit` and `gtFine`.
        split: train or val; None for val, or the only one there is.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        split = _split(root, split)
        images = find_folder(root, (f"leftImg8bit/{split}",), "a folder of images for each city")
        super().__init__(
            list_files(images, (_IMAGE,), "Cityscapes' images", recursive=True),
            list_files(root / "gtFine" / split, (_MAP,), "Cityscapes' instance maps", recursive=True),
            CATEGORIES,
            on_error,
        )
        self._by_id = {category.id: category for category in CATEGORIES}

    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Read one instance map."""
        labels = read_label_image(truth).astype(np.int64)
        values = np.unique(labels)
        classes = np.where(values < _INSTANCES_FROM, values, values // _INSTANCES_FROM)
        if int(classes.max()) > _LAST_ID:
            raise DataError(
                f"{truth}: the value {values[classes.argmax()]} has no category; ids of classes are at most {_LAST_ID}"
            )
        kept = {
            value: self._by_id[kind]
            for value, kind in zip(values.tolist(), classes.tolist(), strict=True)
            if kind in self._by_id
        }
        labels = np.where(np.isin(labels, list(kept)), labels, 0)
        crowds = {value for value, category in kept.items() if category.is_thing and value < _INSTANCES_FROM}
        return labelled_sample(image, labels, truth, categories=kept, crowds=crowds, name=name)


class CityscapesPanoptic(PanopticJson):
    """One split as Cityscapes' own script `createPanopticImgs` prepares it: `gtFine/cityscapes_panoptic_{split}.json`.

    Args:
        root: The folder that holds `leftImg8bit` and `gtFine`.
        split: train or val; None for val, or the only one there is.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        split = _split(root, split)
        name = f"cityscapes_panoptic_{split}"
        file = find_file(root, (f"gtFine/{name}.json",), "the panoptic annotations (createPanopticImgs makes it)")
        pngs = find_folder(root, (f"gtFine/{name}",), "the panoptic PNGs")
        images = find_folder(root, (f"leftImg8bit/{split}",), "a folder of images for each city")
        super().__init__(file, pngs, [images], on_error=on_error)

    @cached_property
    def names(self) -> Sequence[str]:
        """The images' files without suffix; the file names in the JSON file are not those of the images."""
        return [self.name_of(row) for row in self._index.all_rows("images")]

    def name_of(self, row: Mapping[str, Any]) -> str:
        """The image's file without suffix."""
        identity = str(row.get("id"))
        city, _, rest = identity.partition("_")
        if not rest or not city.strip(".") or set(identity) & set("/\\:\0"):
            raise DataError(f"{self.annotation_file}: the id of an image must be CITY_NUMBER_NUMBER, got {identity!r}")
        return f"{city}/{identity}_leftImg8bit"

    def find_image(self, row: Mapping[str, Any], shape: tuple[int, ...], truth: Path) -> LazyImage:
        """The image of a row, in the folder of its city."""
        return image_of(self.image_folders[0] / f"{self.name_of(row)}.png", shape, truth)


def _split(root: Path, split: str | None) -> str:
    folder = find_folder(root, ("gtFine",), "the folders train, val and test of gtFine_trainvaltest.zip")
    return choose_split(
        split, [path.name for path in folder.iterdir() if path.is_dir() and "_" not in path.name], folder
    )


def open_cityscapes(
    root: Path,
    split: str | None = None,
    *,
    on_error: OnError = "raise",
    truth: Literal["instance-ids", "panoptic"] = "instance-ids",
) -> Dataset:
    """Open the fine annotations, as instance maps or as Cityscapes' own script makes panoptic ones of them.

    Args:
        root: The folder that holds `leftImg8bit` and `gtFine`.
        split: train or val; None for val, or the only one there is.
        on_error: What to do with images without ground truth, and with damaged samples.
        truth: Which files to read.
    """
    reader = CityscapesPanoptic if truth == "panoptic" else Cityscapes
    return reader(root, split, on_error=on_error)
