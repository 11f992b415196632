"""What the values in class masks mean, and reading one mask with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from upseg.data.sample import LazyImage
from upseg.data.sources.cvat_masks import LABEL_MAP, read_label_map_file
from upseg.data.sources.folders import paired_image
from upseg.data.sources.label_images import CATEGORY_LIST, read_category_list, read_class_colours, read_values
from upseg.errors import DataError, UpsegError
from upseg.files import printable
from upseg.formats.label_colours import Colour
from upseg.images.label_maps import LabelValues, StoredLabels
from upseg.segmentation import Category, Segmentation

_SHOWN = 5  # ids in an error

_NOT_EVALUATED = frozenset({255, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30})
CLASS_SETS: Mapping[str, tuple[str, frozenset[int] | None, int]] = {
    "voc": ("voc2012", None, 0),
    "ade20k": ("ade20k", None, 0),
    "cityscapes": ("cityscapes", _NOT_EVALUATED, 0),
    "coco": ("coco_stuff", None, 0),
    "coco-stuff": ("coco_stuff", frozenset({255}), 1),
}
"""For each data set whose classes are known by name: the module with them, what is void, and `MaskClasses.offset`."""


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

    @classmethod
    def of(cls, categories: Iterable[Category], void: frozenset[int] | None = None, offset: int = 0) -> MaskClasses:
        """Classes by their ids; what has the id 0 is the background."""
        kept = [category for category in categories if category.id > 0]
        stuff = frozenset(category.id for category in kept if not category.is_thing)
        return cls({category.id: category.name for category in kept}, stuff, void, offset=offset)

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

    def read(self, path: Path, photo: Path | None = None) -> tuple[Segmentation, LazyImage | None]:
        """Read a class mask, one segment for each class, and find its photo, both the right way up.

        Args:
            path: A grey or palette PNG, or a TIFF with one page of integers.
            photo: The file of its photo; None where there is none.

        Raises:
            DataError: If the mask cannot be read, or has a value that is no class, or the photo is missing or has
                another size.
        """
        if self.colours is None:
            stored = read_values(path, LabelValues(are_classes=True, void=self.void))
        else:
            stored = StoredLabels(read_class_colours(path, self.colours, "a mask of colours"))
        image, values = None, stored.values
        if photo is not None:
            image, values = paired_image(photo, values, path, is_turned=stored.is_turned)
        values = np.where(values >= 0, values + self.offset, values)
        classes = {value for value in np.unique(values).tolist() if value > 0}
        if self.names is not None and (wrong := sorted(classes - set(self.names))):
            shown = f"{', '.join(map(str, wrong[:_SHOWN]))}{', ...' if len(wrong) > _SHOWN else ''}"
            raise DataError(
                f"{printable(path)}: it has values that are not in the list of classes: {shown}; add them there, or "
                "give them as void with --void"
            )
        categories = {value: self.category(value) for value in classes}
        return Segmentation.from_labels(np.maximum(values, 0), categories=categories), image


def named_classes(name: str) -> MaskClasses | None:
    """What the values mean in the class masks of a set of `CLASS_SETS`; None if there is none of that name."""
    if name not in CLASS_SETS:
        return None
    module, void, offset = CLASS_SETS[name]
    return MaskClasses.of(import_module(f"upseg.data.sources.{module}").CATEGORIES, void, offset)


def classes_beside(folder: Path) -> MaskClasses | None:
    """What `categories.json` or CVAT's `labelmap.txt` in a folder of masks, or beside it, says; None without them.

    Raises:
        DataError: If it is no list of categories.
    """
    tables = (place / name for name in (CATEGORY_LIST, LABEL_MAP) for place in (folder, folder.parent))
    path = next((table for table in tables if table.is_file()), None)
    if path is None:
        return None
    if path.name == LABEL_MAP:
        names, colours = read_label_map_file(path)
        return MaskClasses(names, colours=colours)
    return MaskClasses.of(read_category_list(path))
