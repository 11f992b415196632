"""What the values in class masks mean, and reading one mask with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from upseg.data.sources.folders import read_names
from upseg.data.sources.label_images import read_label_image
from upseg.errors import DataError, UpsegError
from upseg.files import printable
from upseg.segmentation import Category, Segmentation

DEFAULT_VOID = 255
_NUMBERED = re.compile(r"(\d+)\s+(.+)")
_SHOWN = 5  # ids in an error


@dataclass(frozen=True)
class MaskClasses:
    """What the values in class masks mean; 0 is always the background.

    Attributes:
        names: Names by value; a mask may then have no other values. None where any value may occur.
        stuff: The values of classes that stay one segment each.
        void: The values that mean that nobody knows. None for 255, but not where a mask has no other value beside 0:
            there 255 is most likely the class.
        known: The classes of the model: they give names that `names` does not, and say which are stuff too.
    """

    names: Mapping[int, str] | None = None
    stuff: frozenset[int] = frozenset()
    void: frozenset[int] | None = None
    known: Mapping[int, Category] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = sorted(value for value in self.stuff if value <= 0 or value in (self.void or ()))
        if wrong:
            raise UpsegError(f"stuff must be classes, whose ids are above 0 and not void, got {wrong[0]}")
        unknown = sorted(self.stuff - set(self.names)) if self.names is not None else []
        if unknown:
            raise UpsegError(f"the class {unknown[0]} is to be stuff, but it is not in the list of classes")

    def category(self, value: int) -> Category:
        """The class that a value stands for."""
        known = self.known.get(value)
        name = known.name if known is not None else f"class-{value}"
        if self.names is not None:
            name = self.names[value]
        is_thing = value not in self.stuff and (known is None or known.is_thing)
        return Category(value, name, is_thing)

    def categories(self) -> list[Category]:
        """All classes that are known before any mask was read."""
        return [self.category(value) for value in (self.known if self.names is None else self.names)]

    def facts(self) -> list[Any]:
        """All that decides about a result, as JSON can hold it."""
        names = None if self.names is None else sorted(self.names.items())
        known = sorted((c.id, c.name, c.is_thing) for c in self.known.values())
        return [names, sorted(self.stuff), None if self.void is None else sorted(self.void), known]

    def read(self, path: Path) -> Segmentation:
        """Read a class mask: one segment for each class, in the order of their first pixels.

        Args:
            path: A grey or palette PNG, or a TIFF with one page of integers.

        Raises:
            DataError: If it cannot be read, or has a value that is no class.
        """
        values, places = np.unique(read_label_image(path), return_inverse=True)
        present = set(values.tolist()) - {0}
        void = {DEFAULT_VOID} if self.void is None else self.void
        if self.void is None and present == void:
            raise DataError(
                f"{printable(path)}: its only value beside 0 is {DEFAULT_VOID}, which means void; if it is a class "
                "here, say so with --void none"
            )
        classes = present - void
        self._check(classes, path)
        numbers = np.array([value if value in classes else 0 for value in values.tolist()], np.int64)
        categories = {value: self.category(value) for value in classes}
        return Segmentation.from_labels(numbers[places], categories=categories)

    def _check(self, classes: set[int], path: Path) -> None:
        wrong = sorted(value for value in classes if value < 0 or (self.names is not None and value not in self.names))
        if not wrong:
            return
        shown = f"{', '.join(map(str, wrong[:_SHOWN]))}{', ...' if len(wrong) > _SHOWN else ''}"
        if wrong[0] < 0:
            raise DataError(f"{printable(path)}: the ids of classes are 1 or more, got {shown}")
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
