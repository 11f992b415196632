"""Panoptic segmentation in COCO's format, from whichever data set: a JSON file, and a PNG for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from upseg.data.dataset import OnError
from upseg.data.sample import Sample
from upseg.data.sources.coco_json import CocoTables
from upseg.data.sources.label_images import check_not_empty, read_colour_image, truth_file
from upseg.errors import DataError
from upseg.formats.metadata import file_name_of, integer_of, list_of, object_of
from upseg.formats.panoptic import colours_to_ids
from upseg.segmentation import Category


class PanopticJson(CocoTables):
    """Things and stuff: each colour of an image's PNG is one segment, described in the JSON file.

    Args:
        annotation_file: The JSON file.
        png_folder: Where the PNGs are.
        image_folders: Where the images are looked for.
        on_error: What to do with a damaged sample.

    Raises:
        DataError: If the JSON file is not as it should be, or there is no such folder.
    """

    def __init__(
        self, annotation_file: Path, png_folder: Path, image_folders: Sequence[Path], *, on_error: OnError = "raise"
    ) -> None:
        super().__init__(annotation_file, image_folders, on_error=on_error)
        self.png_folder = png_folder

    def load(self, index: int) -> Sample:
        """Read one image's segments."""
        with truth_file(self.annotation_file, "COCO panoptic"):
            image, annotations = self.rows(index)
            if len(annotations) != 1:
                raise ValueError(f"image {image.get('file_name')} has {len(annotations)} annotations, expected one")
            path = self.png_folder / file_name_of(annotations[0].get("file_name"), "the PNG's file_name")
            categories, crowds, unknown = self._segments(annotations[0])
        labels = colours_to_ids(read_colour_image(path))
        if categories or unknown:
            check_not_empty(labels, path)
        found = set(np.unique(labels).tolist()) - {0} - unknown
        labels = np.where(np.isin(labels, list(unknown)), 0, labels)
        left_out = [f"segment {value} has a category that is not in the table of categories" for value in unknown]
        if found != categories.keys():
            extra = sorted(found - categories.keys())
            missing = sorted(categories.keys() - found)
            told = [f"{len(extra)} segments of the PNG are not in the JSON file ({extra[0]})"] if extra else []
            told += [f"{len(missing)} segments of the JSON file are not in the PNG ({missing[0]})"] if missing else []
            raise DataError(f"{path}: it and {self.annotation_file} differ: {', '.join(told)}")
        return Sample.from_labels(
            self.find_image(image, labels.shape, path),
            labels,
            categories=categories,
            crowds=crowds,
            name=self.names[index],
            left_out=left_out,
        )

    def _segments(self, annotation: dict[str, Any]) -> tuple[dict[int, Category], set[int], set[int]]:
        """The class of each segment by its id, the crowds' ids, and those whose class is not listed."""
        categories, crowds, unknown = {}, set(), set()
        for value in list_of(annotation.get("segments_info"), "segments_info"):
            row = object_of(value, "a segment")
            identity = integer_of(row.get("id"), "a segment's id")
            what = f"segment {identity} of {annotation.get('file_name')}"
            if integer_of(row.get("category_id"), f"the category_id of {what}") not in self._by_id:
                unknown.add(identity)
                continue
            category = self._by_id[row["category_id"]]
            categories[identity] = category
            if row.get("iscrowd"):
                crowds.add(identity)
        return categories, crowds, unknown
