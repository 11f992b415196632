"""Instances in COCO's JSON format, from whichever data set: read row by row, never held as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import LazyImage, Sample
from upseg.data.sources.folders import image_of, nearest_contents
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
        image_ids: The id of each image in the file: (N,) integers, or texts.

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
        missing = [name for name in needed if not len(self._index.tables.get(name, ()))]
        if missing:
            raise DataError(
                f"{annotation_file}: expected COCO's tables {', '.join(needed)}, but {' and '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} missing or empty"
            )
        self.image_ids, self._order, self._bounds, problems = _join(self._index, on_error)
        self._index = self._index.without_keys()  # each worker gets a copy of it
        super().__init__(_categories(self._index), on_error, problems)
        self._by_id = {category.id: category for category in self.categories}

    @cached_property
    def names(self) -> Sequence[str]:
        """The images' file names without suffix, in the order of the JSON file."""
        return [self.name_of(row) for row in self._index.all_rows("images")]

    def __len__(self) -> int:
        return len(self.image_ids)

    def name_of(self, row: Mapping[str, Any]) -> str:
        """What the sample of a row of the table of images is called."""
        return str(PurePosixPath(_file_name(row, self.annotation_file)).with_suffix(""))

    def rows(self, index: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The row of an image, and those of its annotations in the order of the file."""
        own = self._order[self._bounds[index] : self._bounds[index + 1]]
        return self._index.rows("images", np.array([index]))[0], self._index.rows("annotations", own)

    def find_image(self, row: Mapping[str, Any], shape: tuple[int, int], truth: Path) -> LazyImage:
        """The image of a row of the table of images, whose ground truth is in the file `truth`."""
        name = _file_name(row, self.annotation_file)
        places = [folder / part for folder in self.image_folders for part in (name, PurePosixPath(name).name)]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise DataError(
                f"{self.annotation_file}: its image {name} is not in "
                f"{' nor in '.join(map(str, self.image_folders))}; {nearest_contents(places[0])}"
            )
        return image_of(found, shape, truth)

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

    An image without any annotation is a sample without segments. Where instances overlap, the one with the smaller area
    lies on top, and crowds lie below all others; instances that are wholly hidden are listed in `Sample.left_out`.

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
            image, rows = self.rows(index)
            file_name = _file_name(image, self.annotation_file)
            try:
                shape = size_of(image.get("height"), image.get("width"))
                named = [self.category_of(row, f"annotation {row.get('id')}") for row in rows]
                kept = [(r, c) for r, c in zip(rows, named, strict=True) if c is None or c in self.categories]
                painting = [row for row, _ in kept]
                labels, left_out = paint_masks(painting, shape)
            except ValueError as error:
                raise ValueError(f"image {file_name}: {error}") from error
        return Sample.from_labels(
            self.find_image(image, shape, self.annotation_file),
            labels,
            categories={number: c for number, (_, c) in enumerate(kept, start=1) if c is not None},
            crowds={number for number, (row, _) in enumerate(kept, start=1) if row.get("iscrowd")},
            name=self.name_of(image),
            left_out=left_out,
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
        ValueError: If a row has no mask, or its mask is not as it should be; the message names the row.
    """
    for row in annotations:
        if not row.get("segmentation"):
            raise ValueError(f"annotation {row.get('id')} is empty: it has no mask")
    height, width = shape
    runs = mask_runs(annotations, shape)
    crowds = np.array([False, *(bool(row.get("iscrowd")) for row in annotations)])
    flat = _paint(runs, ~crowds[runs.ids], height * width)
    if crowds.any():
        flat = np.where(flat > 0, flat, _paint(runs, crowds[runs.ids], height * width))
    covered = np.bincount(runs.ids, minlength=len(annotations) + 1) > 0
    visible = np.bincount(flat, minlength=len(annotations) + 1) > 0
    left_out = []
    for number, row in enumerate(annotations, start=1):
        if not covered[number] and isinstance(row["segmentation"], dict):
            raise ValueError(f"annotation {row.get('id')} is empty: its mask has no pixel")
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


def _join(
    index: JsonIndex, on_error: OnError
) -> tuple[Shaped[np.ndarray, " images"], Int64[np.ndarray, " n"], Int64[np.ndarray, " images1"], list[str]]:
    """Put the annotations in the order of their images.

    Returns:
        The ids of the images; the numbers of the rows of annotations, image after image; where each image's begin, and
        their number; and what is wrong.
    """
    image_ids, annotations = _keys(index.tables["images"]), index.tables["annotations"]
    references = _keys(annotations)
    if image_ids.dtype.kind != references.dtype.kind:
        raise DataError(f"{index.path}: the ids of images and the image_ids of annotations must be of one type")
    ranks = np.argsort(image_ids, kind="stable")
    in_order = image_ids[ranks]
    if np.any(in_order[1:] == in_order[:-1]):
        twice = in_order[1:][in_order[1:] == in_order[:-1]][0]
        raise DataError(f"{index.path}: two images have the id {twice}")
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
    owners = ranks[places]
    rows = np.flatnonzero(known)
    order = rows[np.argsort(owners[rows], kind="stable")]
    bounds = np.searchsorted(owners[order], np.arange(len(image_ids) + 1)).astype(np.int64)
    return image_ids, order, bounds, problems


def _keys(table: Table) -> Shaped[np.ndarray, " n"]:
    if table.keys is None:
        raise TypeError("the table was indexed without keys")
    return table.keys


def _file_name(row: Mapping[str, Any], path: Path) -> str:
    """The file name in a row of the table of images, if it stays below the folder of the images."""
    name = row.get("file_name")
    parts = PurePosixPath(name.replace("\\", "/")) if isinstance(name, str) and "\0" not in name else PurePosixPath()
    if not parts.name or parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        raise DataError(f"{path}: the file_name of image {row.get('id')} must be a file below the images, got {name!r}")
    return str(parts)
