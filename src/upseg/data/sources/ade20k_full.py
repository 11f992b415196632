"""ADE20K, the full release: 27,574 photos, each object in a mask of its own, parts as well (Zhou et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.ade20k import STUFF_NAMES
from upseg.data.sources.folders import choose_split, find_folder, image_of, list_files
from upseg.data.sources.label_images import read_mask_image, truth_file
from upseg.errors import DataError
from upseg.files import parse_json, read_plain
from upseg.formats.metadata import integer_of, list_of, object_of
from upseg.segmentation import Category

_ROOTS = (".", "images/ADE", "ADE20K_2021_17_01/images/ADE", "ADE")
_SPLITS = {"train": "training", "val": "validation"}


class ADE20KFull(Dataset):
    """One split of `ADE20K_2021_17_01`: in the folder of each scene `NAME.jpg`, `NAME.json` and the folder `NAME`.

    The JSON file lists the objects; each has a mask of all its extent, also where others hide it. They are drawn from
    the back to the front by their depth order. The classes are WordNet's, about 3,700, and known only once an image is
    read, so `categories` is empty; those called like the stuff of the challenge are stuff, all others things.

    Args:
        root: The folder `ADE20K_2021_17_01`, one above it, or its `images/ADE`.
        split: training or validation (train and val will do); None for validation, or the only one there is.
        part_level: 0 for objects, 1 for their parts, 2 for the parts of parts.
    """

    def __init__(
        self, root: Path, split: str | None = None, *, on_error: OnError = "raise", part_level: int = 0
    ) -> None:
        places = [f"{place}/{folder}" for place in _ROOTS for folder in _SPLITS.values()]
        base = find_folder(root, places, "the full release of ADE20K").parent
        there = [folder for folder in _SPLITS.values() if (base / folder).is_dir()]
        split = choose_split(_SPLITS.get(split, split) if split else None, there, base)
        self._files = list_files(base / split, (".json",), "ADE20K's annotations", recursive=True)
        self.part_level = part_level
        super().__init__((), on_error, names=list(self._files.files))

    def load(self, index: int) -> Sample:
        """Draw the masks of one image."""
        path = self._files.path(self.names[index])
        with truth_file(path, "an annotation of ADE20K"):
            annotation = object_of(object_of(_load_json(path), "the file").get("annotation"), "annotation")
            rows = [object_of(row, "an object") for row in list_of(annotation.get("object"), "object")]
            objects = [row for row in rows if self._level(row) == self.part_level]
            if not objects:
                raise ValueError(f"the annotation is empty: it has no object of part level {self.part_level}")
            ranks = [integer_of(row.get("depth_ordering_rank"), f"the rank of {row.get('id')}") for row in objects]
            categories = [_category(row) for row in objects]
            masks = [_mask_path(path, row) for row in objects]
        labels = _draw(masks, ranks)
        visible = np.bincount(labels.ravel(), minlength=len(masks) + 1) > 0
        return Sample.from_labels(
            image_of(path.with_suffix(".jpg"), labels.shape, path),
            labels,
            categories=dict(enumerate(categories, start=1)),
            name=self.names[index],
            left_out=[f"{m.name} is wholly behind others" for n, m in enumerate(masks, start=1) if not visible[n]],
        )

    @staticmethod
    def _level(row: dict[str, Any]) -> int:
        return integer_of(object_of(row.get("parts"), "parts").get("part_level"), f"part_level of {row.get('id')}")


def _load_json(path: Path) -> Any:
    """Parse an annotation; some files of the release are in Latin-1, which JSON does not allow."""
    content = read_plain(path)
    try:
        return parse_json(content)
    except UnicodeDecodeError:
        return parse_json(content.decode("latin-1"))


def _category(row: dict[str, Any]) -> Category:
    name = row.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"object {row.get('id')} has no category: its name is {name!r}")
    first = name.partition(",")[0]
    return Category(integer_of(row.get("name_ndx"), f"name_ndx of {first}"), first, first not in STUFF_NAMES)


def _mask_path(path: Path, row: dict[str, Any]) -> Path:
    """The mask of an object, which lies in the folder called like the annotation."""
    name = str(row.get("instance_mask"))
    folder, _, file = name.partition("/")
    if folder != path.stem or not file or set(file) & set("/\\:\0") or file in (".", ".."):
        raise ValueError(f"the instance_mask of object {row.get('id')} must be {path.stem}/NAME.png, got {name!r}")
    return path.parent / folder / file


def _draw(paths: Sequence[Path], ranks: Sequence[int]) -> Int32[np.ndarray, "h w"]:
    """Masks 1..K from the back (the largest rank) to the front."""
    labels: Int32[np.ndarray, "h w"] | None = None
    for number in sorted(range(len(paths)), key=lambda n: (-ranks[n], n)):
        mask = read_mask_image(paths[number])
        if labels is None:
            labels = np.zeros(mask.shape, np.int32)
        if mask.shape != labels.shape:
            raise DataError(f"{paths[number]}: the mask is {mask.shape} pixels, others of its image are {labels.shape}")
        labels[mask] = number + 1
    if labels is None:
        raise ValueError("give at least one mask")
    return labels
