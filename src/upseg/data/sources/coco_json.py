"""Instances in COCO's JSON format, from whichever data set: read row by row, never held as a whole."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped

from upseg.data.dataset import Dataset, OnError
from upseg.data.names import distinct_keys, find_below, normal_name, tails
from upseg.data.sample import LazyImage, Sample
from upseg.data.sources.folders import image_of, nearest_contents, paired_image
from upseg.data.sources.json_index import JsonIndex, Table, index_json
from upseg.data.sources.label_images import truth_file
from upseg.errors import DataError
from upseg.formats.coco import mask_runs
from upseg.formats.metadata import integer_of, read_category, size_of
from upseg.functional.runs import Runs, paint_runs
from upseg.segmentation import Category


class CocoTables(Dataset):
    """What instances and panoptic segmentation have in common: a JSON file with images, annotations and categories.

    Args:
        annotation_file: The JSON file.
        image_folders: Where the images are looked for, one folder after the other.
        on_error: What to do with a damaged sample.
        needs_categories: Whether a file without the table `categories` is refused; otherwise its segments have none.

    Attributes:
        annotation_file: The JSON file.
        image_ids: The id of each image in the file: (N,) integers, or texts. Of several rows about one file it is the
            first's, and the annotations of all of them are its.

    Raises:
        DataError: If the file is missing or damaged, lacks a table or a row, or an annotation belongs to no image.
    """

    def __init__(
        self,
        annotation_file: Path,
        image_folders: Sequence[Path],
        *,
        on_error: OnError = "raise",
        needs_categories: bool = True,
    ) -> None:
        self.annotation_file, self.image_folders = annotation_file, tuple(image_folders)
        self._index = index_json(annotation_file, {"images": "id", "annotations": "image_id"})
        needed = ("images", "annotations", *(("categories",) if needs_categories else ()))
        tables = self._index.tables
        is_negative = "annotations" in tables and not len(tables["annotations"])  # images in which there is nothing
        missing = [name for name in needed if name not in tables or not (len(tables[name]) or is_negative)]
        if missing or not len(tables["images"]):
            missing = missing or ["images"]
            raise DataError(
                f"{annotation_file}: expected COCO's tables {', '.join(needed)}, but {' and '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} missing or empty"
            )
        keys = self._of_one_file([self._key_of(row) for row in self._index.all_rows("images")])
        first = {key: number for number, key in reversed([*enumerate(keys)])}
        self._rows = np.array(sorted(first.values()), np.int64)
        owners = np.searchsorted(self._rows, [first[key] for key in keys])
        self.image_ids, self._order, self._bounds, problems = _join(self._index, owners, on_error)
        self._joined = {int(owner) for owner in np.flatnonzero(np.bincount(owners) > 1)}
        self._index = self._index.without_keys()  # each worker gets a copy of it
        names = distinct_keys([keys[number] for number in self._rows])
        super().__init__(_categories(self._index), on_error, problems, names=names)
        self._by_id = {category.id: category for category in self.categories}
        if self._joined:
            shown = ", ".join(self._names[number] for number in sorted(self._joined)[:5])
            self.notes = (f"{len(self._joined)} images have several rows, whose annotations were joined: {shown}",)

    def __len__(self) -> int:
        return len(self.image_ids)

    def rows(self, index: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The row of an image, and those of its annotations in the order of the file."""
        own = self._order[self._bounds[index] : self._bounds[index + 1]]
        rows = self._index.rows("annotations", own)
        if index in self._joined:  # exporters that list an image twice often list its annotations twice
            seen: list[Any] = []
            for row in rows:
                seen += [row] if all(_content(row) != _content(other) for other in seen) else []
            rows = seen
        return self._index.rows("images", self._rows[index : index + 1])[0], rows

    def find_image(self, row: Mapping[str, Any], shape: tuple[int, ...], truth: Path) -> LazyImage:
        """The image of a row of the table of images, whose ground truth is in the file `truth`."""
        return image_of(self.image_file(row), shape, truth)

    def _of_one_file(self, keys: list[str]) -> list[str]:
        """The same key for names of one file that differ in their folders, `a.jpg` and `images/a.jpg`."""
        last = Counter(key.rpartition("/")[2] for key in dict.fromkeys(keys))
        files: dict[Path, str] = {}
        same: dict[str, str] = {}
        for key in dict.fromkeys(key for key in keys if last[key.rpartition("/")[2]] > 1):
            try:
                path = next((found for folder in self.image_folders if (found := find_below(folder, key))), None)
            except DataError:  # which of two is meant is asked when the sample is read
                path = None
            same[key] = key if path is None else files.setdefault(path, key)
        return [same.get(key, key) for key in keys]

    def _key_of(self, row: Mapping[str, Any]) -> str:
        """What rows about one file share; a row that names no file is alone, and an error once it is read."""
        try:
            name = _file_name(row, self.annotation_file)
        except DataError:
            return f"image {row.get('id')}"
        if name == normal_name(row["file_name"]):
            return name
        found = ((folder, find_below(folder, row["file_name"])) for folder in self.image_folders)
        return next((normal_name(path.relative_to(folder).as_posix()) for folder, path in found if path), name)

    def image_file(self, row: Mapping[str, Any]) -> Path:
        """Where the image of a row is."""
        name = _file_name(row, self.annotation_file)
        for folder in self.image_folders:
            if (found := find_below(folder, name)) is not None:
                return found
        raise DataError(
            f"{self.annotation_file}: its image {row['file_name']} is not in "
            f"{' nor in '.join(map(str, self.image_folders))}; {nearest_contents(self.image_folders[0] / name)}"
        )

    def category_of(self, row: Mapping[str, Any], what: str) -> Category | None:
        """The class that a row names; None where the file has no classes."""
        if not self.categories:
            return None
        identity = integer_of(row.get("category_id"), f"the category_id of {what}")
        if identity not in self._by_id:
            raise ValueError(f"{what} has the category {identity}, which is not in the table of categories")
        return self._by_id[identity]


