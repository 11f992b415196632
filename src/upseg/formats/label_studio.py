"""Label Studio's tasks: regions that are brushed or drawn as polygons, as its JSON export has them.

Source: https://labelstud.io/guide/export.html and https://labelstud.io/tags/brushlabels.html.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from upseg.formats.brush_rle import decode_brush, encode_brush
from upseg.formats.metadata import list_of, number_of, object_of, size_of
from upseg.formats.outlines import class_name, polygon_runs
from upseg.functional.runs import Runs, find_runs
from upseg.segmentation import Segmentation

_PER_CENT = 100.0
_FARTHEST = 1e4  # per cent: what is beyond is no outline in the image


@dataclass
class StudioRegions:
    """The regions of one image.

    Attributes:
        shape: (H, W) that they are drawn on; None where there is no region.
        runs: Their pixels in row-major order, numbered 1..K.
        labels: The first label of each.
        left_out: What is wrong with others.
    """

    shape: tuple[int, int] | None = None
    runs: list[Runs] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def studio_task(segmentation: Segmentation, number: int, image: str) -> dict[str, Any]:
    """One task with a brushed region for each segment, as Label Studio exports it and imports it again.

    Args:
        segmentation: The segments of the image.
        number: Of the task.
        image: Where Label Studio finds the image.
    """
    height, width = segmentation.shape
    common = {"type": "brushlabels", "from_name": "label", "to_name": "image", "image_rotation": 0}
    common |= {"original_width": width, "original_height": height}
    result = []
    for segment in segmentation:
        value = {
            "format": "rle",
            "rle": encode_brush(segmentation.mask(segment.id)),
            "brushlabels": [class_name(segment)],
        }
        score = {} if segment.score is None else {"score": float(segment.score)}
        result.append(common | {"id": f"{number}-{segment.id}", "value": value} | score)
    return {"id": number, "data": {"image": image}, "annotations": [{"id": number, "result": result}]}


def regions_of(task: Mapping[str, Any]) -> StudioRegions:
    """The regions of the first annotation of a task that was not cancelled; what has no area is left out.

    Raises:
        ValueError: If it is no task.
    """
    found = StudioRegions()
    annotations = [object_of(a, "an annotation") for a in list_of(task.get("annotations", []), "annotations")]
    kept = next((annotation for annotation in annotations if not annotation.get("was_cancelled")), {})
    rows = [object_of(row, "a region") for row in list_of(kept.get("result", []), "result")]
    named = {str(row.get("id")): label for row in rows if (label := _label(row)) is not None}
    kinds: Counter[str] = Counter()
    for row in rows:
        kind, identity = str(row.get("type")), str(row.get("id"))
        value = row.get("value")
        if not isinstance(value, dict) or not ("rle" in value or "points" in value):
            kinds[kind] += kind not in ("labels", "choices")
            continue
        try:
            shape = size_of(row.get("original_height"), row.get("original_width"))
            if found.shape not in (None, shape):
                raise ValueError("its image has another size than that of others")
            runs = _runs(value, shape, len(found.labels) + 1)
        except (TypeError, ValueError, OverflowError) as error:
            found.left_out.append(f"region {identity} cannot be read: {error}")
            continue
        found.shape = shape
        found.runs.append(runs)
        found.labels.append(named.get(identity, "segment"))
    found.left_out += [f"region {kind} has no mask" for kind in kinds.elements()]
    return found


def image_of_task(task: Mapping[str, Any]) -> str | None:
    """Where the image of a task is, as a path: of a web address, what is behind `?d=` or the host."""
    data = task.get("data")
    for value in data.values() if isinstance(data, dict) else ():
        if isinstance(value, str) and "\0" not in value:
            place = value.partition("?d=")[2] or value.partition("?")[0]
            return place.partition("://")[2] or place
    return None


def labels_of(task: Mapping[str, Any]) -> set[str]:
    """The labels of all regions of a task."""
    annotations = [object_of(a, "an annotation") for a in list_of(task.get("annotations", []), "annotations")]
    rows = [object_of(row, "a region") for a in annotations for row in list_of(a.get("result", []), "result")]
    return {label for row in rows if (label := _label(row)) is not None}


def _label(row: Mapping[str, Any]) -> str | None:
    """The first label of a region; None without any."""
    value = row.get("value")
    names = value.get(str(row.get("type"))) if isinstance(value, dict) else None
    return str(names[0]) if isinstance(names, list) and names else None


def _runs(value: Mapping[str, Any], shape: tuple[int, int], number: int) -> Runs:
    if "rle" in value:
        found = find_runs(decode_brush(list_of(value["rle"], "rle"), shape).ravel().view(np.uint8))
        return Runs(found.starts, found.stops, np.full(len(found.ids), number, np.int64))
    points = [list_of(point, "a corner")[:2] for point in list_of(value["points"], "points")]
    corners = np.array([[number_of(y, "a corner"), number_of(x, "a corner")] for x, y in points], np.float64).reshape(
        -1, 2
    )
    if len(corners) < 3 or np.abs(corners).max() > _FARTHEST:
        raise ValueError("it is no polygon of at least three corners in its image")
    return polygon_runs([(number, [corners / _PER_CENT * np.array(shape, np.float64)])], shape)
