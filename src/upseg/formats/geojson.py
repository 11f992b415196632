"""GeoJSON: each segment's exact outline as a polygon with holes, or as several.

Coordinates are pixels, x to the right and y downwards from the top left corner of the image, as QuPath has them; pixel
(row r, column c) is the square from (c, r) to (c + 1, r + 1). Outer rings have a positive shoelace sum over these
numbers and holes a negative one, which is what RFC 7946 calls counterclockwise and clockwise; on a screen, where y
points down, outer rings therefore run clockwise.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from upseg.files import atomic_path
from upseg.formats.colours import class_colour
from upseg.formats.metadata import (
    VERSION,
    Facts,
    assemble,
    check_version,
    checksum_of,
    dump_json,
    integer_of,
    list_of,
    load_json,
    number_of,
    object_of,
    reading,
    size_of,
    warn_of_losses,
)
from upseg.functional.label_maps import label_checksum
from upseg.functional.polygons import Rings, fill_rings, trace_rings
from upseg.functional.runs import Runs, paint_runs
from upseg.segmentation import Category, Segment, Segmentation


def write_geojson(segmentation: Segmentation, path: Path) -> Path:
    """Write a FeatureCollection with a Polygon or MultiPolygon for each segment."""
    height, width = segmentation.shape
    ours = {
        "version": VERSION,
        "segments": len(segmentation),
        "checksum": label_checksum(segmentation.labels),
        "height": height,
        "width": width,
        "provenance": dict(segmentation.provenance),
    }
    head = f'{{"type":"FeatureCollection","upseg":{dump_json(ours)},"features":['
    rings = trace_rings(segmentation.labels)
    bounds = np.searchsorted(rings.labels, np.arange(1, len(segmentation) + 2)).tolist()
    with atomic_path(path) as partial, partial.open("w", encoding="ascii", newline="\n") as file:
        file.write(head)
        for segment, first, stop in zip(segmentation, bounds[:-1], bounds[1:], strict=True):
            file.write(",\n" if segment.id > 1 else "\n")
            feature = {
                "type": "Feature",
                "id": segment.id,
                "properties": properties_of(segment),
                "geometry": polygon_geometry(rings, range(first, stop)),
            }
            file.write(dump_json(feature))
        file.write("\n]}\n")
    return path


def properties_of(segment: Segment) -> dict[str, Any]:
    """Of a segment: flat, so that a GIS shows columns, all but the area may be null; then what QuPath looks for."""
    category = segment.category
    measured = {"Area px^2": segment.area, "Score": segment.score}
    for_qupath: dict[str, Any] = {
        "objectType": "annotation",
        "measurements": {name: float(value) for name, value in measured.items() if value is not None},
    }
    if category is not None:
        for_qupath["classification"] = {"name": category.name, "color": class_colour(category)}
    return for_qupath | {
        "area": segment.area,
        "score": None if segment.score is None else float(segment.score),
        "parent": segment.parent,
        "category_id": None if category is None else category.id,
        "category": None if category is None else category.name,
        "is_thing": None if category is None else category.is_thing,
    }


def polygon_geometry(rings: Rings, numbers: Sequence[int]) -> dict[str, Any]:
    """The Polygon or MultiPolygon that some rings of one segment make, outer ones before their holes."""
    polygons: list[list[list[list[int]]]] = []
    for number in numbers:
        corners = rings.vertices[rings.offsets[number] : rings.offsets[number + 1], ::-1].tolist()
        corners.append(corners[0])
        if rings.holes[number]:
            polygons[-1].append(corners)
        else:
            polygons.append([corners])
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def read_geojson(path: str | Path, shape: tuple[int, int] | None = None) -> Segmentation:
    """Read polygons in pixel coordinates, from upseg or from programs such as QuPath and QGIS.

    A polygon covers the pixels whose centres are inside. Where the features of other programs overlap, the one with
    the smaller area lies on top, and a `UserWarning` names those that lost pixels; another counts points and lines,
    which are left out. QuPath's classifications become categories.

    Args:
        path: A FeatureCollection, a list of features, or a single one.
        shape: (H, W) of the map for another program's file; what lies outside is cut off. By default the smallest that
            holds all polygons. Files of upseg know theirs.

    Raises:
        FormatError: If the file is broken, has no polygons, or coordinates that cannot be pixels.

    Example:
        >>> outline = [[0, 0], [3, 0], [3, 2], [0, 2], [0, 0]]
        >>> text = f'{{"type": "Feature", "geometry": {{"type": "Polygon", "coordinates": [{outline}]}}}}'
        >>> _ = Path("cell.geojson").write_text(text)
        >>> read_geojson("cell.geojson", shape=(3, 4)).labels.tolist()
        [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    """
    path = Path(path)
    with reading(path, "GeoJSON polygons"):
        features, ours = _features_of(load_json(path))
        if ours is None:
            features = _with_area(path, features)
        vertices, offsets, polygons, owners = _gather_rings([feature.get("geometry") for feature in features])
        if ours is not None:
            check_version(ours.get("version"))
            shape = size_of(ours.get("height"), ours.get("width"))
        elif shape is None:
            shape = _extent(vertices)
        runs = fill_rings(vertices, offsets, polygons, shape)
        runs = Runs(runs.starts, runs.stops, owners[runs.ids])
        flat, hidden = paint_runs(runs, shape[0] * shape[1])
        facts = _read_facts(features, ours)
        if facts.count is not None:
            if hidden.any() or [f.get("id") for f in features] != list(range(1, len(features) + 1)):
                raise ValueError(
                    f"its features must not overlap and have the ids 1..{facts.count}, as upseg wrote them"
                )
        elif not flat.any():
            raise ValueError("no polygon holds the centre of a pixel: its coordinates must be pixels")
        else:
            warn_of_losses(path, flat, hidden, [f.get("id", number) for number, f in enumerate(features, start=1)])
        return assemble(flat.reshape(shape), facts)


def _features_of(data: object) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The features, and what upseg noted beside them if it wrote the file."""
    if isinstance(data, list):  # QuPath's older exports
        return [object_of(feature, "a feature") for feature in data], None
    collection = object_of(data, "GeoJSON")
    kind = collection.get("type")
    if kind == "FeatureCollection":
        features = [object_of(f, "a feature") for f in list_of(collection.get("features"), "features")]
        ours = collection.get("upseg")
        if ours is None and any(isinstance(v, dict) and "checksum" in v for v in collection.values()):
            raise ValueError("what upseg noted in it is damaged")  # without it the size of the map is not known
        return features, None if ours is None else object_of(ours, "upseg")
    if kind == "Feature":
        return [collection], None
    if kind in ("Polygon", "MultiPolygon"):
        return [{"type": "Feature", "geometry": collection}], None
    raise ValueError(f"expected a FeatureCollection, a Feature, a Polygon or a MultiPolygon, got the type {kind!r}")


def _with_area(path: Path, features: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The features that can be segments; a `UserWarning` counts the others by the kind of their geometry."""
    kept, left_out = [], Counter[str]()
    for feature in features:
        geometry = feature.get("geometry")
        kind = str(geometry.get("type")) if isinstance(geometry, dict) else "without geometry"
        if kind in ("Polygon", "MultiPolygon"):
            kept.append(feature)
        else:
            left_out[kind] += 1
    if features and not kept:
        raise ValueError(f"none of its {len(features)} features is a Polygon or a MultiPolygon")
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        warnings.warn(f"{path}: left out features that cover no area: {kinds}", stacklevel=3)
    return kept


def _gather_rings(
    geometries: Sequence[object],
) -> tuple[Float64[np.ndarray, "n 2"], Int64[np.ndarray, " r1"], Int64[np.ndarray, " r"], Int64[np.ndarray, " p1"]]:
    """All rings: vertices (row, column), offsets, the polygon (1..P) of each ring, and the feature of each polygon."""
    rings: list[Float64[np.ndarray, "_ 2"]] = []
    polygons: list[int] = []
    owners = [0]
    for feature, geometry in enumerate(geometries, start=1):
        for polygon in _polygons_of(geometry, feature):
            owners.append(feature)
            for ring in list_of(polygon, "a polygon"):
                positions = [list_of(position, "a position")[:2] for position in list_of(ring, "a ring")]
                if not positions or min(map(len, positions)) < 2:
                    raise ValueError(f"feature {feature} has a ring that is not a list of positions [x, y]")
                corners = np.array(positions, np.float64)
                if not np.isfinite(corners).all():
                    raise ValueError(f"feature {feature} has coordinates that are not finite")
                rings.append(corners[:, ::-1])
                polygons.append(len(owners) - 1)
    offsets = np.cumsum([0, *map(len, rings)], dtype=np.int64)
    vertices = np.concatenate([np.zeros((0, 2)), *rings])
    return vertices, offsets, np.array(polygons, np.int64), np.array(owners, np.int64)


def _polygons_of(geometry: object, feature: int) -> list[Any]:
    data = object_of(geometry, f"the geometry of feature {feature}")
    kind = data.get("type")
    coordinates = data.get("coordinates")
    if kind == "Polygon":
        return [coordinates]
    if kind == "MultiPolygon":
        return list_of(coordinates, "the coordinates of a MultiPolygon")
    raise ValueError(f"feature {feature} is a {kind}: only Polygon and MultiPolygon can be segments")


def _extent(vertices: Float64[np.ndarray, "n 2"]) -> tuple[int, int]:
    """(H, W) of the smallest map that holds all vertices."""
    if len(vertices) == 0:
        raise ValueError("it holds no polygon to tell the size of the map: give read_geojson the shape")
    if vertices.min() < 0:
        raise ValueError(
            "its coordinates must be pixels, x to the right and y downwards from the top left corner, but some are "
            "negative; to cut off what lies outside, give read_geojson the shape of the image"
        )
    height, width = np.ceil(vertices.max(axis=0)).tolist()
    return size_of(max(int(height), 1), max(int(width), 1))


def _read_facts(features: Sequence[Mapping[str, Any]], ours: Mapping[str, Any] | None) -> Facts:
    rows = {i: object_of(f.get("properties") or {}, "properties") for i, f in enumerate(features, start=1)}
    if ours is None:
        return Facts(categories=_classifications(rows))
    return Facts(
        count=integer_of(ours.get("segments"), "upseg.segments"),
        scores={i: number_of(row["score"], "score") for i, row in rows.items() if row.get("score") is not None},
        categories={
            i: Category(integer_of(row["category_id"], "category_id"), str(row["category"]), bool(row["is_thing"]))
            for i, row in rows.items()
            if row.get("category_id") is not None
        },
        parents={i: integer_of(row["parent"], "parent") for i, row in rows.items() if row.get("parent") is not None},
        provenance=object_of(ours.get("provenance"), "upseg.provenance"),
        areas={i: integer_of(row["area"], "area") for i, row in rows.items() if row.get("area") is not None},
        checksum=checksum_of(ours),
    )


def _classifications(rows: Mapping[int, Mapping[str, Any]]) -> dict[int, Category]:
    """QuPath's classes, numbered from 1 in order of name."""
    names = {
        i: str(row["classification"]["name"])
        for i, row in rows.items()
        if isinstance(row.get("classification"), dict) and row["classification"].get("name") is not None
    }
    numbers = {name: number for number, name in enumerate(sorted(set(names.values())), start=1)}
    return {i: Category(numbers[name], name) for i, name in names.items()}
