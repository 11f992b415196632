"""ADE20K as prepared for the 2016 and 2017 challenges: 20,210 + 2,000 photos, 150 classes (Zhou et al. 2017)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.ade20k_classes import CATEGORIES, THINGS
from upseg.data.sources.folders import choose_split, find_folder, image_of, list_files
from upseg.data.sources.label_images import check_not_empty, class_segments, read_colour_image, read_label_image
from upseg.data.sources.paired_files import PairedFiles
from upseg.data.sources.panoptic_json import PanopticJson
from upseg.errors import DataError

_THINGS_FROM = len(CATEGORIES) + 2  # labels of things, above those of classes
_SPLITS = {"train": "training", "val": "validation"}


class ADE20K(PairedFiles):
    """One split of the challenges' files: stuff from the class maps, things from the instance maps, put together.

    Layout: `images/{split}/*.jpg`; `annotations/{split}/*.png`, also called `annotations_sceneparsing`, with the
    classes 1 to 150, 0 unlabelled; and `annotations_instance/{split}/*.png`, red the category 1 to 100, green the
    instance. Things of the class map that the instance map lacks are unlabelled, as in the panoptic files that others
    prepare from these.

    Args:
        root: The folder that holds `images`, or the one above it.
        split: training or validation (train and val will do); None for validation, or the only one there is.
        on_error: What to do with images without ground truth, and with damaged samples.
        instances: Whether to read the instance maps; without them all things of a class are one crowd.

    Raises:
        DataError: If something is missing; it says where it was looked for.
    """

    def __init__(
        self, root: Path, split: str | None = None, *, on_error: OnError = "raise", instances: bool = True
    ) -> None:
        root = ade20k_root(root)
        split = ade20k_split(root, split)
        images = find_folder(root, (f"images/{split}",), "ADE20K's images")
        classes = find_folder(
            root, (f"annotations/{split}", f"annotations_sceneparsing/{split}"), "the class maps of scene parsing"
        )
        self._instances = None
        if instances:
            holds = "the maps from annotations_instance.tar (instances=False does without)"
            self._instances = find_folder(root, (f"annotations_instance/{split}",), holds)
        super().__init__(
            list_files(images, (".jpg",), "ADE20K's images"),
            list_files(classes, (".png",), "the class maps"),
            CATEGORIES,
            on_error,
        )

    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Put the two maps of one image together."""
        classes = read_label_image(truth)
        by_id = {category.id: category for category in CATEGORIES}
        labels, categories, crowds = class_segments(classes, by_id, {0}, truth)
        check_not_empty(labels, truth)
        if self._instances is not None:
            path = self._instances / f"{truth.stem}.png"
            colours = read_colour_image(path).astype(np.int64)
            if colours.shape[:2] != classes.shape:
                raise DataError(f"{path}: the map is {colours.shape[:2]} pixels, but {truth} is {classes.shape}")
            owners = _owners(colours[..., 0], colours[..., 1], path)
            stuff = np.where(np.isin(labels, list(crowds)), 0, labels)
            labels = np.where(colours[..., 1] > 0, colours[..., 1] + _THINGS_FROM, stuff)
            categories |= {value + _THINGS_FROM: by_id[THINGS[kind - 1]] for value, kind in owners.items()}
            crowds = set()
            check_not_empty(labels, truth)
        lazy = image_of(image, (labels.shape[0], labels.shape[1]), truth)
        return Sample.from_labels(lazy, labels, categories=categories, crowds=crowds, name=name)


def _owners(kinds: Integer[np.ndarray, "h w"], instances: Integer[np.ndarray, "h w"], path: Path) -> dict[int, int]:
    """The category 1 to 100 of each instance."""
    owners: dict[int, int] = {}
    for instance, kind in (divmod(pair, 256) for pair in np.unique(instances * 256 + kinds).tolist()):
        if instance == 0:
            continue
        if not 1 <= kind <= len(THINGS):
            raise DataError(f"{path}: instance {instance} has the category {kind}; the categories are 1 to 100")
        if instance in owners:
            raise DataError(f"{path}: instance {instance} has the categories {owners[instance]} and {kind}, not one")
        owners[instance] = kind
    return owners


def open_ade20k(
    root: Path, split: str | None = None, *, on_error: OnError = "raise", instances: bool = True
) -> Dataset:
    """Open the challenges' files: those prepared as COCO panoptic where they are there, else the maps they come from.

    The prepared files are `ade20k_panoptic_{train,val}.json` and the folder of PNGs of that name; they number
    the classes from 0.

    Args:
        root: The folder that holds `images`, or the one above it.
        split: training or validation (train and val will do); None for validation, or the only one there is.
        on_error: What to do with damaged samples.
        instances: Whether things are told apart; without, only the class maps are read.

    Raises:
        DataError: If something is missing; it says where it was looked for.
    """
    root = ade20k_root(root)
    full = ade20k_split(root, split)
    short = next((name for name, folder in _SPLITS.items() if folder == full), full)
    prepared = root / f"ade20k_panoptic_{short}.json"
    if not (instances and prepared.is_file()):
        return ADE20K(root, full, on_error=on_error, instances=instances)
    pngs = find_folder(root, (prepared.stem,), f"the PNGs of {prepared.name}")
    images = find_folder(root, (f"images/{full}",), "ADE20K's images")
    return PanopticJson(prepared, pngs, [images], on_error=on_error)


def ade20k_root(root: Path) -> Path:
    """The folder that holds `images`: the named one, or what the archive unpacks to below it."""
    return next((root / part for part in (".", "ADEChallengeData2016") if (root / part / "images").is_dir()), root)


def ade20k_split(root: Path, split: str | None) -> str:
    """The full name of a split that is there."""
    folder = find_folder(root, ("images",), "the folders training and validation")
    there = [path.name for path in folder.iterdir() if path.is_dir()]
    return choose_split(_SPLITS.get(split, split) if split else None, there, folder)
