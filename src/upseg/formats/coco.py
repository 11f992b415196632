"""COCO instances JSON: a compressed run-length mask for each segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from upseg.files import write_text
from upseg.formats.coco_tables import (
    IMAGE_ID,
    choose_image,
    coco_tables,
    read_facts,
    segment_entry,
    uncategorised_id,
)
from upseg.formats.metadata import (
    assemble,
    dump_json,
    integer_of,
    list_of,
    load_json,
    number_of,
    object_of,
    reading,
    warn_of_losses,
)
from upseg.formats.outlines import polygon_runs
from upseg.functional.runs import Runs, counts_to_runs, decompress_counts, encode_label_map, paint_runs
from upseg.segmentation import Segmentation


def write_coco(segmentation: Segmentation, path: Path) -> Path:
    """Write one image's instances; segments without a category get one named `segment`.

    Raises:
        FormatError: If two categories share an id.
    """
    data = coco_tables(segmentation, path)
    no_category = uncategorised_id(segmentation)
    size = list(segmentation.shape)
    data["annotations"] = [
        segment_entry(segment, no_category) | {"image_id": IMAGE_ID, "segmentation": {"size": size, "counts": counts}}
        for segment, counts in zip(segmentation, encode_label_map(segmentation.labels), strict=True)
    ]
    return write_text(path, dump_json(data))


def read_coco(path: str | Path, image: int | str | None = None) -> Segmentation:
    """Read one image's instances: masks as compressed or plain run lengths or as polygons, from any program.

    A label map holds one segment for each pixel: where instances overlap, the one with the smaller area lies on top,
    and a `UserWarning` names those that lost pixels. A polygon covers the pixels whose centres are inside.

    Args:
        path: The JSON file.
        image: The id or file name of the image to read; may be left out if the file holds just one.

    Raises:
        FormatError: If the file is broken, or holds several images and none is chosen.

    Example:
        >>> import numpy as np
        >>> path = Segmentation.from_labels(np.array([[7, 7, 9]])).save("photo.json")
        >>> read_coco(path).labels.tolist()
        [[1, 1, 2]]
    """
    path = Path(path)
    with reading(path, "COCO instances"):
        data = object_of(load_json(path), "a COCO file")
        annotations = list_of(data.get("annotations"), "annotations")
        if any("segments_info" in object_of(annotation, "an annotation") for annotation in annotations[:1]):
            raise ValueError('this is COCO panoptic: read it with read(path, format="panoptic")')
        entry = choose_image(data, image, "read_coco")
        own = [a for a in annotations if object_of(a, "an annotation").get("image_id") == entry.id]
        facts = read_facts(data, dict(enumerate(own, start=1)))
        names = [a.get("id") for a in own]
        if facts.count is not None and names != list(range(1, len(names) + 1)):
            raise ValueError(f"the ids of its annotations must be 1..{facts.count}, as upseg wrote them")
        height, width = entry.shape
        flat, hidden = paint_runs(mask_runs(own, entry.shape), height * width)
        if facts.count is None:
            warn_of_losses(path, flat, hidden, names)
        elif hidden.any():
            raise ValueError("its segments overlap, which upseg never writes")
        labels = np.ascontiguousarray(flat.reshape(width, height).T)
        del flat  # a map of the largest size takes 0.8 GB
        return assemble(labels, facts)


def mask_runs(annotations: Sequence[Mapping[str, Any]], shape: tuple[int, int]) -> Runs:
    """The column-major runs of every annotation; the i-th has the id i + 1."""
    texts: dict[int, str] = {}
    lengths: dict[int, list[int]] = {}
    polygons: dict[int, list[Any]] = {}
    for value, annotation in enumerate(annotations, start=1):
        mask = annotation.get("segmentation")
        if isinstance(mask, list):
            polygons[value] = mask
            continue
        mask = object_of(mask, f"the segmentation of annotation {annotation.get('id')}")
        if mask.get("size") != list(shape):
            raise ValueError(
                f"annotation {annotation.get('id')} has the size {mask.get('size')}, its image {list(shape)}"
            )
        counts = mask.get("counts")
        if isinstance(counts, str):
            texts[value] = counts
        else:
            lengths[value] = [integer_of(count, "a run length") for count in list_of(counts, "counts")]
    size = shape[0] * shape[1]
    return Runs.joined(
        counts_to_runs(*decompress_counts(list(texts.values())), np.array(list(texts), np.int64), size),
        counts_to_runs(*_joined(lengths), np.array(list(lengths), np.int64), size),
        _polygon_runs(polygons, shape),
    )


def _joined(
    lengths: Mapping[int, Sequence[int]],
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " k1"]]:
    offsets = np.cumsum([0, *map(len, lengths.values())], dtype=np.int64)
    return np.array([count for counts in lengths.values() for count in counts], np.int64), offsets


def _polygon_runs(polygons: Mapping[int, Sequence[Any]], shape: tuple[int, int]) -> Runs:
    """Each polygon is a flat list x0, y0, x1, y1, ...; those of one annotation are united."""
    found = []
    for value, polygon in ((value, polygon) for value, group in polygons.items() for polygon in group):
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon must be a list x0, y0, x1, y1, ... of at least three corners")
        corners = np.array([number_of(p, "a corner") for p in polygon], np.float64)
        found.append((value, [corners.reshape(-1, 2)]))
    # (x, y) taken for (row, column) is the transposed picture, whose rows are our columns
    return polygon_runs(found, (shape[1], shape[0]))
