"""What COCO instances and COCO panoptic have in common: the tables of images and categories, and our additions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upseg.errors import FormatError
from upseg.formats.metadata import (
    Facts,
    integer_of,
    list_of,
    note_of,
    noted_facts,
    number_of,
    object_of,
    read_category,
    size_of,
)
from upseg.formats.outlines import UNNAMED
from upseg.segmentation import Category, Segment, Segmentation

IMAGE_ID = 1  # our files hold one image


@dataclass(frozen=True)
class ImageEntry:
    """One row of a COCO file's table of images: its id, file name, and (H, W)."""

    id: int | str
    file_name: str
    shape: tuple[int, int]


def coco_tables(segmentation: Segmentation, path: Path) -> dict[str, Any]:
    """The members info, images and categories of a COCO file.

    `info.upseg` holds what COCO has no place for. The image's file name is that of `provenance["image"]` where there is
    one, else the name of the file to write without its suffixes.

    Raises:
        FormatError: If two categories share an id.
    """
    height, width = segmentation.shape
    image = segmentation.provenance.get("image")
    file_name = (
        Path(image).name
        if isinstance(image, str) and image
        else path.name.removesuffix(".json").removesuffix(".panoptic")
    )
    return {
        "info": {"description": "segmented by upseg", "upseg": note_of(segmentation)},
        "images": [{"id": IMAGE_ID, "width": width, "height": height, "file_name": file_name}],
        "categories": _category_table(segmentation, path),
    }


def _category_table(segmentation: Segmentation, path: Path) -> list[dict[str, Any]]:
    by_id: dict[int, Category] = {}
    for segment in segmentation:
        if segment.category is not None and by_id.setdefault(segment.category.id, segment.category) != segment.category:
            raise FormatError(
                f"{path}: two categories have the id {segment.category.id}: {by_id[segment.category.id]} and "
                f"{segment.category}; a COCO file needs one id for each"
            )
    table = [category_row(by_id[identity]) for identity in sorted(by_id)]
    if any(s.category is None for s in segmentation):
        # COCO tools want a category for every segment; the mark tells our reader that it stands for none
        table.append(category_row(Category(uncategorised_id(segmentation), UNNAMED)) | {"uncategorised": True})
    return table


def category_row(category: Category) -> dict[str, Any]:
    """The row of a class in a COCO file's table of categories."""
    return {
        "id": category.id,
        "name": category.name,
        "supercategory": category.name,
        "isthing": int(category.is_thing),
    }


def uncategorised_id(segmentation: Segmentation) -> int:
    """The category id that segments without a category get: one more than the largest id in use."""
    return max((s.category.id for s in segmentation if s.category is not None), default=0) + 1


def segment_entry(segment: Segment, no_category: int) -> dict[str, Any]:
    """What COCO instances and panoptic both say about a segment; `score` and `parent` are our additions."""
    top, left, bottom, right = segment.bbox
    entry: dict[str, Any] = {
        "id": segment.id,
        "category_id": no_category if segment.category is None else segment.category.id,
        "area": segment.area,
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }
    if segment.score is not None:
        entry["score"] = float(segment.score)
    if segment.parent is not None:
        entry["parent"] = segment.parent
    return entry


def choose_image(data: Mapping[str, Any], image: int | str | None, reader: str) -> ImageEntry:
    """The row of the image with that id or file name; without one, the only row.

    Raises:
        ValueError: If there is no such image, or several and none was chosen.
    """
    rows = [object_of(row, "an image") for row in list_of(data.get("images"), "images")]
    if image is None and len(rows) != 1:
        shown = ", ".join(f"{row.get('id')} ({row.get('file_name')})" for row in rows[:3])
        raise ValueError(
            f'it holds {len(rows)} images ({shown}, ...): choose one with {reader}(path, image="name or id")'
        )
    matching = rows if image is None else [r for r in rows if image in (r.get("id"), r.get("file_name"))]
    if len(matching) != 1:
        raise ValueError(f"{len(matching)} of its {len(rows)} images have the id or file name {image!r}, expected one")
    row = matching[0]
    identity = row.get("id")
    if isinstance(identity, bool) or not isinstance(identity, int | str):
        raise ValueError("an image's id must be an integer or a text")
    return ImageEntry(identity, str(row.get("file_name", "")), size_of(row.get("height"), row.get("width")))


def read_facts(data: Mapping[str, Any], entries: Mapping[int, Mapping[str, Any]]) -> Facts:
    """Facts from the entries of segments, by the value that each has in the label map."""
    info = data.get("info")
    ours = info.get("upseg") if isinstance(info, dict) else None
    table: dict[int, Category | None] = {}
    for row in list_of(data.get("categories", []), "categories"):
        category = read_category(row, "isthing")
        table[category.id] = None if row.get("uncategorised") is True else category
    categories = {}
    for value, entry in entries.items():
        identity = integer_of(entry.get("category_id"), "category_id")
        if identity not in table:
            raise ValueError(f"segment {entry.get('id')} has the category {identity}, which is not in its categories")
        category_or_none = table[identity]
        if category_or_none is not None:
            categories[value] = category_or_none
    if ours is None:
        scores = {v: number_of(e["score"], "score") for v, e in entries.items() if e.get("score") is not None}
        return Facts(scores=scores, categories=categories)
    return noted_facts(object_of(ours, "info.upseg"), "info.upseg", entries, categories)
