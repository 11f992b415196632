"""Label maps in image files: grey or palette PNG, TIFF, and colours that stand for numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8

from upseg.data.sample import Sample
from upseg.data.sources.folders import image_of, read_names
from upseg.errors import DataError, FormatError
from upseg.files import printable
from upseg.formats.label_colours import Colour, numbers_of_colours
from upseg.formats.metadata import list_of, load_json, read_category, reading
from upseg.images.label_maps import LabelValues, StoredLabels, read_label_map, read_png_pixels
from upseg.segmentation import Category

CATEGORY_LIST = "categories.json"
"""What the list of classes beside label maps or class masks is called."""
_NUMBERED = re.compile(r"(\d+)\s+(.+)")


@contextmanager
def truth_file(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a broken or foreign file raises in the block into one `DataError` that names it."""
    try:
        with reading(path, kind):
            yield
    except FormatError as error:
        raise DataError(str(error)) from error


def read_label_image(path: Path) -> Integer[np.ndarray, "h w"]:
    """Read the numbers of a PNG or TIFF as they are, as `upseg.images.label_maps.read_label_map` has them.

    Raises:
        DataError: If the file is missing, damaged, in colour, or neither PNG nor TIFF.
    """
    with truth_file(path, "a label map"):
        return read_label_map(path).values


def read_values(path: Path, values: LabelValues) -> StoredLabels:
    """Read a label map in which what numbers mean is known.

    Returns:
        What the file holds, its values being -1 for void and 0 for the background.

    Raises:
        DataError: As `read_label_image`, and if `values` does not say what its 255 is.
    """
    with truth_file(path, "a label map"):
        stored = read_label_map(path)
    try:
        return replace(stored, values=values.checked(stored))
    except ValueError as error:
        raise DataError(f"{printable(path)}: {error}") from error


def read_colour_image(path: Path, *, through_palette: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """Read a PNG whose colours stand for numbers.

    Args:
        path: The file.
        through_palette: Whether it may also be a palette's colours that do.

    Raises:
        DataError: If the file is missing, damaged, or not of 8-bit colours.
    """
    with truth_file(path, "a PNG whose colours are numbers"):
        pixels = read_png_pixels(path, through_palette=through_palette)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"expected 8-bit colours, got {pixels.dtype} of shape {pixels.shape}")
        return pixels


def read_class_colours(path: Path, table: Mapping[Colour, int], kind: str) -> Int32[np.ndarray, "h w"]:
    """Read a mask whose colours stand for classes: the number that the table has for each pixel.

    Raises:
        DataError: As `read_colour_image`, and if a colour is not in the table.
    """
    with truth_file(path, kind):
        return numbers_of_colours(read_colour_image(path, through_palette=True), table)


def read_category_list(path: Path) -> list[Category]:
    """Read a `CATEGORY_LIST`, such as `[{"id": 1, "name": "cell", "isthing": 1}]`.

    Raises:
        DataError: If it is none.
    """
    with truth_file(path, "a list of categories"):
        return [read_category(row, "isthing") for row in list_of(load_json(path), "the file")]


def read_class_names(path: Path) -> dict[int, str]:
    """Read a list of classes: `id name` in each line, or names alone, which count from 1.

    Returns:
        Name by value; 0, the background, is left out.

    Raises:
        DataError: If there is no such file, or it is not such a list.
    """
    lines = read_names(path, "names of classes")
    matches = [match for line in lines if (match := _NUMBERED.fullmatch(line))]
    if matches and len(matches) < len(lines):
        other = next(line for line in lines if not _NUMBERED.fullmatch(line))
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
    for what, values in zip(("id", "name"), zip(*pairs, strict=True), strict=True):
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            raise DataError(f"{printable(path)}: two classes have the {what} {twice[0]}")
    return {value: name for value, name in pairs if value > 0}


def read_mask_image(path: Path) -> Bool[np.ndarray, "h w"]:
    """Read the mask of one object from a PNG: all pixels that are not black.

    Raises:
        DataError: If the file is missing or damaged.
    """
    with truth_file(path, "a mask"):
        pixels = read_png_pixels(path)
        return np.asarray(pixels != 0 if pixels.ndim == 2 else (pixels != 0).any(axis=2))


def hidden_objects(labels: Integer[np.ndarray, "h w"], names: Iterable[str]) -> list[str]:
    """What is to be said of those of the objects 1..K, by their names, that have no pixel in a label map."""
    present = set(np.unique(labels).tolist())
    return [f"{name} covers no pixel of its own" for n, name in enumerate(names, start=1) if n not in present]


def check_not_empty(labels: Integer[np.ndarray, "h w"], path: Path) -> None:
    """Refuse ground truth without any labelled pixel.

    Raises:
        DataError: If all values are 0.
    """
    if not labels.any():
        raise DataError(f"{path}: the annotation is empty: none of its {labels.size} pixels is labelled")


def labelled_sample(image: Path, labels: Integer[np.ndarray, "h w"], truth: Path, **facts: Any) -> Sample:
    """The sample of an image file and a label map that must have a labelled pixel.

    Args:
        image: The image file.
        labels: (H, W), 0 unlabelled.
        truth: The file that they are from.
        **facts: As `Sample.from_labels` takes them.

    Raises:
        DataError: If no pixel is labelled, or the image is missing, is no image, or has another size.
    """
    check_not_empty(labels, truth)
    return Sample.from_labels(image_of(image, labels.shape, truth), labels, **facts)


def class_segments(
    classes: Integer[np.ndarray, "h w"], table: Mapping[int, Category], void: Collection[int], path: Path
) -> tuple[Integer[np.ndarray, "h w"], dict[int, Category], set[int]]:
    """Make one segment of all pixels of a class; for things, which are not told apart, it is a crowd.

    Args:
        classes: (H, W) values of pixels.
        table: Class by value; several values may stand for one class.
        void: Values that are unlabelled.
        path: The file that the map is from.

    Returns:
        (H, W) labels (0 unlabelled), the class of each label, and the labels that are crowds.

    Raises:
        DataError: If a value is neither in the table nor void.
    """
    values, inverse = np.unique(classes, return_inverse=True)
    unknown = [value for value in values.tolist() if value not in table and value not in void]
    if unknown:
        raise DataError(
            f"{path}: the value {unknown[0]} has no category; the categories are numbered "
            f"{min(table, default=0)} to {max(table, default=0)}"
            + (
                f", unlabelled is {', '.join(str(v) for v in sorted(void) if v >= 0)}"
                if max(void, default=-1) >= 0
                else ""
            )
        )
    present = {value: table[value] for value in values.tolist() if value not in void}
    # a class may have the id 0, which as a label would be unlabelled
    by_value = np.array([present[v].id + 1 if v in present else 0 for v in values.tolist()], np.int64)
    labels = by_value[inverse].reshape(classes.shape)
    categories = {category.id + 1: category for category in present.values()}
    return labels, categories, {label for label, category in categories.items() if category.is_thing}
