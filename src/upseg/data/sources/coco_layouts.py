"""COCO's sets under their names, in the official layout or the plain one: `images` beside one JSON file.

Instances: 118,287 + 5,000 photos, 80 classes (Lin et al. 2014). Panoptic: the same photos, 80 thing and 53 stuff
classes (Kirillov et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from upseg.data.dataset import Dataset, Derived, OnError
from upseg.data.sample import Sample
from upseg.data.sources.coco_json import CocoJson
from upseg.data.sources.coco_stuff import MERGED_CATEGORIES, MERGED_OF, CocoStuff
from upseg.data.sources.folders import choose_split, find_folder, nearest_contents
from upseg.data.sources.panoptic_json import PanopticJson
from upseg.data.sources.plain_folder import open_folder
from upseg.errors import DataError
from upseg.segmentation import Category


class CocoInstances(CocoJson):
    """One split in the official layout: `{split}/*.jpg` and `annotations/instances_{split}.json`.

    Args:
        root: The folder that holds `annotations`.
        split: train2017, val2017, train2014 or val2014 (train and val will do where there is one year); None for the
            validation split, or the only one there is.
        only: Names of the categories to read; None for all.
    """

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        *,
        on_error: OnError = "raise",
        only: tuple[str, ...] | None = None,
    ) -> None:
        annotation_file, split = _annotations(root, "instances", split)
        super().__init__(annotation_file, _image_folders(root, split), on_error=on_error, only=only)


class CocoPanoptic(PanopticJson):
    """One split in the official layout: `{split}/*.jpg`, `annotations/panoptic_{split}.json`, and the PNGs.

    Args:
        root: The folder that holds `annotations`.
        split: train2017 or val2017 (train and val will do); None for val2017, or the only one there is.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        annotation_file, split = _annotations(root, "panoptic", split)
        folder = f"panoptic_{split}"
        pngs = find_folder(
            root,
            (f"annotations/{folder}", folder, f"annotations/{folder}/{folder}"),
            f"the PNGs of {annotation_file.name} (the archive holds them as {folder}.zip)",
        )
        super().__init__(annotation_file, pngs, _image_folders(root, split), on_error=on_error)


def open_instances(
    root: Path,
    split: str | None = None,
    *,
    on_error: OnError = "raise",
    only: tuple[str, ...] | None = None,
    annotations: str | None = None,
) -> Dataset:
    """COCO instances as `CocoInstances` reads them, or any set in the plain layout.

    Args:
        root: The folder that holds `annotations`, or `images` and a JSON file.
        split: As `CocoInstances` or `open_folder` has it.
        on_error: What to do with a damaged sample.
        only: Names of the categories to read; None for all.
        annotations: In the plain layout the JSON file's name, where there are several.

    Raises:
        DataError: If the folder is in neither layout.
    """
    official = partial(CocoInstances, on_error=on_error, only=only)
    return _open(root, split, official, partial(open_folder, on_error=on_error, only=only, annotations=annotations))


def open_panoptic(
    root: Path, split: str | None = None, *, on_error: OnError = "raise", annotations: str | None = None
) -> Dataset:
    """COCO panoptic as `CocoPanoptic` reads it, or any set in the plain layout; arguments as for `open_instances`."""
    plain = partial(open_folder, on_error=on_error, annotations=annotations)
    return _open(root, split, partial(CocoPanoptic, on_error=on_error), plain)


def open_stuff(
    root: Path,
    split: str | None = None,
    *,
    on_error: OnError = "raise",
    annotations: str | None = None,
    merged: bool = False,
) -> Dataset:
    """COCO-Stuff as `CocoStuff` reads it, or a set in the plain layout whose classes have COCO-Stuff's ids.

    Args:
        root: The folder.
        split: As `CocoStuff` or `open_folder` has it.
        on_error: What to do with a damaged sample.
        annotations: In the plain layout the JSON file's name, where there are several.
        merged: Whether to merge the classes into 27.

    Raises:
        DataError: If the folder is in neither layout, or a class cannot be merged.
    """
    plain = partial(open_folder, on_error=on_error, annotations=annotations)
    found = _open(root, split, partial(CocoStuff, on_error=on_error, merged=merged), plain)
    return found if isinstance(found, CocoStuff) or not merged else _Merged(found, MERGED_OF, MERGED_CATEGORIES)


def _open(
    root: Path,
    split: str | None,
    official: Callable[[Path, str | None], Dataset],
    plain: Callable[[Path, str | None], Dataset],
) -> Dataset:
    """The official layout if the folder is in it, else the plain one if there is a JSON file."""
    try:
        return official(root, split)
    except DataError:
        bases = [root, *([root / split] if split is not None else [])]
        if not any(
            (base / "images").is_dir() and [*base.glob("*.json"), *base.glob("annotations/*.json")] for base in bases
        ):
            raise
    return plain(root, split)


class _Merged(Derived):
    """Another data set with its classes merged; segments of one class, whatever they were, are one."""

    def __init__(self, whole: Dataset, merged_of: Mapping[int, Category], merged: tuple[Category, ...]) -> None:
        unknown = next((c for c in whole.categories if c.id not in merged_of), None)
        if unknown is not None:
            raise DataError(
                f"the class {unknown.name} has the id {unknown.id}, which is none of COCO-Stuff's (1 to 182), so "
                "that it cannot be merged; open the set as coco-stuff, coco-panoptic or folder"
            )
        self._merged_of, self._merged = merged_of, merged
        super().__init__(whole)

    @property
    def categories(self) -> tuple[Category, ...]:
        """The merged classes."""
        return self._merged

    def load(self, index: int) -> Sample:
        """Read a sample, and give all pixels of a class one value."""
        sample = self._whole.load(self._indices[index])
        merged = [None if s.category is None else self._merged_of[s.category.id] for s in sample.segments]
        values = np.array([0, *(0 if category is None else category.id + 1 for category in merged)], np.int64)
        categories = {category.id + 1: category for category in merged if category is not None}
        return sample.with_labels(
            values[sample.segment_map], categories, {c.id + 1 for c in merged if c and c.is_thing}
        )


def _annotations(root: Path, kind: str, split: str | None) -> tuple[Path, str]:
    """The annotation file of a split of a kind, instances or panoptic, and the split's full name."""
    folder = find_folder(root, ("annotations", "."), f"COCO's {kind}_*.json")
    files = {path.stem.removeprefix(f"{kind}_"): path for path in folder.glob(f"{kind}_*.json")}
    if not files:
        raise DataError(
            f"{folder} should hold COCO's {kind}_train2017.json or {kind}_val2017.json; "
            f"{nearest_contents(folder / kind)}"
        )
    split = choose_split(split, files, folder)
    return files[split], split


def _image_folders(root: Path, split: str) -> list[Path]:
    """Where the images of a split are: in the folder named like it, beside `annotations` or in `images`."""
    return [find_folder(root, (split, f"images/{split}"), f"the images of {split}")]
