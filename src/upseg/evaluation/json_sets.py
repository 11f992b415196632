"""Predictions for a whole data set in one JSON file: COCO's list of results, COCO panoptic, and COCO instances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from upseg.data.dataset import Dataset
from upseg.data.names import Names
from upseg.data.sources.coco_json import CocoTables
from upseg.data.sources.label_images import truth_file
from upseg.errors import DataError
from upseg.formats.coco import mask_runs
from upseg.formats.metadata import integer_of, list_of, load_json, object_of, read_category
from upseg.formats.panoptic import colours_to_ids
from upseg.images.label_maps import read_png_pixels
from upseg.segmentation import Category, Segmentation

_UNSCORED = 1.0  # what segments without a score have


@dataclass(frozen=True)
class WholeMasks:
    """The masks predicted for one image as COCO's rows have them: they may overlap.

    Attributes:
        rows: Each with `category_id`, `segmentation` and `score`.
        categories: The classes by id.
    """

    rows: tuple[Mapping[str, Any], ...]
    categories: Mapping[int, Category]

    def painted(self, shape: tuple[int, int]) -> Segmentation:
        """One label map, for protocols that look at pixels: where masks overlap, the higher score lies on top."""
        flat = np.zeros(shape[0] * shape[1], np.int32)
        runs = mask_runs(self.rows, shape)
        scores = np.array([np.inf, *(row["score"] for row in self.rows)])
        for number in np.lexsort((runs.ids, scores[runs.ids])).tolist():
            flat[runs.starts[number] : runs.stops[number]] = runs.ids[number]
        return Segmentation.from_labels(
            flat.reshape(shape[1], shape[0]).T,
            scores={number: float(row["score"]) for number, row in enumerate(self.rows, start=1)},
            categories={
                number: self.categories[row["category_id"]]
                for number, row in enumerate(self.rows, start=1)
                if row["category_id"] in self.categories
            },
        )


@dataclass(frozen=True)
class InFile:
    """The predictions of one image in a file of many."""

    path: Path
    image: str
    read: Callable[[], Segmentation | WholeMasks]

    def __str__(self) -> str:
        return f"{self.path}, image {self.image}"


def predictions_in(path: Path, dataset: Dataset) -> tuple[dict[str, InFile], list[InFile]]:
    """The predictions of a JSON file by the name of the image they belong to, and those that belong to none.

    A list of results names images by the id that they have in the ground truth's COCO file; an image that it does not
    name is one in which nothing was found. COCO panoptic and COCO instances name images by their own table of images
    where they have one, else likewise. The PNGs of COCO panoptic are in the folder called like the file, or beside it.

    Raises:
        DataError: If the file is broken, or names no image of the data set.
    """
    with truth_file(path, "predictions as COCO JSON"):
        data = load_json(path)
        content = {"annotations": data} if isinstance(data, list) else object_of(data, "predictions")
        rows = [object_of(row, "a prediction") for row in list_of(content.get("annotations"), "annotations")]
        images = [object_of(row, "an image") for row in list_of(content.get("images", []), "images")]
        table = [read_category(row, "isthing") for row in list_of(content.get("categories", []), "categories")]
        categories = {category.id: category for category in table or dataset.categories}
        groups: defaultdict[object, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            groups[row.get("image_id")].append(row)
        names = _names(images, dataset, path)
        if isinstance(data, list):
            groups = defaultdict(list, {**{key: [] for key in names}, **groups})
        read = _panoptic if any("segments_info" in row for row in rows[:1]) else _instances
        found = {key: InFile(path, str(key), partial(read, path, group, categories)) for key, group in groups.items()}
    files = {names[key]: file for key, file in found.items() if key in names}
    if not any(key in names for key in {row.get("image_id") for row in rows}) and rows:
        raise DataError(
            f"{path}: none of its {len(found)} images ({', '.join(str(key) for key in list(found)[:3])}) is one of the "
            f"{len(dataset)} of the data set"
        )
    order = {name: files[name] for name in dataset.names if name in files}
    return order, [file for key, file in found.items() if key not in names]


def _names(images: Sequence[Mapping[str, Any]], dataset: Dataset, path: Path) -> dict[object, str]:
    """The name of the sample of each image id."""
    if not images:
        if not isinstance(dataset, CocoTables):
            raise DataError(
                f"{path}: it names images by their ids in a COCO file, but the ground truth is none; give predictions "
                "with a table of images, or a folder of files called like the images"
            )
        return dict(zip(dataset.image_ids.tolist(), dataset.names, strict=True))
    known = Names(dataset.names)
    found = {row.get("id"): known.find(str(row.get("file_name"))) for row in images}
    return {identity: names[0] for identity, names in found.items() if len(names) == 1}


def _instances(path: Path, rows: Sequence[Mapping[str, Any]], categories: Mapping[int, Category]) -> WholeMasks:
    with truth_file(path, "COCO results"):
        for row in rows:
            identity = integer_of(row.get("category_id"), "category_id")
            if identity not in categories:
                raise ValueError(f"a prediction for image {row.get('image_id')} has the unknown category {identity}")
            if not row.get("segmentation"):
                raise ValueError(f"a prediction for image {row.get('image_id')} has no segmentation, only a box")
        return WholeMasks(tuple({"score": _UNSCORED, **row} for row in rows), categories)


def _panoptic(path: Path, rows: Sequence[Mapping[str, Any]], categories: Mapping[int, Category]) -> Segmentation:
    with truth_file(path, "COCO panoptic"):
        if len(rows) != 1:
            raise ValueError(f"image {rows[0].get('image_id')} has {len(rows)} annotations, expected one")
        name = PurePosixPath(str(rows[0].get("file_name")).replace("\\", "/")).name
        places = [path.with_suffix("") / name, path.parent / name]
        png = next((place for place in places if place.is_file()), None)
        if png is None:
            raise ValueError(f"its PNG {name} is neither in {places[0].parent} nor in {places[1].parent}")
        segments = [object_of(row, "a segment") for row in list_of(rows[0].get("segments_info"), "segments_info")]
        by_id = {integer_of(row.get("id"), "a segment's id"): row for row in segments}
        labels = colours_to_ids(read_png_pixels(png))
        unknown = sorted({*np.unique(labels).tolist()} - {0, *by_id})
        if unknown:
            raise ValueError(f"{png.name} has a segment {unknown[0]} that its segments_info does not list")
        return Segmentation.from_labels(
            labels,
            scores={value: float(row["score"]) for value, row in by_id.items() if row.get("score") is not None},
            categories={
                value: categories[integer_of(row.get("category_id"), "category_id")] for value, row in by_id.items()
            },
        )
