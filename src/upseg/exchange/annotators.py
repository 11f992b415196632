"""Sets for tools in which people draw: YOLO's layout, CVAT's masks, labelme's JSON, Label Studio's tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from upseg.errors import UpsegError
from upseg.exchange.folder import Written, copy_image, write_lines
from upseg.exchange.items import Items, class_for_unnamed, crowds_of, named_segments, stuff_of
from upseg.files import atomic_path, write_picture
from upseg.formats.label_colours import label_map_text, spread_colours
from upseg.formats.label_studio import studio_task
from upseg.formats.labelme import write_labelme
from upseg.formats.metadata import json_list
from upseg.formats.yolo_lines import yolo_lines

_CROWDS = {"crowds, of which nobody knows where one object ends": crowds_of}


def write_yolo(items: Items, place: Path, split: str = "train") -> Written:
    """`data.yaml`, `images/{split}` and `labels/{split}`: a line for each thing, no line for an image without any."""
    written = Written(place)
    things = [category for category in items.categories() if category.is_thing]
    unnamed, used = class_for_unnamed(things), False
    classes = {category: number for number, category in enumerate([*things, unnamed])}
    for kept in written.fitting(items, {"segments of stuff, which YOLO's objects are not": stuff_of, **_CROWDS}):
        used |= any(segment.category is None for segment in kept.segmentation)
        lines = yolo_lines(named_segments(kept, unnamed).segmentation, classes)
        image = copy_image(kept, place / "images" / split)
        write_lines((place / "labels" / split / image.relative_to(place / "images" / split)).with_suffix(".txt"), lines)
    names = [category.name for category in [*things, *([unnamed] if used or not things else [])]]
    # JSON's texts are YAML's; YOLO's trainer wants both keys, and takes the file's folder where there is no `path`
    places = {"train": f"images/{split}", "val": f"images/{split}", split: f"images/{split}"}
    head = [*(f"{name}: {folder}" for name, folder in places.items()), "names:"]
    write_lines(place / "data.yaml", [*head, *(f"  {n}: {json.dumps(name)}" for n, name in enumerate(names))])
    return written


def write_cvat(items: Items, place: Path, split: str = "default") -> Written:
    """CVAT's segmentation masks: `labelmap.txt`, the list of images, and coloured PNGs of classes and of objects."""
    written, categories = Written(place), list(items.categories())
    unnamed, names = class_for_unnamed(categories), list[str]()
    classes = [*categories, unnamed]
    if len({category.name for category in classes}) < len(classes):
        raise UpsegError("CVAT's labelmap.txt tells classes by their names, and two of these have the same")
    for item in written.fitting(items, _CROWDS):
        kept = named_segments(item, unnamed)
        copy_image(kept, place / "JPEGImages")
        numbers = np.array([0, *(1 + classes.index(s.category) for s in kept.segmentation if s.category)], np.int64)
        objects = np.arange(len(numbers))
        for folder, values in (("SegmentationClass", numbers), ("SegmentationObject", objects)):
            write_picture(place / folder / f"{kept.name}.png", spread_colours(values)[kept.segmentation.labels])
        names.append(kept.name)
    write_lines(place / "ImageSets" / "Segmentation" / f"{split}.txt", names)
    write_lines(place / "labelmap.txt", label_map_text(classes).splitlines())
    return written


def write_labelme_folder(items: Items, place: Path) -> Written:
    """Each image with labelme's JSON beside it, called like it."""
    written = Written(place)
    for kept in written.fitting(items, _CROWDS):
        if kept.image is not None:
            copy_image(kept, place)
        facts = {**kept.segmentation.provenance, "image": kept.file_name}
        write_labelme(kept.segmentation.with_provenance(facts), place / f"{kept.name}.json")
    return written


def write_label_studio(items: Items, place: Path, prefix: str = "images/") -> Written:
    """One JSON of Label Studio's tasks, every segment a brushed region, and the images beside it.

    Args:
        items: What to write.
        place: The folder for `tasks.json` and `images`, or the JSON file, without images.
        prefix: What Label Studio needs before an image's name to find it, such as `/data/local-files/?d=photos/`.
    """
    alone = place.suffix.lower() == ".json"
    path, written = place if alone else place / "tasks.json", Written(place)

    def tasks() -> Iterator[dict[str, Any]]:
        for number, kept in enumerate(written.fitting(items, _CROWDS), start=1):
            if not alone:
                copy_image(kept, place / "images")
            yield studio_task(kept.segmentation, number, prefix + kept.file_name)

    with atomic_path(path) as partial, partial.open("w", encoding="ascii") as file:
        file.writelines(json_list(tasks()))
    return written
