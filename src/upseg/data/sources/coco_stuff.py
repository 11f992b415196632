"""COCO-Stuff: the photos of COCO 2017 with a class for each pixel, of 91 things and 91 stuffs (Caesar et al. 2018)."""

from __future__ import annotations

from pathlib import Path

from upseg.data.dataset import OnError
from upseg.data.sample import Sample
from upseg.data.sources.coco_stuff_classes import CATEGORIES, MERGED_CATEGORIES, MERGED_OF
from upseg.data.sources.folders import choose_split, find_folder, image_of, list_files
from upseg.data.sources.label_images import check_not_empty, class_segments, read_label_image
from upseg.data.sources.paired_files import PairedFiles

_UNLABELLED = 255  # the pixel maps hold each class's id minus one


class CocoStuff(PairedFiles):
    """One split: pixel maps as in `stuffthingmaps_trainval2017.zip`, and COCO's images.

    The maps are looked for in `annotations/{split}`, `stuffthingmaps_trainval2017/{split}`, `stuffthingmaps/{split}`
    and `{split}`, the images in `images/{split}` and `{split}`. All pixels of a class are one segment; those of things
    are crowds, because the maps do not tell objects apart.

    Args:
        root: The folder that holds these.
        split: train2017 or val2017 (train and val will do); None for val2017, or the only one there is.
        on_error: What to do with images without a map, and with damaged samples.
        merged: Whether to merge the classes into 27, as the protocols for learning without labels do.

    Raises:
        DataError: If something is missing; it says where it was looked for.
    """

    def __init__(
        self, root: Path, split: str | None = None, *, on_error: OnError = "raise", merged: bool = False
    ) -> None:
        places = ("annotations", "stuffthingmaps_trainval2017", "stuffthingmaps", "images", ".")
        there = [name for place in places for name in ("train2017", "val2017") if (root / place / name).is_dir()]
        split = choose_split(split, there, root)
        images = find_folder(root, (f"images/{split}", split), f"COCO's images of {split}")
        maps = find_folder(
            root,
            [f"{place}/{split}" for place in places if place != "images"],
            "the pixel maps from stuffthingmaps_trainval2017.zip",
        )
        super().__init__(
            list_files(images, (".jpg",), "COCO's images"),
            list_files(maps, (".png",), "COCO-Stuff's pixel maps"),
            MERGED_CATEGORIES if merged else CATEGORIES,
            on_error,
        )
        self._table = {c.id - 1: MERGED_OF[c.id] if merged else c for c in CATEGORIES}

    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Read one pixel map."""
        classes = read_label_image(truth)
        labels, categories, crowds = class_segments(classes, self._table, {_UNLABELLED}, truth)
        check_not_empty(labels, truth)
        lazy = image_of(image, (classes.shape[0], classes.shape[1]), truth)
        return Sample.from_labels(lazy, labels, categories=categories, crowds=crowds, name=name)
