from __future__ import annotations

import json

import numpy as np
import pytest

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats import read, read_geojson, write
from upseg.functional.label_maps import label_checksum
from upseg.segmentation import Category, Segmentation

SQUARE = [[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]


def feature(coordinates, kind="Polygon", **properties):
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}


def geojson_file(path, data):
    path.write_text(json.dumps(data))
    return path


def test_what_is_written(tmp_path):
    labels = labels_of("111.1", "121..", "111..")
    segmentation = Segmentation.from_labels(labels, scores={2: 0.5}, categories={2: Category(7, "cat")}, parents={2: 1})
    data = json.loads(write(segmentation, tmp_path / "a.geojson").read_text())
    assert data["type"] == "FeatureCollection"
    size = {"height": 3, "width": 5}
    checksum = label_checksum(segmentation.labels)
    assert data["upseg"] == {"version": 1, "segments": 2, "checksum": checksum, **size, "provenance": {}}
    first, second = data["features"]
    assert [first["type"], first["id"], second["id"]] == ["Feature", 1, 2]
    # (x, y); the outer ring has a positive shoelace sum over these numbers, the hole a negative one
    assert first["geometry"] == {
        "type": "MultiPolygon",
        "coordinates": [
            [[[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]], [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]],
            [[[4, 0], [5, 0], [5, 1], [4, 1], [4, 0]]],
        ],
    }
    assert second["geometry"] == {"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]]}
    assert second["properties"] == {
        "area": 1,
        "score": 0.5,
        "parent": 1,
        "category_id": 7,
        "category": "cat",
        "is_thing": True,
        "objectType": "annotation",  # from here on what QuPath looks for
        "classification": {"name": "cat", "color": [86, 180, 233]},
        "measurements": {"Area px^2": 1.0, "Score": 0.5},
    }
    for key in ("objectType", "measurements"):
        assert first["properties"].pop(key)
    assert set(first["properties"].values()) == {9, None}


def test_collection_of_another_program(tmp_path):
    hole = [[1.5, 1.5], [1.5, 2.5], [2.5, 2.5], [2.5, 1.5], [1.5, 1.5]]
    far = [[5, 0], [6, 0], [6, 1.2], [5, 1.2]]
    data = {
        "type": "FeatureCollection",
        "features": [feature([SQUARE]), feature([[far], [[[0, 2], [1, 2], [1, 3]]]], "MultiPolygon")],
    }
    path = geojson_file(tmp_path / "a.geojson", data)
    np.testing.assert_array_equal(read(path).labels, labels_of(".....1", ".22...", "122..."))
    data["features"][0] = feature([SQUARE, hole])
    labels = read_geojson(geojson_file(path, data), shape=(4, 7)).labels
    np.testing.assert_array_equal(labels, labels_of(".....1.", "..2....", "122....", "......."))


@pytest.mark.parametrize("wrap", [lambda f: [f], lambda f: f, lambda f: f["geometry"]])
def test_bare_lists_features_and_geometries(tmp_path, wrap):
    path = geojson_file(tmp_path / "a.geojson", wrap(feature([SQUARE])))
    np.testing.assert_array_equal(read(path).labels, labels_of("...", ".11", ".11"))


def test_classes_of_qupath(tmp_path):
    tumor, stroma = {"name": "Tumor", "color": [200, 0, 0]}, {"name": "Stroma", "color": [150, 200, 150]}
    squares = [[[[x, 0], [x + 1, 0], [x + 1, 1], [x, 1], [x, 0]]] for x in range(4)]
    kinds = [tumor, stroma, tumor, None]
    features = [feature(s, objectType="annotation", classification=k) for s, k in zip(squares, kinds, strict=True)]
    features[3]["properties"] = None
    again = read(geojson_file(tmp_path / "a.geojson", {"type": "FeatureCollection", "features": features}))
    assert [s.category for s in again] == [Category(2, "Tumor"), Category(1, "Stroma"), Category(2, "Tumor"), None]


def test_smaller_polygons_lie_on_top(tmp_path):
    outer = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
    path = geojson_file(tmp_path / "a.geojson", [{"id": "tissue"} | feature([outer]), feature([SQUARE])])
    with pytest.warns(UserWarning, match="1 segments overlap smaller ones, which lie on top: tissue"):
        again = read(path)
    np.testing.assert_array_equal(again.labels, labels_of("1111", "1221", "1221", "1111"))
    tiny = [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]]
    geojson_file(path, [feature([SQUARE]), feature([tiny])])
    with pytest.warns(UserWarning, match="1 segments cover no pixel of their own and are left out: 2"):
        assert len(read(path)) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([feature([1, 2], "Point")], "none of its 1 features is a Polygon or a MultiPolygon"),
        ([{"type": "Feature", "geometry": None}], "none of its 1 features is a Polygon or a MultiPolygon"),
        ([feature([[[0, 0], [1], [2, 2]]])], "feature 1 has a ring that is not a list of positions"),
        ([feature([[1, 2, 3]])], "a position must be a JSON list, got 1"),
        ([feature([[]])], "feature 1 has a ring that is not a list of positions"),
        ([feature([[["a", 0], [1, 0], [2, 2]]])], "could not convert string to float"),
        ([feature([[[0, 0], [float("nan"), 0], [2, 2]]])], "it holds NaN, which is no number of JSON"),
        ([feature([[[-1, 0], [3, 0], [3, 3]]])], "some are negative"),
        ([feature([[[8.54, 47.3], [8.55, 47.3], [8.55, 47.31]]])], "no polygon holds the centre of a pixel"),
        ([feature([[[0, 0], [1e9, 0], [1e9, 1e9]]])], "at most 200000000 pixels"),
        ([], "it holds no polygon to tell the size of the map"),
        ({"type": "Topology"}, "got the type 'Topology'"),
    ],
)
def test_what_cannot_be_segments(tmp_path, data, message):
    path = geojson_file(tmp_path / "a.geojson", data)
    with pytest.raises(FormatError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: cannot be read as GeoJSON polygons: ")


def test_negative_coordinates_are_cut_off_where_the_shape_is_given(tmp_path):
    path = geojson_file(tmp_path / "a.geojson", [feature([[[-5, -5], [1, -5], [1, 9], [-5, 9]]])])
    np.testing.assert_array_equal(read_geojson(path, shape=(1, 3)).labels, labels_of("1.."))
