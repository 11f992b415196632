"""Files with several levels of a hierarchy: a TIFF stack, and GeoJSON and COCO in which segments name their parents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from upseg.errors import FormatError
from upseg.files import write_text
from upseg.formats.coco_tables import IMAGE_ID, category_row, coco_tables
from upseg.formats.geojson import polygon_feature, write_features
from upseg.formats.metadata import VERSION, dump_json
from upseg.formats.outlines import UNNAMED, parts_of
from upseg.formats.tif import write_label_pages
from upseg.functional.label_maps import segment_areas, segment_boxes
from upseg.functional.runs import encode_label_map
from upseg.hierarchy import Hierarchy, level_details
from upseg.segmentation import Category, Segmentation

DEFAULT_LEVELS = 8


@dataclass(frozen=True)
class LevelSegments:
    """The segments of one level that no coarser level has.

    Attributes:
        detail: Of the level.
        labels: (H, W); 1..K are the new segments, 0 is what the level has from a coarser one.
        numbers: (K,) the number of each in the file, from 1.
        parents: (K,) the number of the segment of a coarser level that holds each; 0 for none.
        areas: (K,) pixels.
    """

    detail: float
    labels: Int32[np.ndarray, "h w"]
    numbers: Int64[np.ndarray, " k"]
    parents: Int64[np.ndarray, " k"]
    areas: Int64[np.ndarray, " k"]


def write_levels(segmentation: Segmentation, path: Path, levels: int | None) -> Path:
    """Write one page of 32-bit labels for each level, few large segments first; `details` is in the description.

    A segment has its own ids on each page; a pixel of a finer level lies in the segment of the coarser one below it.

    Raises:
        FormatError: If the result has one level only.
    """
    hierarchy = _hierarchy_of(segmentation, path)
    details = level_details(levels or DEFAULT_LEVELS)
    text = dump_json({"details": details, "provenance": dict(segmentation.provenance)})
    return write_label_pages(map(hierarchy.at, details), path, text)


def write_hierarchy(segmentation: Segmentation, path: Path, levels: int | None) -> Path:
    """Write the segments of all levels as GeoJSON, each once, with `parent`: the one of a coarser level around it.

    Raises:
        FormatError: If the result has one level only.
    """
    hierarchy = _hierarchy_of(segmentation, path)
    height, width = segmentation.shape
    ours = {
        "version": VERSION,
        "levels": level_details(levels or DEFAULT_LEVELS),
        "height": height,
        "width": width,
        "provenance": dict(segmentation.provenance),
    }
    features = (
        polygon_feature(number, properties, parts)
        for level in nested_levels(hierarchy, levels or DEFAULT_LEVELS)
        for number, properties, parts in zip(level.numbers.tolist(), _rows(level), parts_of(level.labels), strict=True)
    )
    return write_features(path, {"upseg_hierarchy": ours}, features)


def write_hierarchy_coco(segmentation: Segmentation, path: Path, levels: int | None) -> Path:
    """Write the segments of all levels as COCO instances, each once, with `parent`; they overlap those around them.

    Raises:
        FormatError: If the result has one level only.
    """
    hierarchy = _hierarchy_of(segmentation, path)
    data = coco_tables(segmentation, path)
    del data["info"]["upseg"]  # which promises a file of one level
    data["info"]["levels"] = level_details(levels or DEFAULT_LEVELS)
    data["categories"] = [category_row(Category(1, UNNAMED))]
    data["annotations"] = []
    for level in nested_levels(hierarchy, levels or DEFAULT_LEVELS):
        masks = encode_label_map(level.labels)
        boxes = segment_boxes(level.labels)
        for index, (row, counts, (top, left, bottom, right)) in enumerate(zip(_rows(level), masks, boxes, strict=True)):
            data["annotations"].append(
                {
                    "id": int(level.numbers[index]),
                    "image_id": IMAGE_ID,
                    "category_id": 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": 0,
                    **row,
                    "segmentation": {"size": list(segmentation.shape), "counts": counts},
                }
            )
    return write_text(path, dump_json(data))


def nested_levels(hierarchy: Hierarchy, count: int) -> Iterator[LevelSegments]:
    """The levels of a hierarchy, few large segments first; a segment that stays whole comes with its first level."""
    numbers = np.zeros(len(hierarchy.tree.parents), np.int64)  # of each node in the file
    above = np.zeros(hierarchy.tree.regions, np.int64)  # of the segment that holds each atom so far
    used = 0
    for detail in level_details(count):
        nodes = hierarchy.level(detail)
        new = np.unique(nodes[numbers[nodes] == 0])
        if not len(new):
            continue
        own = np.zeros(len(numbers), np.int32)
        own[new] = np.arange(1, len(new) + 1)
        of_atom = own[nodes]
        labels = of_atom[hierarchy.atoms - 1]
        parents = np.zeros(len(new) + 1, np.int64)
        parents[of_atom] = above
        numbers[new] = used + np.arange(1, len(new) + 1)
        used += len(new)
        areas = segment_areas(labels)[1:]
        yield LevelSegments(detail, labels, numbers[new], parents[1:], areas)
        above = numbers[nodes]


def _rows(level: LevelSegments) -> Iterator[dict[str, Any]]:
    for area, parent in zip(level.areas.tolist(), level.parents.tolist(), strict=True):
        yield {"area": area, "parent": parent or None, "detail": level.detail}


def _hierarchy_of(segmentation: Segmentation, path: Path) -> Hierarchy:
    if segmentation.hierarchy is None:
        raise FormatError(
            f"{path}: this result has one level only; those of dynaseg (but for grouping=labels) have a hierarchy"
        )
    return segmentation.hierarchy
