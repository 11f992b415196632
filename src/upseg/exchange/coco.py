"""COCO for a whole folder: one data-set file, a list of results, and panoptic with its folder of PNGs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from upseg.data.names import Names
from upseg.errors import DataError, FormatError, UpsegError
from upseg.exchange.folder import Written, copy_image
from upseg.exchange.items import Item, Items, class_for_unnamed, crowds_of, named_segments, stuff_of
from upseg.files import atomic_path, write_picture, write_text
from upseg.formats.coco_folder import write_coco_folder
from upseg.formats.coco_tables import category_row, segment_entry
from upseg.formats.metadata import dump_json, json_list, list_of, load_json, object_of, read_category, reading
from upseg.formats.panoptic import MOST_SEGMENTS, ids_to_colours
from upseg.functional.runs import encode_label_map
from upseg.segmentation import Category, Segmentation

_ABOUT = "written by upseg convert"
_UNSCORED = 1.0


def write_coco(items: Items, place: Path, split: str = "train") -> Written:
    """One JSON with all things of all images in COCO's official layout, or the JSON alone if `place` is one.

    The layout is `annotations/instances_{split}.json` and `images/{split}`.
    """
    alone = place.suffix.lower() == ".json"
    written, categories = Written(place), items.categories()
    unnamed = class_for_unnamed(categories)

    def rows() -> Iterator[tuple[str, Segmentation, frozenset[int]]]:
        for item in written.fitting(items, {"segments of stuff, which COCO instances do not have": stuff_of}):
            if not alone:
                copy_image(item, place / "images" / split)
            kept = named_segments(item, unnamed)
            yield kept.file_name, kept.segmentation, kept.crowds

    path = place if alone else place / "annotations" / f"instances_{split}.json"
    write_coco_folder(rows(), path, categories=categories, description=_ABOUT)
    return written


def write_results(items: Items, place: Path, ids: Path | None = None) -> Written:
    """A list of COCO results: an entry for each thing, with run lengths and score, of which crowds are none.

    Args:
        items: What to write.
        place: The JSON file, or a folder, in which it is called `results.json`.
        ids: The ground truth's COCO file, whose ids of images and of classes are taken; without it images are numbered
            from 1 in their order, and classes have the ids that they have.

    Raises:
        UpsegError: If an image or a class is not in `ids`.
    """
    path = place if place.suffix.lower() == ".json" else place / "results.json"
    written, known = Written(path), None if ids is None else _KnownIds(ids)
    numbers = {name: number for number, name in enumerate(items.names, start=1)}
    unfit = {"segments of stuff, which COCO results do not have": stuff_of, "": crowds_of}
    rows = (
        row
        for kept in written.fitting(items, unfit)
        for row in _results(kept.segmentation, numbers[kept.name] if known is None else known.image(kept), known)
    )
    with atomic_path(path) as partial, partial.open("w", encoding="ascii") as file:
        file.writelines(json_list(rows))
    return written


class _KnownIds:
    """The ids that a COCO file gives to images and to classes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path, "COCO's ground truth"):
            data = object_of(load_json(path), "the file")
            images = [object_of(row, "an image") for row in list_of(data.get("images"), "images")]
            self._images = {str(row.get("file_name")): row.get("id") for row in images}
            table = [read_category(row, "isthing") for row in list_of(data.get("categories"), "categories")]
        self._names = Names(self._images)
        self._classes = {category.name: category.id for category in table}

    def image(self, item: Item) -> object:
        """The id of an item's image."""
        found = self._names.find(item.file_name)
        if len(found) != 1:
            raise UpsegError(f"{self.path}: {len(found)} of its images are called {item.file_name}, expected one")
        return self._images[found[0]]

    def category(self, category: Category | None) -> int:
        """The id of a class, by its name; of no class the only one that there is."""
        if category is None and len(self._classes) == 1:
            return next(iter(self._classes.values()))
        name = None if category is None else category.name
        if name is None or name not in self._classes:
            shown = ", ".join(list(self._classes)[:10])
            raise UpsegError(f"{self.path}: there is no class {name or 'for segments without one'}; there are {shown}")
        return self._classes[name]


def _results(segmentation: Segmentation, image: object, known: _KnownIds | None) -> Iterator[dict[str, Any]]:
    for segment, counts in zip(segmentation, encode_label_map(segmentation.labels), strict=True):
        top, left, bottom, right = segment.bbox
        own = 1 if segment.category is None else segment.category.id
        yield {
            "image_id": image,
            "category_id": own if known is None else known.category(segment.category),
            "segmentation": {"size": list(segmentation.shape), "counts": counts},
            "bbox": [left, top, right - left, bottom - top],
            "score": _UNSCORED if segment.score is None else float(segment.score),
        }


def write_panoptic(items: Items, place: Path, split: str = "train") -> Written:
    """COCO panoptic in its official layout: a JSON file, the folder called like it with a PNG for each image, images.

    The layout is `annotations/panoptic_{split}.json`, `annotations/panoptic_{split}/*.png` and `images/{split}`.
    """
    path = place / "annotations" / f"panoptic_{split}.json"
    written, categories = Written(place), items.categories()
    unnamed = class_for_unnamed(categories)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    files = _flat_names(items.names)
    needs_unnamed = False
    for item in written.fitting(items, {}):
        if len(item.segmentation) > MOST_SEGMENTS:
            raise FormatError(f"{item.name}: COCO panoptic holds at most {MOST_SEGMENTS:,} segments for an image")
        needs_unnamed |= any(s.category is None for s in item.segmentation)
        height, width = item.segmentation.shape
        number, png = len(images) + 1, path.with_suffix("") / files[item.name]
        copy_image(item, place / "images" / split)
        write_picture(png, ids_to_colours(item.segmentation.labels))
        rows = [segment_entry(s, unnamed.id) | {"iscrowd": int(s.id in item.crowds)} for s in item.segmentation]
        images.append({"id": number, "file_name": item.file_name, "height": height, "width": width})
        annotations.append({"image_id": number, "file_name": png.name, "segments_info": rows})
    data = {"info": {"description": _ABOUT}, "images": images, "annotations": annotations}
    data["categories"] = _table([*categories, *([unnamed] if needs_unnamed else [])])
    write_text(path, dump_json(data))
    return written


def _table(categories: Sequence[Category]) -> list[Mapping[str, Any]]:
    by_id: dict[int, Category] = {}
    for category in categories:
        if by_id.setdefault(category.id, category) != category:
            raise DataError(
                f"two classes have the id {category.id}: {by_id[category.id].name} and {category.name}; a COCO file "
                "needs one id for each"
            )
    return [category_row(category) for category in by_id.values()]


def _flat_names(names: Sequence[str]) -> dict[str, str]:
    """A PNG's name without folders for each image, all different."""
    flat = [name.replace("/", "_") for name in names]
    twice = {name for name, count in Counter(flat).items() if count > 1}
    return {
        name: f"{short}_{number}.png" if short in twice else f"{short}.png"
        for number, (name, short) in enumerate(zip(names, flat, strict=True))
    }
