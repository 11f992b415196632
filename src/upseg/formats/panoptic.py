"""COCO panoptic: a PNG whose colours are segment ids, and a JSON file with a row for each segment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from upseg.errors import FormatError
from upseg.files import atomic_path
from upseg.formats.coco_tables import (
    IMAGE_ID,
    choose_image,
    coco_tables,
    read_facts,
    segment_entry,
    uncategorised_id,
)
from upseg.formats.metadata import assemble, dump_json, file_name_of, integer_of, list_of, load_json, object_of, reading
from upseg.functional.label_maps import present_values
from upseg.images.label_maps import read_png_pixels
from upseg.segmentation import Segmentation

MOST_SEGMENTS = (1 << 24) - 1


def panoptic_pair(path: Path) -> tuple[Path, Path]:
    """The JSON file and the PNG beside it that make up one result, from the path of either."""
    return path.with_suffix(".json"), path.with_suffix(".png")


def write_panoptic(segmentation: Segmentation, path: Path) -> Path:
    """Write both files in COCO's official layout; the JSON file appears last, so where it is, the result is whole.

    Args:
        segmentation: The result.
        path: Either file; the other has the same name but for its last suffix.

    Returns:
        The JSON file.

    Raises:
        FormatError: If there are more than 16,777,215 segments, or two categories share an id.
    """
    if len(segmentation) > MOST_SEGMENTS:
        raise FormatError(f"{path}: COCO panoptic holds at most {MOST_SEGMENTS:,} segments, got {len(segmentation):,}")
    json_path, png_path = panoptic_pair(path)
    data = coco_tables(segmentation, json_path)
    no_category = uncategorised_id(segmentation)
    rows = [segment_entry(segment, no_category) for segment in segmentation]
    data["annotations"] = [{"image_id": IMAGE_ID, "file_name": png_path.name, "segments_info": rows}]
    text = dump_json(data)
    with atomic_path(json_path) as json_partial, atomic_path(png_path) as png_partial:
        json_partial.write_text(text, encoding="ascii")
        Image.fromarray(ids_to_colours(segmentation.labels)).save(png_partial, format="PNG")
    return json_path


def read_panoptic(path: str | Path, image: int | str | None = None) -> Segmentation:
    """Read one image of a COCO panoptic file, ours or a data set's as downloaded.

    The PNG is looked for beside the JSON file, then in the folder beside it that has the JSON file's name without
    `.json`.

    Args:
        path: The JSON file (or, of a pair that upseg wrote, the PNG).
        image: The id or file name of the image to read; may be left out if the file holds just one.

    Raises:
        FormatError: If a file is broken or missing, its two parts disagree, or it holds several images and none is
            chosen.

    Example:
        >>> path = Segmentation.from_labels(np.array([[7, 7, 9]])).save("photo.panoptic.json")
        >>> read_panoptic(path).labels.tolist()
        [[1, 1, 2]]
    """
    path = panoptic_pair(Path(path))[0]
    with reading(path, "COCO panoptic"):
        data = object_of(load_json(path), "a COCO panoptic file")
        entry = choose_image(data, image, "read_panoptic")
        annotations = [object_of(a, "an annotation") for a in list_of(data.get("annotations"), "annotations")]
        own = [a for a in annotations if a.get("image_id") == entry.id]
        if len(own) != 1:
            raise ValueError(f"image {entry.id} has {len(own)} annotations, expected one")
        png_path = _find_png(path, own[0].get("file_name"))
        rows = [object_of(s, "a segment") for s in list_of(own[0].get("segments_info"), "segments_info")]
        by_id: Mapping[int, dict[str, Any]] = {integer_of(row.get("id"), "a segment's id"): row for row in rows}
        facts = read_facts(data, by_id)
    with reading(png_path, "a COCO panoptic PNG"):
        pixels = read_png_pixels(png_path)
        if pixels.shape != (*entry.shape, 3) or pixels.dtype != np.uint8:
            raise ValueError(
                f"expected {entry.shape} pixels of 8-bit RGB as {path} says, got {pixels.shape} {pixels.dtype}"
            )
        labels = colours_to_ids(pixels)
        del pixels
        found = present_values(labels) - {0}
        if found != by_id.keys():
            raise ValueError(
                f"its colours and the segments that {path} lists differ in {sorted(found ^ by_id.keys())[:5]}"
            )
    with reading(path, "COCO panoptic"):
        return assemble(labels, facts)


def ids_to_colours(labels: Int32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Colours with id = R + 256 G + 256^2 B, for ids below 2^24."""
    return np.stack((labels & 255, labels >> 8 & 255, labels >> 16), axis=-1).astype(np.uint8)


def colours_to_ids(colours: UInt8[np.ndarray, "h w 3"]) -> Int32[np.ndarray, "h w"]:
    """The inverse of `ids_to_colours`."""
    ids: Int32[np.ndarray, "h w"] = colours[..., 2].astype(np.int32)
    for channel in (1, 0):  # in place, because three maps of 32 bits of the largest size are 2.4 GB
        ids *= 256
        ids += colours[..., channel]
    return ids


def _find_png(json_path: Path, name: object) -> Path:
    file_name = file_name_of(name, "the PNG's file_name")
    places = [json_path.parent / file_name, json_path.with_suffix("") / file_name]
    for place in places:
        if place.is_file():
            return place
    raise ValueError(f"its PNG {file_name} is neither in {places[0].parent} nor in {places[1].parent}")