class CocoJson(CocoTables):
    """Instances: a mask for each annotation, as polygons or run lengths.

    An image without any annotation is a sample without segments. What cannot be used of an annotation (a box without a
    mask, a line of two points, a class that is not listed) is left out and listed in `Sample.left_out`. Where instances
    overlap, the one with the smaller area lies on top, and crowds lie below all others; instances that are wholly
    hidden are listed there too.

    Args:
        annotation_file: The JSON file.
        image_folders: Where the images are looked for.
        on_error: What to do with a damaged sample.
        needs_categories: Whether a file without the table `categories` is refused.
        only: Names of the categories to read; None for all. Where one class lies inside another, as nuclei in cells,
            this gives each of them whole.
    """

    def __init__(
        self,
        annotation_file: Path,
        image_folders: Sequence[Path],
        *,
        on_error: OnError = "raise",
        needs_categories: bool = True,
        only: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(annotation_file, image_folders, on_error=on_error, needs_categories=needs_categories)
        if only is not None:
            known = [category.name for category in self.categories]
            unknown = sorted(set(only) - set(known))
            if unknown:
                raise DataError(f"{annotation_file}: there is no category {unknown[0]!r}, only {', '.join(known[:20])}")
            self._categories = tuple(category for category in self.categories if category.name in only)

    def load(self, index: int) -> Sample:
        """Read one image's instances."""
        with truth_file(self.annotation_file, "COCO instances"):
            image, rows, unusable = self.annotations(index)
            shape = self._shape(image)
            labels, hidden = paint_masks(rows, shape)
        named = {number: row["category_id"] for number, row in enumerate(rows, start=1) if self._by_id}
        lazy, turned = paired_image(self.image_file(image), labels, self.annotation_file, is_turned=False)
        return Sample.from_labels(
            lazy,
            turned,
            categories={number: self._by_id[identity] for number, identity in named.items()},
            crowds={number for number, row in enumerate(rows, start=1) if is_crowd(row)},
            name=self.names[index],
            left_out=[*unusable, *hidden],
        )

    def annotations(self, index: int) -> tuple[dict[str, Any], list[dict[str, Any]], list[str]]:
        """The row of an image, those of its annotations that can be used, and what is wrong with the others.

        Raises:
            ValueError: If the image has no size.
        """
        image, rows = self.rows(index)
        shape, wrong = self._shape(image), list[str]()
        kept = []
        for row in rows:
            what, usable = f"annotation {row.get('id')}", usable_mask(row, shape, wrong)
            try:
                category = self.category_of(row, what)
            except ValueError:
                wrong.append(f"{what} has a category that is not in the table of categories")
                continue
            if usable is not None and (category is None or category in self.categories):
                kept.append(usable)
        return image, kept, wrong

    def _shape(self, image: Mapping[str, Any]) -> tuple[int, int]:
        try:
            return size_of(image.get("height"), image.get("width"))
        except ValueError as error:
            raise ValueError(f"image {image.get('file_name')}: {error}") from error


def usable_mask(row: Mapping[str, Any], shape: tuple[int, int], wrong: list[str]) -> dict[str, Any] | None:
    """An annotation with what of its mask can be used, None if that is nothing; `wrong` gets a text about the rest."""
    what, mask = f"annotation {row.get('id')}", row.get("segmentation")
    if not mask:
        wrong.append(f"{what} {'is only a box' if row.get('bbox') else 'has no mask'}")
        return None
    if isinstance(mask, list) and all(isinstance(number, int | float) for number in mask):
        mask = [mask]  # one polygon that was not put into a list of polygons
    parts = [part for part in mask if _is_polygon(part)] if isinstance(mask, list) else None
    if parts is not None and len(parts) < len(mask):
        wrong.append(f"{what} {'has parts that are' if parts else 'is'} no polygon of at least three corners")
    if parts == []:
        return None
    usable = {**row, "segmentation": mask if parts is None else parts}
    try:
        mask_runs([usable], shape)
    except (TypeError, ValueError, OverflowError):
        wrong.append(f"{what} has a mask that cannot be read or does not fit its image")
        return None
    return usable


def is_crowd(row: Mapping[str, Any]) -> bool:
    """Whether an annotation is of several objects that nobody told apart.

    CVAT writes everything that was brushed as `iscrowd` 1, because it has run lengths; it is told by the attribute
    `occluded`, which all of its annotations have. Such a row is one object, unless an attribute `is_crowd` says so.
    """
    attributes = row.get("attributes")
    if isinstance(attributes, dict) and "occluded" in attributes:
        return attributes.get("is_crowd") in (True, 1, "true", "True")
    return bool(row.get("iscrowd"))


def _is_polygon(part: object) -> bool:
    """Whether it is a list x0, y0, x1, y1, ... of numbers, of at least three corners."""
    return (
        isinstance(part, list)
        and len(part) >= 6
        and len(part) % 2 == 0
        and all(type(number) in (int, float) and math.isfinite(number) for number in part)
    )


def paint_masks(
    annotations: Sequence[Mapping[str, Any]], shape: tuple[int, int]
) -> tuple[Int32[np.ndarray, "h w"], list[str]]:
    """Draw the masks of one image into a label map, smaller ones over larger ones, crowds below all.

    Args:
        annotations: Rows with a `segmentation` each: polygons, or run lengths as numbers or text.
        shape: (H, W) of the image.

    Returns:
        (H, W) label map in which the i-th row has the value i + 1, and a text for each row that has no pixel in it.

    Raises:
        ValueError: If a mask is not as `usable_mask` gives it.
    """
    height, width = shape
    runs = mask_runs(annotations, shape)
    crowds = np.array([False, *map(is_crowd, annotations)])
    flat = _paint(runs, ~crowds[runs.ids], height * width)
    if crowds.any():
        flat = np.where(flat > 0, flat, _paint(runs, crowds[runs.ids], height * width))
    covered = np.bincount(runs.ids, minlength=len(annotations) + 1) > 0
    visible = np.bincount(flat, minlength=len(annotations) + 1) > 0
    left_out = []
    for number, row in enumerate(annotations, start=1):
        if not visible[number]:
            reason = "is wholly behind others" if covered[number] else "is smaller than a pixel"
            left_out.append(f"annotation {row.get('id')} {reason}")
    return np.ascontiguousarray(flat.reshape(width, height).T), left_out


def _paint(runs: Runs, chosen: Bool[np.ndarray, " n"], size: int) -> Int32[np.ndarray, " size"]:
    return paint_runs(Runs(runs.starts[chosen], runs.stops[chosen], runs.ids[chosen]), size)[0]


def _categories(index: JsonIndex) -> list[Category]:
    if "categories" not in index.tables:
        return []
    with truth_file(index.path, "a COCO file"):
        categories = [read_category(row, "isthing") for row in index.all_rows("categories")]
        if len({category.id for category in categories}) < len(categories):
            raise ValueError("two categories have the same id")
        return categories


def _content(row: Mapping[str, Any]) -> dict[str, Any]:
    """What two annotations share that are one."""
    return {key: value for key, value in row.items() if key not in ("id", "image_id")}


def _join(
    index: JsonIndex, row_owners: Int64[np.ndarray, " rows"], on_error: OnError
) -> tuple[Shaped[np.ndarray, " images"], Int64[np.ndarray, " n"], Int64[np.ndarray, " images1"], list[str]]:
    """Put the annotations in the order of their images.

    Args:
        index: The file.
        row_owners: For each row of the table of images, the number of its image.
        on_error: What to do with annotations of no image.

    Returns:
        The ids of the images; the numbers of the rows of annotations, image after image; where each image's begin, and
        their number; and what is wrong.
    """
    image_ids, annotations = _keys(index.tables["images"]), index.tables["annotations"]
    references = _keys(annotations)
    if len(references) and image_ids.dtype.kind != references.dtype.kind:
        raise DataError(f"{index.path}: the ids of images and the image_ids of annotations must be of one type")
    ranks = np.argsort(image_ids, kind="stable")
    in_order = image_ids[ranks]
    of_two = (in_order[1:] == in_order[:-1]) & (row_owners[ranks[1:]] != row_owners[ranks[:-1]])
    if of_two.any():
        raise DataError(f"{index.path}: two images have the id {in_order[1:][of_two][0]}")
    places = np.minimum(np.searchsorted(in_order, references), len(in_order) - 1)
    known = in_order[places] == references
    problems: list[str] = []
    if not known.all():
        lost = np.flatnonzero(~known)
        problem = (
            f"{index.path}: {len(lost)} annotations belong to images that are not in the table of images, "
            f"the first to image {references[lost[0]]}"
        )
        if on_error == "raise":
            raise DataError(problem)
        problems.append(problem)
    owners = row_owners[ranks[places]]
    rows = np.flatnonzero(known)
    order = rows[np.argsort(owners[rows], kind="stable")]
    bounds = np.searchsorted(owners[order], np.arange(int(row_owners.max()) + 2)).astype(np.int64)
    return image_ids[np.unique(row_owners, return_index=True)[1]], order, bounds, problems


def _keys(table: Table) -> Shaped[np.ndarray, " n"]:
    if table.keys is None:
        raise TypeError("the table was indexed without keys")
    return table.keys


def _file_name(row: Mapping[str, Any], path: Path) -> str:
    """The file name in a row of the table of images; of an absolute one, or one with `..`, what is below."""
    name = row.get("file_name")
    below = next(tails(name), None) if isinstance(name, str) and "\0" not in name else None
    if below is None:
        raise DataError(f"{path}: the file_name of image {row.get('id')} must be a file below the images, got {name!r}")
    return below
