"""What a user has: a folder of images beside label maps, class masks, or a COCO JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.coco_json import CocoJson
from upseg.data.sources.folders import IMAGES, LABELS, Listing, PairedFiles, list_files, nearest_contents, paired_image
from upseg.data.sources.json_index import index_json
from upseg.data.sources.label_images import class_segments, read_values, truth_file
from upseg.data.sources.panoptic_json import PanopticJson
from upseg.errors import DataError
from upseg.formats.metadata import list_of, load_json, object_of, read_category
from upseg.images.label_maps import BACKGROUND, LabelValues, parse_void
from upseg.segmentation import Category

_CATEGORIES = "categories.json"
_VOID = -1  # what `LabelValues` makes of all void
_BACKGROUND_CLASS = Category(BACKGROUND, "background", is_thing=False)


class LabelFolder(PairedFiles):
    """`images/NAME.*` beside `labels/NAME.png` or `.tif`: each value of a label map is one segment, as `values` says.

    A label map without segments is ground truth like any other: an image in which there is nothing to be found. What is
    void is one crowd: nothing is learned of it, and no metric counts it.

    Args:
        images: The images.
        labels: The label maps, of any number of bits.
        on_error: What to do with images without a label map, and with damaged samples.
        void: The numbers that are unlabelled beside 0 and negative ones; None for 255 in palettes.
    """

    values: LabelValues

    def __init__(
        self, images: Listing, labels: Listing, on_error: OnError = "raise", *, void: frozenset[int] | None = None
    ) -> None:
        super().__init__(images, labels, (), on_error)
        self.values = LabelValues(void=void)

    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Read one label map."""
        stored = read_values(truth, self.values)
        lazy, labels = paired_image(image, stored.values, truth, is_turned=stored.is_turned)
        return Sample.from_labels(lazy, labels, crowds={_VOID}, name=name)


