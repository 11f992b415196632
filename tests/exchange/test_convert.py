"""Results and ground truth in the layouts of other tools, and back again."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.sources.trees import draw_labels, draw_plain_json
from upseg.data.dataset import Dataset
from upseg.data.sources import open_dataset
from upseg.errors import UpsegError
from upseg.exchange import LAYOUTS, Written, convert, open_items
from upseg.segmentation import Category, Segmentation

CELL, DIRT, SKY = Category(7, "cell"), Category(9, "dirt: old"), Category(3, "sky", is_thing=False)
PLAIN = Category(9, "dirt")
READ = [name for name, layout in LAYOUTS.items() if layout.source]


def drawn(seed: int, stuff: bool = True, shape: tuple[int, int] = (30, 41)) -> Segmentation:
    """Segments with holes, in several parts, at the edges, one of a single pixel, over stuff."""
    labels = np.zeros(shape, np.int32)
    if stuff:
        labels[20:] = 5
    labels[2:12, 3:15], labels[5:8, 6:9] = 1, 0
    labels[6, 7] = 2
    labels[10 + seed : 16 + seed, 20:40], labels[2:4, 30:41] = 3, 3
    return Segmentation.from_labels(
        labels, categories={1: CELL, 2: PLAIN, 3: CELL, 5: SKY}, scores={1: 0.25, 2: 1.0, 3: 0.75, 5: 0.5}
    )


@pytest.fixture
def results(tmp_path) -> tuple[Path, Path]:
    """A folder of results, one of them of nothing, and the images."""
    images, folder = tmp_path / "images", tmp_path / "results"
    for number, name in enumerate(("a.jpg", "deep/b.png", "deep/nothing.png")):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((30, 41, 3), 90, np.uint8)).save(images / name)
        found = drawn(number) if number < 2 else Segmentation.from_labels(np.zeros((30, 41), np.int32))
        found.save((folder / name).with_suffix(".tif"))
    return folder, images


def parts(labels: np.ndarray, segments) -> set[tuple[str, bytes]]:
    return {(s.category.name if s.category else "segment", (labels == s.id).tobytes()) for s in segments}


def read_again(layout: str, place: Path) -> Dataset:
    source = LAYOUTS[layout].source
    assert source is not None
    split = "train" if layout == "yolo" else None
    return open_dataset(source, place, split=split)


@pytest.mark.parametrize("layout", READ)
def test_results_survive(layout, results, tmp_path) -> None:
    folder, images = results
    written = convert(open_items(str(folder), images=images), tmp_path / "out", layout)
    things_only = layout in ("yolo", "coco")
    assert (written.images, written.problems) == (3, [])
    assert written.notes == ([f"2 segments of stuff, {written.notes[0].partition(', ')[2]}"] if things_only else [])
    dataset = read_again(layout, tmp_path / "out")
    samples = list(dataset)
    assert [sample.name for sample in samples] == ["a", "deep/b", "deep/nothing"] or layout == "label-studio"
    for number, sample in enumerate(samples[:2]):
        expected = drawn(number)
        kept = [s for s in expected if s.category.is_thing or not things_only]
        assert parts(sample.segment_map, sample.segments) == parts(expected.labels, kept)
        assert sample.left_out == ()
        assert sample.image.shape == (30, 41, 3)
    assert samples[2].segments == ()
    assert sum(len(sample.segments) for sample in samples) == written.segments


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "coco-results"])
def test_segments_without_a_class_get_one_where_they_must(layout, tmp_path) -> None:
    draw_labels(tmp_path)
    written = convert(open_items(f"folder:{tmp_path}"), tmp_path / "out", layout)
    assert written.segments == 4
    names = {c.name for sample in read_again(layout, tmp_path / "out") for c in sample.categories.values()}
    assert names == {"segment"}


@pytest.mark.parametrize("layout", READ)
def test_crowds_stay_crowds_or_are_left_out_with_a_note(layout, tmp_path) -> None:
    draw_plain_json(tmp_path)
    written = convert(open_items(f"folder:{tmp_path}"), tmp_path / "out", layout)
    samples = list(read_again(layout, tmp_path / "out"))
    if layout in ("coco", "coco-panoptic"):
        assert [len(sample.crowds) for sample in samples] == [1, 1]
        assert written.notes == []
    else:
        assert [(len(sample.segments), len(sample.crowds)) for sample in samples] == [(1, 0), (1, 0)]
        assert written.notes == ["2 crowds, of which nobody knows where one object ends"]


def test_a_chain_through_all_layouts_changes_nothing(results, tmp_path) -> None:
    folder, images = results
    source, place = str(folder), images
    for number, layout in enumerate(("coco-panoptic", "cvat", "labelme", "label-studio")):
        out = tmp_path / f"out{number}"
        convert(open_items(source, images=place), out, layout)
        source, place = f"{LAYOUTS[layout].source}:{out}", None
    found = open_dataset("label-studio", tmp_path / "out3")[0]
    assert parts(found.segment_map, found.segments) == parts(drawn(0).labels, drawn(0))


def test_results_take_the_ids_of_the_ground_truth(results, tmp_path) -> None:
    folder, images = results
    rows = [{"id": 40 + n, "file_name": f"x/{name}"} for n, name in enumerate(("deep/b.png", "nothing.png", "a.jpg"))]
    categories = [{"id": 1, "name": "dirt"}, {"id": 2, "name": "cell"}]
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"images": rows, "categories": categories, "annotations": []}))
    written = convert(open_items(str(folder), images=images), tmp_path / "r.json", "coco-results", ids=truth)
    found = json.loads((tmp_path / "r.json").read_text())
    assert written.segments == len(found) == 6
    things = [(image, s) for image, n in ((42, 0), (40, 1)) for s in drawn(n) if s.category.is_thing]
    assert [(row["image_id"], row["category_id"], row["score"]) for row in found] == [
        (image, 2 if s.category == CELL else 1, s.score) for image, s in things
    ]
    truth.write_text(json.dumps({"images": rows, "categories": categories[:1], "annotations": []}))
    with pytest.raises(UpsegError, match="there is no class cell"):
        convert(open_items(str(folder), images=images), tmp_path / "s.json", "coco-results", ids=truth)
    assert not (tmp_path / "s.json").exists()


def test_each_image_in_one_of_upsegs_formats(results, tmp_path) -> None:
    folder, images = results
    convert(open_items(str(folder)), tmp_path / "svg", "svg")
    assert Segmentation.load(tmp_path / "svg" / "deep" / "b.svg") == drawn(1)
    convert(open_items(str(folder), images=images), tmp_path / "pictures", "overlay")
    assert (tmp_path / "pictures" / "deep" / "b.overlay.png").is_file()
    with pytest.raises(UpsegError, match="--images"):
        convert(open_items(str(folder)), tmp_path / "more", "overlay")


def test_what_cannot_be_done_is_said(results, tmp_path) -> None:
    folder, images = results
    items = open_items(str(folder))
    for layout, reason in (
        ("yolo", "--images"),
        ("nothing", "there is no layout 'nothing'"),
        ("depth", "needs the depth"),
    ):
        with pytest.raises(UpsegError, match=reason):
            convert(items, tmp_path / "out", layout)
    with pytest.raises(UpsegError, match="the layout coco has no option ids; it has split"):
        convert(items, tmp_path / "out", "coco", ids=1)
    with pytest.raises(UpsegError, match="is there already"):
        convert(items, images, "labelme")
    with pytest.raises(UpsegError, match="leave --images out"):
        open_items(f"folder:{tmp_path}", images=images)
    with pytest.raises(UpsegError, match="has no split"):
        open_items(str(folder), split="train")
    dirty = Segmentation.from_labels(np.array([[1]]), categories={1: DIRT})
    dirty.save(tmp_path / "colon" / "a.png")
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(tmp_path / "colon.png")
    (tmp_path / "one").mkdir()
    (tmp_path / "colon.png").rename(tmp_path / "one" / "a.png")
    with pytest.raises(ValueError, match="no colon"):
        convert(open_items(str(tmp_path / "colon"), images=tmp_path / "one"), tmp_path / "out2", "cvat")


def test_damaged_and_missing_ones_are_named_and_the_others_written(results, tmp_path) -> None:
    folder, images = results
    (folder / "a.tif").write_bytes(b"damaged")
    (folder / "deep" / "nothing.tif").unlink()
    written: Written = convert(open_items(str(folder), images=images), tmp_path / "out", "coco")
    assert written.images == 1
    assert len(written.problems) == 2
    assert any("nothing.png has no result" in problem for problem in written.problems)
    assert any("a.tif" in problem for problem in written.problems)


def test_nothing_is_a_mistake(tmp_path) -> None:
    (tmp_path / "a.tif").write_bytes(b"damaged")
    with pytest.raises(UpsegError, match=r"nothing was converted: .*a\.tif"):
        convert(open_items(str(tmp_path)), tmp_path / "out.json", "coco-results")


def test_supervision_reads_yolo_and_coco(results, tmp_path) -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    folder, images = results
    for layout in ("yolo", "coco"):
        convert(open_items(str(folder), images=images), tmp_path / layout, layout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coco = supervision.DetectionDataset.from_coco(
            str(tmp_path / "coco" / "images" / "train"),
            str(tmp_path / "coco" / "annotations" / "instances_train.json"),
            force_masks=True,
        )
        yolo = supervision.DetectionDataset.from_yolo(
            *(str(tmp_path / "yolo" / part) for part in ("images/train", "labels/train", "data.yaml")), force_masks=True
        )
    masks = {Path(path).name: detections.mask for path, _, detections in coco}
    assert {mask.tobytes() for mask in masks["a.jpg"]} == {
        drawn(0).mask(s.id).tobytes() for s in drawn(0) if s.category.is_thing
    }
    assert sorted(len(detections) for _, _, detections in yolo) == [0, 3, 3] or len(yolo) == 1


def test_label_studios_own_decoder(results, tmp_path) -> None:
    brush = pytest.importorskip("label_studio_converter.brush", reason="label-studio-converter is not installed")
    folder, _ = results
    convert(open_items(str(folder)), tmp_path / "tasks.json", "label-studio")
    first = json.loads((tmp_path / "tasks.json").read_text())[0]
    for region, segment in zip(first["annotations"][0]["result"], drawn(0), strict=True):
        pixels = brush.decode_rle(region["value"]["rle"]).reshape(30, 41, 4)
        assert np.array_equal(pixels[..., 3] > 0, drawn(0).mask(segment.id))


@pytest.mark.parametrize(("layout", "format_name"), [("cvat", "voc_segmentation"), ("coco-panoptic", "coco_panoptic")])
def test_datumaro_reads_it(layout, format_name, results, tmp_path) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    folder, images = results
    convert(open_items(str(folder), images=images), tmp_path / layout, layout)
    found = {
        item.id: len(item.annotations) for item in datumaro.Dataset.import_from(str(tmp_path / layout), format_name)
    }
    assert found["a"] == len([s for s in drawn(0) if s.category.is_thing or layout != "coco"])
