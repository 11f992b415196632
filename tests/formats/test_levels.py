"""Files with several levels of a hierarchy, and the archive that keeps all of it."""

import json

import numpy as np
import pytest
import tifffile
from pycocotools import mask as coco_masks

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats import read, write
from upseg.formats.levels import nested_levels
from upseg.hierarchy import Hierarchy, MergeTree, level_details
from upseg.segmentation import Segmentation

ATOMS = labels_of("112345", "112345")
TREE = MergeTree(5, np.array([[3, 4], [0, 1], [2, 3], [0, 2]]), np.array([0.1, 0.2, 0.5, 0.9]))
HIERARCHY = Hierarchy(ATOMS, TREE, scale=1.0)
RESULT = Segmentation.from_hierarchy(HIERARCHY, 0.4, {"method": "x"})
# 4 levels: all in one, then 2 segments at .25 (heights up to .75), the same at .5, and 3 at .75
EXPECTED = {1: (12, None, 0.0), 2: (6, 1, 0.25), 3: (6, 1, 0.25), 4: (2, 3, 0.75), 5: (4, 3, 0.75)}


def test_levels_are_the_pages_of_a_stack(tmp_path) -> None:
    path = write(RESULT, tmp_path / "a.levels.tif", levels=4)
    with tifffile.TiffFile(path) as file:
        pages = [page.asarray() for page in file.pages]
        description = json.loads(file.pages.first.description)
    assert description["details"] == level_details(4)
    for page, detail in zip(pages, level_details(4), strict=True):
        assert page.dtype == np.uint32
        np.testing.assert_array_equal(page, HIERARCHY.at(detail))
    with tifffile.TiffFile(write(RESULT, tmp_path / "b.levels.tif")) as file:
        assert len(file.pages) == 8


def test_each_segment_comes_once_with_what_holds_it() -> None:
    found = {
        number: (area, parent or None, level.detail)
        for level in nested_levels(HIERARCHY, 4)
        for number, area, parent in zip(
            level.numbers.tolist(), level.areas.tolist(), level.parents.tolist(), strict=True
        )
    }
    assert found == EXPECTED


def test_geojson_names_parents(tmp_path) -> None:
    data = json.loads(write(RESULT, tmp_path / "a.hierarchy.geojson", levels=4).read_text())
    rows = {
        f["id"]: (f["properties"]["area"], f["properties"]["parent"], f["properties"]["detail"])
        for f in data["features"]
    }
    assert rows == EXPECTED
    assert data["features"][4]["geometry"]["coordinates"] == [[[4, 0], [6, 0], [6, 2], [4, 2], [4, 0]]]
    assert data["upseg_hierarchy"]["levels"] == level_details(4)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_masks_lie_in_those_of_their_parents(tmp_path) -> None:
    data = json.loads(write(RESULT, tmp_path / "a.hierarchy.json", levels=4).read_text())
    masks = {a["id"]: coco_masks.decode(a["segmentation"]).astype(bool) for a in data["annotations"]}
    assert {a["id"]: (a["area"], a["parent"], a["detail"]) for a in data["annotations"]} == EXPECTED
    for annotation in data["annotations"]:
        mask = masks[annotation["id"]]
        assert mask.sum() == annotation["area"]
        assert annotation["parent"] is None or masks[annotation["parent"]][mask].all()
        left, top, width, height = annotation["bbox"]
        assert mask[top : top + height, left : left + width].sum() == annotation["area"]


@pytest.mark.parametrize("suffix", [".levels.tif", ".hierarchy.geojson", ".hierarchy.json"])
def test_a_result_of_one_level_cannot_be_written(tmp_path, suffix) -> None:
    with pytest.raises(FormatError, match="one level only"):
        write(Segmentation.from_labels(ATOMS), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_keeps_the_hierarchy(tmp_path) -> None:
    path = write(RESULT, tmp_path / "a.npz")
    with np.load(path, allow_pickle=False) as archive:
        assert archive.files == ["labels", "metadata", "atoms", "merges", "heights", "scale"]
        assert archive["merges"].tolist() == TREE.merges.tolist()
    again = read(path)
    assert again == RESULT
    for detail in (0.0, 0.3, 0.85, 1.0):
        assert again.at(detail) == RESULT.at(detail)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"atoms": ATOMS[:1]}, "not the arrays of a hierarchy"),
        ({"atoms": ATOMS + 1}, r"must be 1\.\.5"),
        ({"merges": TREE.merges[:, :1].astype(np.int32)}, "not the arrays of a hierarchy"),
        ({"heights": TREE.heights[:2]}, "not the arrays of a hierarchy"),
        ({"heights": TREE.heights * np.nan}, "must be finite"),
        ({"scale": np.array([1.0, 2.0])}, "not the arrays of a hierarchy"),
        ({"scale": None}, "scale"),
    ],
)
def test_a_damaged_hierarchy_is_refused(tmp_path, changes, message) -> None:
    path = write(RESULT, tmp_path / "a.npz")
    with np.load(path) as archive:
        arrays = {**archive, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(FormatError, match=message):
        read(path)
