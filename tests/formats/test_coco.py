from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools import mask as oracle
from pycocotools.coco import COCO

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats import read, read_coco, write
from upseg.segmentation import Category, Segmentation

LABELS = labels_of("112..", "1.2..", "11233")

# pycocotools hands numpy an object whose __array__ is of the old kind
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def coco_file(path, annotations, images=None, **more):
    images = images or [{"id": 9, "file_name": "a.jpg", "width": 5, "height": 3}]
    annotations = [{"id": i + 50, "image_id": 9, "category_id": 4} | a for i, a in enumerate(annotations)]
    categories = [{"id": 4, "name": "cell", "supercategory": "thing"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories} | more))
    return path


def test_pycocotools_reads_it(tmp_path):
    segmentation = Segmentation.from_labels(
        LABELS, categories={1: Category(7, "cat"), 3: Category(2, "sky", is_thing=False)}, scores={2: 0.5}
    )
    path = write(segmentation, tmp_path / "photo.json")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    assert coco.loadImgs(1) == [{"id": 1, "width": 5, "height": 3, "file_name": "photo"}]
    assert [(c["id"], c["name"]) for c in coco.loadCats([2, 7, 8])] == [(2, "sky"), (7, "cat"), (8, "segment")]
    for segment in segmentation:
        (annotation,) = coco.loadAnns(segment.id)
        np.testing.assert_array_equal(coco.annToMask(annotation), segmentation.mask(segment.id))
        rle = annotation["segmentation"]
        assert annotation["area"] == segment.area == oracle.area(rle)
        assert annotation["bbox"] == oracle.toBbox(rle).tolist()
        assert annotation["iscrowd"] == 0
    assert [a["category_id"] for a in coco.loadAnns([1, 2, 3])] == [7, 8, 2]
    assert coco.loadAnns(2)[0]["score"] == 0.5


def test_file_name_of_the_image(tmp_path):
    segmentation = Segmentation.from_labels(LABELS, provenance={"image": "folder/photo.jpg"})
    path = write(segmentation, tmp_path / "a.json")
    assert json.loads(path.read_text())["images"][0]["file_name"] == "photo.jpg"


def test_two_categories_with_one_id_are_refused(tmp_path):
    segmentation = Segmentation.from_labels(LABELS, categories={1: Category(7, "cat"), 2: Category(7, "dog")})
    with pytest.raises(FormatError, match="two categories have the id 7"):
        write(segmentation, tmp_path / "a.json")


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_of_another_program(tmp_path, compressed):
    masks = [(value == LABELS).astype(np.uint8) for value in (2, 1)]
    rles = [oracle.encode(np.asfortranarray(mask)) for mask in masks]
    counts = ["".join(map(chr, rle["counts"])) for rle in rles] if compressed else [[6, 3, 6], [0, 3, 2, 1, 3]]
    if not compressed:
        counts[1] = [0, 4, 1, 1, 9]
    path = coco_file(tmp_path / "a.json", [{"segmentation": {"size": [3, 5], "counts": c}} for c in counts])
    again = read(path)
    np.testing.assert_array_equal(again.labels, labels_of("112..", "1.2..", "112.."))
    assert {segment.category for segment in again} == {Category(4, "cell")}


def test_polygons_of_another_program(tmp_path):
    polygons = [[1, 0, 4, 0, 4, 2, 1, 2], [0, 2, 1, 2, 1, 3, 0, 3]]
    path = coco_file(
        tmp_path / "a.json", [{"segmentation": polygons}, {"segmentation": [[2.6, 1.7, 5, 1.7, 5, 3, 2.6, 3]]}]
    )
    expected = labels_of(".111.", ".111.", "1..22")
    np.testing.assert_array_equal(read(path).labels, expected)
    # on the pixel grid there is no room for different rules, so pycocotools must agree
    rle = oracle.merge(oracle.frPyObjects(polygons, 3, 5))
    np.testing.assert_array_equal(oracle.decode(rle), expected == 1)