class MaskFolder(PairedFiles):
    """`images/NAME.*` beside `masks/NAME.png` or `.tif`: each value of a mask is a class, as `values` says.

    Void is unlabelled, and 0 too.

    All pixels of a class are one segment. Without a table of categories a class is called by its value and counts as
    stuff, because a class mask tells no objects apart, unless somebody says otherwise; classes of things are crowds.
    0 can be a class too, the background: what it covers is known to be no object, while of 255 nothing is known. A mask
    without any class is ground truth like any other.

    Args:
        images: The images.
        masks: The class masks.
        categories: Class by value; None to take the values that occur, for which all masks are read when somebody asks
            for `categories`.
        on_error: What to do with images without a mask, and with damaged samples.
        things: Whether classes without a table are things.
        background: Whether 0 is a class of stuff, as in the table where it lists 0, else called background; only void
            is unlabelled then.
        void: The numbers that are unlabelled beside 0 and negative ones; None for 255.

    Raises:
        DataError: If files have no partner, or the table says of 0 or of the background what `background` does not.
    """

    values: LabelValues

    def __init__(
        self,
        images: Listing,
        masks: Listing,
        categories: Mapping[int, Category] | None = None,
        on_error: OnError = "raise",
        *,
        things: bool = False,
        background: bool = False,
        void: frozenset[int] | None = None,
    ) -> None:
        self._table = categories
        self._things = things
        self._unlabelled = frozenset({_VOID} if background else {BACKGROUND, _VOID})
        if background and categories is not None:
            self._table = _with_background(categories, masks.folder)
        super().__init__(images, masks, (self._table or {}).values(), on_error)
        self.values, self.has_objects = LabelValues(are_classes=True, void=void), False

    @property
    def categories(self) -> tuple[Category, ...]:
        """The classes of the table, or those that occur in any mask, and the background if it is one."""
        if self._table is None and not self._categories:
            values = (self._present() | {BACKGROUND}) - self._unlabelled
            self._categories = tuple(self._unnamed(value) for value in sorted(values))
        return self._categories

    def _present(self) -> set[int]:
        """The values that occur in any mask; damaged ones are skipped where samples are, unless all are."""
        values: set[int] = set()
        failures: list[DataError] = []
        for key in self.keys:
            try:
                values |= set(np.unique(read_values(self.truths.path(key), self.values).values).tolist())
            except DataError as error:
                failures.append(error)
                if self.on_error == "raise" or len(failures) == len(self.keys):
                    raise
        return values

    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Read one class mask."""
        stored = read_values(truth, self.values)
        lazy, classes = paired_image(image, stored.values, truth, is_turned=stored.is_turned)
        table = self._table
        if table is None:
            table = {value: self._unnamed(value) for value in set(np.unique(classes).tolist()) - self._unlabelled}
        labels, categories, crowds = class_segments(classes, table, self._unlabelled, truth)
        return Sample.from_labels(lazy, labels, categories=categories, crowds=crowds, name=name)

    def _unnamed(self, value: int) -> Category:
        if value == BACKGROUND:
            return _BACKGROUND_CLASS
        return Category(value, f"class {value}", is_thing=self._things)


def open_folder(
    root: Path,
    split: str | None = None,
    *,
    on_error: OnError = "raise",
    annotations: str | None = None,
    only: tuple[str, ...] | None = None,
    things: bool = False,
    background: bool = False,
    void: str | int | tuple[int, ...] | None = None,
) -> Dataset:
    """Open a folder with `images` and one kind of ground truth beside it.

    The ground truth is looked for in this order: `labels`, `masks`, a COCO JSON file (instances or panoptic; the only
    `*.json` beside `images` or in `annotations`, of several the one whose name ends with the split's). Names of classes for `masks` come from `categories.json`, a list
    like COCO's: `[{"id": 1, "name": "cell", "isthing": 1}]`. To a panoptic JSON file
    belongs the folder of PNGs that is called like it.

    Args:
        root: The folder.
        split: A folder below `root`, or below `images` and `labels` or `masks`; None for the whole.
        on_error: What to do with images without ground truth, and with damaged samples.
        annotations: The JSON file's name, where there are several, or `labels` or `masks` as well.
        only: Names of the categories to read from a JSON file; None for all.
        things: Whether the classes of `masks` without a `categories.json` are things.
        background: Whether 0 in `masks` is a class of stuff, the background, and void alone unlabelled.
        void: The numbers of `labels` or `masks` that are void: one, several (`0,255`), or `none`; None for the usual,
            255 in `masks` and in palettes.

    Raises:
        DataError: If there is no such folder, no ground truth in it, or options do not fit the ground truth.
    """
    base = root / split if split is not None and (root / split / "images").is_dir() else root
    below = "" if split is None or base != root else split
    if not (base / "images").is_dir():
        raise DataError(
            f"{base} should hold a folder images beside labels, masks or a COCO JSON file; "
            f"{nearest_contents(base / 'images')}"
        )
    kind = next((kind for kind in ("labels", "masks") if (base / kind).is_dir()), None)
    truth = base / kind if kind is not None and annotations is None else _json_file(base, annotations, below)
    if background and truth.name != "masks":
        raise DataError(f"background=True makes 0 in masks a class, but {truth} holds no masks; leave it out")
    if truth.is_file() and void is not None:
        raise DataError(f"void=... says what numbers in labels or masks are void, but {truth} is a JSON file")
    try:
        unknown = parse_void(void)
    except ValueError as error:
        raise DataError(str(error)) from error
    if truth.is_file():
        return _open_json(base, truth, on_error, only)
    if only is not None:
        raise DataError(f"only=... chooses categories of a COCO JSON file, but {base} has {truth.name}")
    images = list_files(base / "images" / below, IMAGES, "images", recursive=True, whole_names=True)
    truths = list_files(truth / below, LABELS, "label maps or class masks", recursive=True)
    if truth.name == "labels":
        return LabelFolder(images, truths, on_error, void=unknown)
    table = _read_categories(base)
    return MaskFolder(images, truths, table, on_error, things=things, background=background, void=unknown)


def _json_file(base: Path, name: str | None, split: str) -> Path:
    """The COCO JSON file of a folder."""
    if name is not None:
        places = [base / name, base / "annotations" / name]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise DataError(f"{places[0]} should be a COCO JSON file, but there is none; {nearest_contents(places[0])}")
        return found
    files = [path for place in (base, base / "annotations") for path in sorted(place.glob("*.json"))]
    files = [path for path in files if path.name != _CATEGORIES]
    if len(files) > 1:
        chosen = [path for path in files if split and _last_part(path) == split]
        if len(chosen) != 1:
            raise DataError(
                f"{base} has several JSON files ({', '.join(path.name for path in files[:5])}); "
                "choose one with annotations=..., or by its last part as split"
            )
        files = chosen
    if not files:
        raise DataError(
            f"{base} should hold labels (label maps), masks (class masks) or a COCO JSON file beside images; "
            f"{nearest_contents(base / 'labels')}"
        )
    return files[0]


def _last_part(path: Path) -> str:
    """`val2017` of `instances_val2017.json`, which often is the images' folder as well."""
    return path.stem.rpartition("_")[2]


def _open_json(base: Path, path: Path, on_error: OnError, only: tuple[str, ...] | None) -> Dataset:
    index = index_json(path, {})
    first = index.rows("annotations", np.zeros(1, np.int64))[0] if len(index.tables.get("annotations", ())) else {}
    folders = [base / "images", base, base / "images" / _last_part(path)]
    if "segments_info" not in first:
        return CocoJson(path, folders, on_error=on_error, only=only)
    if only is not None:
        raise DataError(f"only=... chooses categories of instances, but {path} is COCO panoptic")
    return PanopticJson(path, path.with_suffix(""), folders, on_error=on_error)


def _read_categories(base: Path) -> dict[int, Category] | None:
    path = base / _CATEGORIES
    if not path.is_file():
        return None
    with truth_file(path, "a list of categories"):
        found = [read_category(object_of(row, "a category"), "isthing") for row in list_of(load_json(path), "the file")]
    return {category.id: category for category in found}


def _with_background(table: Mapping[int, Category], folder: Path) -> dict[int, Category]:
    """The table with the background first; its own entry for 0 where it has one that can be the background."""
    own = table.get(BACKGROUND, _BACKGROUND_CLASS)
    if own.is_thing:
        raise DataError(
            f"{folder}: the table of categories lists 0 ({own.name}) as a thing, but background=True makes it stuff; "
            f'say so there ("isthing": 0 in {_CATEGORIES}), or leave background=True out, and 0 is unlabelled'
        )
    other = next((value for value, category in table.items() if value and category.name == own.name), None)
    if other is not None:
        raise DataError(
            f"{folder}: the table of categories calls the value {other} {own.name}, background=True the value 0; "
            "leave background=True out, and 0 is unlabelled, or give one of them another name"
        )
    return {BACKGROUND: own, **table}
