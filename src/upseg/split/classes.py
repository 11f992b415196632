"""What the values in class masks mean, and reading one mask with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from upseg.data.sample import LazyImage
from upseg.data.sources.cvat_masks import LABEL_MAP, read_label_map_file
from upseg.data.sources.folders import paired_image, read_names
from upseg.data.sources.label_images import read_colour_image, read_values, truth_file
from upseg.errors import DataError, UpsegError
from upseg.files import printable
from upseg.formats.label_colours import Colour, numbers_of_colours
from upseg.formats.metadata import list_of, load_json, object_of, read_category
from upseg.images.label_maps import LabelValues, StoredLabels
from upseg.segmentation import Category, Segmentation

_NUMBERED = re.compile(r"(\d+)\s+(.+)")
_SHOWN = 5  # ids in an error
_TABLE = "categories.json"
_NOT_EVALUATED = frozenset({255, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30})
CLASS_SETS: Mapping[str, tuple[str, str, frozenset[int] | None]] = {
    "voc": ("voc2012", "CATEGORIES", None),
    "ade20k": ("ade20k", "CATEGORIES", None),
    "cityscapes": ("cityscapes", "CATEGORIES", _NOT_EVALUATED),
    "coco": ("coco_stuff", "CATEGORIES", None),
    "coco-stuff": ("coco_stuff", "CATEGORIES", frozenset({255})),
}
"""For each data set whose classes are known by name: where they are, and what is void beside the usual."""


_FROM_ZERO = frozenset({"coco-stuff"})
"""Whose masks hold each class's id minus one: their 0 is a class."""


@dataclass(frozen=True)
class MaskClasses:
    """What the values in class masks mean; 0 is the background unless `offset` says otherwise, negative ones are void.

    Attributes:
        names: Names by value; a mask may then have no other values. None where any value may occur.
        stuff: The values of classes that stay one segment each.
        void: The values that mean that nobody knows. None for 255, but not where a mask has no other value beside 0:
            there 255 is most likely the class.
        colours: In masks of colours, as CVAT exports them, the value of each; None where masks hold values.
        offset: What is added to the values in masks for the ids of their classes: 1 for COCO-Stuff's pixel maps, whose
            0 is a person.
    """

    names: Mapping[int, str] | None = None
    stuff: frozenset[int] = frozenset()
    void: frozenset[int] | None = None
    colours: Mapping[Colour, int] | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        wrong = sorted(value for value in self.stuff if value <= 0 or value in (self.void or ()))
        if wrong:
            raise UpsegError(f"stuff must be classes, whose ids are above 0 and not void, got {wrong[0]}")
        unknown = sorted(self.stuff - set(self.names)) if self.names is not None else []
        if unknown:
            raise UpsegError(f"the class {unknown[0]} is to be stuff, but it is not in the list of classes")

    def category(self, value: int) -> Category:
        """The class that a value stands for."""
        name = f"class-{value}" if self.names is None else self.names[value]
        return Category(value, name, is_thing=value not in self.stuff)

    def categories(self) -> list[Category]:
        """All classes that are known before any mask was read."""
        return [self.category(value) for value in self.names or ()]

    def facts(self) -> list[Any]:
        """All that decides about a result, as JSON can hold it."""
        names = None if self.names is None else sorted(self.names.items())
        colours = sorted([*colour, value] for colour, value in (self.colours or {}).items())
        void = None if self.void is None else sorted(self.void)
        return [names, sorted(self.stuff), void, colours, *([self.offset] if self.offset else [])]

    @property
    def values(self) -> LabelValues:
        """The same for who reads label maps."""
        return LabelValues(are_classes=True, void=self.void)

    def read(self, path: Path) -> Segmentation:
        """Read a class mask: one segment for each class, in the order of their first pixels.

        Args:
            path: A grey or palette PNG, or a TIFF with one page of integers.

        Raises:
            DataError: If it cannot be read, or has a value that is no class.
        """
        return self.read_with(path, None)[0]

    def read_with(self, path: Path, photo: Path | None) -> tuple[Segmentation, LazyImage | None]:
        """Read a class mask and find its photo, both the right way up.

        Args:
            path: As `read` has it.
            photo: The file of its photo; None where there is none.

        Raises:
            DataError: As `read` raises it, and if the photo is missing or has another size.
        """
        stored = read_values(path, self.values) if self.colours is None else self._of_colours(path, self.colours)
        image, values = None, stored.values
        if photo is not None:
            image, values = paired_image(photo, values, path, is_turned=stored.is_turned)
        values = np.where(values >= 0, values + self.offset, values)
        classes = {value for value in np.unique(values).tolist() if value > 0}
        self._check(classes, path)
        categories = {value: self.category(value) for value in classes}
        return Segmentation.from_labels(np.maximum(values, 0), categories=categories), image

    def _of_colours(self, path: Path, colours: Mapping[Colour, int]) -> StoredLabels:
        with truth_file(path, "a mask of colours"):
            return StoredLabels(numbers_of_colours(read_colour_image(path, through_palette=True), colours))

    def _check(self, classes: set[int], path: Path) -> None:
        wrong = sorted(value for value in classes if self.names is not None and value not in self.names)
        if not wrong:
            return
        shown = f"{', '.join(map(str, wrong[:_SHOWN]))}{', ...' if len(wrong) > _SHOWN else ''}"
        raise DataError(
            f"{printable(path)}: it has values that are not in the list of classes: {shown}; add them there, or give "
            "them as void with --void"
        )


