"""labelme JSON: polygons to be corrected by hand, and masks where a segment has holes.

Source: labelme's own files, version 5: https://github.com/wkentaro/labelme.
"""

from __future__ import annotations

import base64
import math
import warnings
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from upseg.files import write_text
from upseg.formats.metadata import dump_json, list_of, load_json, number_of, object_of, reading, size_of
from upseg.formats.outlines import Ring, class_name, foreign_polygons, outlines
from upseg.segmentation import Segmentation

_CIRCLE = 64  # corners


def write_labelme(segmentation: Segmentation, path: Path) -> Path:
    """Write one polygon for each part of a segment, parts joined by `group_id`; a mask for a segment with holes.

    The image's name is that of `provenance["image"]`; the image itself is not put into the file.
    """
    height, width = segmentation.shape
    shapes: list[dict[str, Any]] = []
    for segment, parts in outlines(segmentation):
        group = segment.id if len(parts) > 1 else None
        common: dict[str, Any] = {"label": class_name(segment), "group_id": group, "description": "", "flags": {}}
        if any(len(part) > 1 for part in parts):
            top, left, bottom, right = segment.bbox
            mask = segmentation.mask(segment.id)[top:bottom, left:right]
            box = [[left, top], [right - 1, bottom - 1]]
            shapes.append(common | {"group_id": None, "shape_type": "mask", "points": box, "mask": _to_text(mask)})
            continue
        shapes += [common | {"shape_type": "polygon", "points": part[0][:, ::-1].tolist()} for part in parts]
    image = segmentation.provenance.get("image")
    data: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": Path(image).name if isinstance(image, str) and image else path.name.removesuffix(".labelme.json"),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    return write_text(path, dump_json(data))


def read_labelme(path: Path) -> Segmentation:
    """Read polygons, rectangles, circles and masks; shapes of one label and `group_id` are one segment.

    Points and lines cover no area: they are left out, and a `UserWarning` counts them.

    Raises:
        FormatError: If the file is broken.
    """
    with reading(path, "labelme JSON"):
        data = object_of(load_json(path), "a labelme file")
        shape = size_of(data.get("imageHeight"), data.get("imageWidth"))
        found = shapes_of(data)
        if found.left_out:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.left_out.items()))
            warnings.warn(f"{path}: left out shapes that cover no area: {kinds}", stacklevel=2)
        return foreign_polygons(path, found.polygons, shape, found.names)


@dataclass
class LabelmeShapes:
    """What a labelme file has drawn.

    Attributes:
        polygons: As `upseg.formats.outlines.paint_polygons` takes them.
        names: The label of each object 1..K.
        left_out: How many shapes of each kind cover no area.
    """

    polygons: list[tuple[int, list[Ring]]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def shapes_of(data: dict[str, Any]) -> LabelmeShapes:
    """The shapes of a labelme file; those of one label and `group_id` are one object.

    Raises:
        ValueError: If it is none.
    """
    found = LabelmeShapes()
    owners: dict[tuple[str, object], int] = {}
    for number, entry in enumerate(list_of(data.get("shapes"), "shapes")):
        row = object_of(entry, "a shape")
        rings = _rings(row)
        if rings is None:
            found.left_out[str(row.get("shape_type"))] += 1
            continue
        label, group = str(row.get("label")), row.get("group_id")
        key = (label, ("alone", number) if group is None else str(group))
        owner = owners.setdefault(key, len(found.names) + 1)
        if owner > len(found.names):
            found.names.append(label)
        found.polygons += [(owner, [ring]) for ring in rings] if len(rings) < 2 else [(owner, rings)]
    return found


def _rings(row: dict[str, Any]) -> list[Ring] | None:
    """The rings of a shape, corners as (row, column); None for what has no area."""
    kind = row.get("shape_type") or "polygon"
    points = np.array(
        [
            [number_of(v, "a coordinate") for v in list_of(p, "a point")[:2]]
            for p in list_of(row.get("points"), "points")
        ],
        np.float64,
    ).reshape(-1, 2)[:, ::-1]
    if kind == "mask" and len(points) == 2:
        return _mask_rings(str(row.get("mask")), np.rint(points.min(axis=0)))
    if kind == "rectangle" and len(points) == 2:
        (top, left), (bottom, right) = points.min(axis=0), points.max(axis=0)
        return [np.array([[top, left], [top, right], [bottom, right], [bottom, left]])]
    if kind == "circle" and len(points) == 2:
        radius = math.dist(*points)
        angles = np.arange(_CIRCLE) * (2 * math.pi / _CIRCLE)
        return [points[0] + radius * np.stack((np.sin(angles), np.cos(angles)), axis=1)]
    return [points] if kind == "polygon" and len(points) > 2 else None


def _mask_rings(text: str, corner: Any) -> list[Ring]:
    with Image.open(BytesIO(base64.b64decode(text)), formats=("PNG",)) as image:
        size_of(image.height, image.width)
        mask = np.asarray(image.convert("L")) > 0
    found = Segmentation.from_labels(mask.astype(np.int32))
    return [ring + corner for _, parts in outlines(found) for part in parts for ring in part]


def _to_text(mask: Bool[np.ndarray, "h w"]) -> str:
    buffer = BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
