"""Whole sets in the layouts of other tools: `convert` writes results or ground truth, `upseg.data.sources` reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from upseg.data.sources import SOURCES, open_dataset
from upseg.errors import UpsegError
from upseg.exchange.annotators import write_cvat, write_label_studio, write_labelme_folder, write_yolo
from upseg.exchange.coco import write_coco, write_panoptic, write_results
from upseg.exchange.folder import Written, check_free
from upseg.exchange.items import DatasetItems, Items, ResultItems
from upseg.files import printable
from upseg.formats import FORMATS, output_paths, write
from upseg.images.options import ReadingOptions

__all__ = ["LAYOUTS", "Layout", "Written", "convert", "open_items"]


@dataclass(frozen=True)
class Layout:
    """How another tool keeps a whole set.

    Attributes:
        name: What the command line calls it.
        description: One line for people.
        layout: What is written.
        write: Writes items to a place; further arguments are its options.
        source: The name in `SOURCES` under which it is read again; None where it is no ground truth.
    """

    name: str
    description: str
    layout: str
    write: Callable[..., Written]
    source: str | None

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(inspect.signature(self.write).parameters)[2:]


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "yolo",
            "YOLO segmentation, a line for each object",
            "data.yaml, images/train/*, labels/train/*.txt",
            write_yolo,
            "yolo",
        ),
        Layout(
            "coco",
            "COCO instances, one JSON for all",
            "annotations/instances_train.json, images/train/*",
            write_coco,
            "coco-instances",
        ),
        Layout(
            "coco-panoptic",
            "COCO panoptic, a JSON and a folder of PNGs",
            "annotations/panoptic_train.json, annotations/panoptic_train/*.png, images/train/*",
            write_panoptic,
            "coco-panoptic",
        ),
        Layout("coco-results", "COCO's list of results", "results.json", write_results, None),
        Layout(
            "cvat",
            "CVAT's segmentation masks",
            "labelmap.txt, SegmentationClass/*.png, SegmentationObject/*.png, JPEGImages/*",
            write_cvat,
            "cvat",
        ),
        Layout("labelme", "labelme's JSON, each beside its image", "*.json, images", write_labelme_folder, "labelme"),
        Layout(
            "label-studio",
            "Label Studio's tasks, brushed regions",
            "tasks.json, images/*",
            write_label_studio,
            "label-studio",
        ),
    )
}


def open_items(source: str, *, images: Path | None = None, split: str | None = None, **options: Any) -> Items:
    """What is to be converted.

    Args:
        source: A folder of results, or a data set as `name:path`.
        images: The folder of the images that results belong to.
        split: Of the data set.
        **options: Of the data set.

    Raises:
        UpsegError: If there is nothing to read, or an option is of no use.
    """
    name, _, place = source.partition(":")
    if name in SOURCES and place:
        if images is not None:
            raise UpsegError("a data set knows its images: leave --images out")
        return DatasetItems(open_dataset(name, place, split=split, on_error="skip", **options))
    if split is not None or options:
        raise UpsegError(
            f"{printable(source)}: a folder of results has no split and no options; a data set is name:path"
        )
    return ResultItems(Path(source), images)


def convert(
    items: Items,
    output: Path,
    layout: str,
    *,
    overwrite: bool = False,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    **options: Any,
) -> Written:
    """Write results or ground truth as another tool keeps them, or each image in one of upseg's formats.

    Args:
        items: What `open_items` found.
        output: The folder to write into, empty or not there; of some layouts a JSON file.
        layout: A name in `LAYOUTS`, or in `upseg.formats.FORMATS`.
        overwrite: Whether what is there already may be replaced.
        reading: How images are read, for formats that show or measure them.
        **options: Of the layout.

    Returns:
        What was written, what the layout could not hold, and what is wrong with images that are not in it.

    Raises:
        UpsegError: If there is no such layout or option, something is there, or the layout needs what is not known.

    Example:
        >>> import numpy as np
        >>> from upseg import Category, Segmentation
        >>> cells = Segmentation.from_labels(np.array([[7, 7, 9]]), categories={7: Category(1, "cell")})
        >>> _ = cells.save("results/a.png")
        >>> convert(open_items("results"), Path("all.json"), "coco-results").segments
        2
    """
    chosen = LAYOUTS[layout] if layout in LAYOUTS else _one_by_one(layout, reading)
    unknown = sorted(options.keys() - set(chosen.options))
    if unknown:
        has = f"has {', '.join(chosen.options)}" if chosen.options else "has none"
        raise UpsegError(f"the layout {layout} has no option {unknown[0]}; it {has}")
    check_free(output, overwrite=overwrite)
    written = chosen.write(items, output, **options)
    if written.images == 0:
        raise UpsegError(f"nothing was converted: {'; '.join(items.problems[:3]) or 'there is no image'}")
    written.problems = list(items.problems)
    return written


def _one_by_one(name: str, reading: ReadingOptions) -> Layout:
    if name not in FORMATS:
        raise UpsegError(f"there is no layout {name!r}; there are {', '.join([*LAYOUTS, *FORMATS])}")
    wanted = [need for need in FORMATS[name].needs if need != "image"]
    if wanted:
        raise UpsegError(f"the format {name} needs the {wanted[0]} of a segmentation that is being made: upseg segment")
    writer = partial(_write_each, name=name, reading=reading)
    return Layout(name, FORMATS[name].description, f"*{FORMATS[name].suffix}", writer, None)


def _write_each(items: Items, place: Path, *, name: str, reading: ReadingOptions) -> Written:
    """A file for each image."""
    written = Written(place)
    for item in written.fitting(items, {}):
        if "image" in FORMATS[name].needs and item.image is None:
            raise UpsegError(f"the format {name} is made with the images; give their folder with --images")
        pixels = reading.read(item.image) if item.image is not None and "image" in FORMATS[name].needs else None
        facts = {**item.segmentation.provenance, "image": item.file_name}
        write(
            item.segmentation.with_provenance(facts),
            output_paths(place / item.name, name)[0],
            format=name,
            image=pixels,
        )
    return written