def test_polygons_off_the_grid_differ_from_pycocotools_only_along_the_border(tmp_path):
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack((50.3 + 31.7 * np.cos(angles), 40.6 + 22.1 * np.sin(angles)), axis=1)
    image = {"id": 9, "file_name": "a.jpg", "width": 100, "height": 80}
    path = coco_file(tmp_path / "a.json", [{"segmentation": [ring.ravel().tolist()]}], [image])
    ours = read(path).mask(1)
    theirs = oracle.decode(oracle.frPyObjects([ring.ravel().tolist()], 80, 100))[..., 0] == 1
    rows, columns = np.nonzero(ours != theirs)
    distance = np.abs(np.hypot((columns + 0.5 - 50.3) / 31.7, (rows + 0.5 - 40.6) / 22.1) - 1)
    assert distance.max(initial=0) * 31.7 < 1.5
    assert len(rows) < 80


def test_smaller_instances_lie_on_top(tmp_path):
    big, small, covered = [0, 0, 4, 0, 4, 3, 0, 3], [1, 1, 3, 1, 3, 2, 1, 2], [1, 1, 3, 1, 3, 2, 1, 2]
    path = coco_file(tmp_path / "a.json", [{"segmentation": [p]} for p in (small, big)])
    with pytest.warns(UserWarning, match=r"a\.json: 1 segments overlap smaller ones, which lie on top: 51"):
        again = read(path)
    np.testing.assert_array_equal(again.labels, labels_of("1111.", "1221.", "1111."))
    coco_file(path, [{"segmentation": [p]} for p in (small, covered)])
    with pytest.warns(UserWarning, match="1 segments cover no pixel of their own and are left out: 50"):
        assert len(read(path)) == 1


def test_several_images(tmp_path):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 5, "height": 3} for i in (8, 9)]
    path = coco_file(tmp_path / "a.json", [{"segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]]}], images)
    with pytest.raises(
        FormatError, match=r"holds 2 images \(8 \(8.jpg\), 9 \(9.jpg\), ...\): choose one with read_coco"
    ):
        read(path)
    assert len(read_coco(path, image=9)) == len(read_coco(path, image="9.jpg")) == 1
    assert len(read_coco(path, image="8.jpg")) == 0
    with pytest.raises(FormatError, match="0 of its 2 images have the id or file name 'b"):
        read_coco(path, image="b.jpg")


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (
            {"segmentation": {"size": [5, 3], "counts": [0, 15]}},
            r"annotation 50 has the size \[5, 3\], its image \[3, 5\]",
        ),
        ({"segmentation": {"size": [3, 5], "counts": [0, 14]}}, "add up to its 15 pixels"),
        ({"segmentation": {"size": [3, 5], "counts": None}}, "counts must be a JSON list, got None"),
        ({"segmentation": [[0, 0, 1, 1]]}, "at least three corners"),
        ({"segmentation": [[0, 0, 1, 1, 2, "a"]]}, "a corner must be a number, got 'a'"),
        ({"segmentation": None}, "the segmentation of annotation 50 must be a JSON object"),
        ({"segmentation": [], "category_id": 5}, "segment 50 has the category 5, which is not in its categories"),
        ({"segments_info": []}, 'this is COCO panoptic: read it with read(path, format="panoptic")'),
    ],
)
def test_broken_annotations(tmp_path, annotation, message):
    path = coco_file(tmp_path / "a.json", [annotation])
    with pytest.raises(FormatError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: cannot be read as COCO instances: ")
    assert message.replace("\\", "") in str(caught.value)


@pytest.mark.parametrize("size", [{"width": 0}, {"height": 10**9}, {"width": "5"}])
def test_impossible_sizes(tmp_path, size):
    image = {"id": 9, "file_name": "a.jpg", "width": 5, "height": 3} | size
    with pytest.raises(FormatError, match="width must be"):
        read(coco_file(tmp_path / "a.json", [], [image]))


def test_metadata_of_a_newer_version(tmp_path):
    info = {"upseg": {"version": 2, "segments": 0, "provenance": {}}}
    with pytest.raises(FormatError, match="of version 2, this upseg reads up to 1: update upseg"):
        read(coco_file(tmp_path / "a.json", [], info=info))