def read_class_names(path: Path) -> dict[int, str]:
    """Read a list of classes: `id name` in each line, or names alone, which count from 1.

    Returns:
        Name by value; 0, the background, is left out.

    Raises:
        DataError: If there is no such file, or it is not such a list.
    """
    lines = read_names(path, "names of classes")
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    matches = [match for match in numbered if match is not None]
    if matches and len(matches) < len(lines):
        other = lines[numbered.index(None)]
        raise DataError(
            f"{printable(path)}: either all lines must be of the form `id name` or none, but there are "
            f"{matches[0][0]!r} and {other!r}"
        )
    if not matches and lines[0].strip("_").lower() == "background":
        raise DataError(
            f"{printable(path)}: its first name is {lines[0]!r}, but names alone count from 1, and the background is "
            "0; leave it out, or write an id before each name"
        )
    pairs = [(int(match[1]), match[2]) for match in matches] or list(enumerate(lines, start=1))
    for what, values in (("id", [value for value, _ in pairs]), ("name", [name for _, name in pairs])):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise DataError(f"{printable(path)}: two classes have the {what} {twice[0]}")
    return {value: name for value, name in pairs if value > 0}


def named_classes(name: str) -> MaskClasses | None:
    """What the values mean in the class masks of a data set; None if there is none of that name.

    Args:
        name: One of `CLASS_SETS`.
    """
    if name not in CLASS_SETS:
        return None
    module, table, void = CLASS_SETS[name]
    found: tuple[Category, ...] = getattr(import_module(f"upseg.data.sources.{module}"), table)
    categories = [category for category in found if category.id > 0]
    return MaskClasses(
        {category.id: category.name for category in categories},
        frozenset(category.id for category in categories if not category.is_thing),
        void,
        offset=int(name in _FROM_ZERO),
    )


def classes_beside(folder: Path) -> MaskClasses | None:
    """What a table in a folder of masks, or beside it, says: `categories.json`, or CVAT's `labelmap.txt`.

    Returns:
        None where there is none.

    Raises:
        DataError: If it is no list of categories.
    """
    tables = (place / name for name in (_TABLE, LABEL_MAP) for place in (folder, folder.parent))
    path = next((table for table in tables if table.is_file()), None)
    if path is None:
        return None
    if path.name == LABEL_MAP:
        names, colours = read_label_map_file(path)
        return MaskClasses(names, colours=colours)
    with truth_file(path, "a list of categories"):
        rows = list_of(load_json(path), "the file")
        found = [read_category(object_of(row, "a category"), "isthing") for row in rows]
    kept = [category for category in found if category.id > 0]
    return MaskClasses({c.id: c.name for c in kept}, frozenset(c.id for c in kept if not c.is_thing))
