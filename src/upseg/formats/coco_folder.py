"""COCO instances JSON for many images at once, written image by image: memory is that of one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from upseg.errors import FormatError
from upseg.files import atomic_path
from upseg.formats.coco_tables import category_row, segment_entry
from upseg.formats.metadata import dump_json
from upseg.functional.runs import encode_label_map
from upseg.segmentation import Category, Segmentation

INSTANCES = "instances.json"
"""What the one file for all images is called in a folder of results; it is no image's prediction."""


def write_coco_folder(
    images: Iterable[tuple[str, Segmentation, Collection[int]]],
    path: Path,
    *,
    categories: Iterable[Category] = (),
    description: str = "segmented by upseg",
) -> tuple[int, int]:
    """Write the things of many images as COCO instances, with compressed run lengths, whole or not at all.

    Segments of stuff are left out, as COCO's own instances do. A segment without a score gets 1.

    Args:
        images: For each image its file name, its segments, each of which has a category, and the ids of those that are
            crowds; read once, in order.
        path: The JSON file.
        categories: Classes that the file lists even where no segment is of them; stuff among them is left out.
        description: What the file says of itself.

    Returns:
        The numbers of images and of instances.

    Raises:
        FormatError: If a segment has no category, or two categories share an id.
    """
    table: dict[int, Category] = {}
    rows: list[dict[str, Any]] = []
    count = 0
    for category in categories:
        _add_category(table, category, path)
    with atomic_path(path) as partial, partial.open("w", encoding="ascii") as file:
        file.write(f'{{"info":{dump_json({"description": description})},"annotations":[')
        for file_name, segmentation, crowds in images:
            height, width = segmentation.shape
            rows.append({"id": len(rows) + 1, "width": width, "height": height, "file_name": file_name})
            for entry in _instances(segmentation, rows[-1], table, path):
                count += 1
                crowd = {"iscrowd": int(entry["id"] in crowds)}
                file.write(("," if count > 1 else "") + dump_json(entry | crowd | {"id": count}))
        listed = [category_row(table[identity]) for identity in sorted(table)]
        file.write(f'],"images":{dump_json(rows)},"categories":{dump_json(listed)}}}')
    return len(rows), count


def _instances(
    segmentation: Segmentation, image: dict[str, Any], table: dict[int, Category], path: Path
) -> Iterator[dict[str, Any]]:
    """The rows of one image with the ids of their segments."""
    for segment, counts in zip(segmentation, encode_label_map(segmentation.labels), strict=True):
        if segment.category is None:
            raise FormatError(f"{path}: segment {segment.id} of {image['file_name']} has no category, which COCO needs")
        if segment.category.is_thing:
            _add_category(table, segment.category, path)
            entry = segment_entry(segment, 0)
            entry.pop("parent", None)  # ids are not those of the label map
            mask = {"size": list(segmentation.shape), "counts": counts}
            yield entry | {"image_id": image["id"], "segmentation": mask, "score": entry.get("score", 1.0)}


def _add_category(table: dict[int, Category], category: Category, path: Path) -> None:
    if category.is_thing and table.setdefault(category.id, category) != category:
        raise FormatError(
            f"{path}: two categories have the id {category.id}: {table[category.id].name} and {category.name}; "
            "a COCO file needs one id for each"
        )
