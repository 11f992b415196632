import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from upseg.data.sources import open_dataset
from upseg.errors import DataError
from upseg.evaluation.run import evaluate
from upseg.formats.panoptic import ids_to_colours
from upseg.functional.runs import encode_label_map
from upseg.segmentation import Category, Segmentation

SHAPE = (60, 80)
CAT, SKY = Category(3, "cat"), Category(7, "sky", is_thing=False)


def mask(row: int, column: int, size: int) -> dict[str, Any]:
    labels = np.zeros(SHAPE, np.int32)
    labels[row : row + size, column : column + size] = 1
    return {"size": list(SHAPE), "counts": encode_label_map(labels)[0]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images with overlapping cats as a plain folder with one COCO file; the third has none."""
    tmp_path = tmp_path / "data"
    (tmp_path / "images").mkdir(parents=True)
    names = ["a.png", "sub/b.png", "c.png"]
    (tmp_path / "images" / "sub").mkdir()
    for name in names:
        Image.new("RGB", SHAPE[::-1]).save(tmp_path / "images" / name)
    size = {"height": SHAPE[0], "width": SHAPE[1]}
    images = [{"id": 10 * (i + 1), "file_name": name, **size} for i, name in enumerate(names)]
    places = [(10, 5, 5, 30), (10, 20, 20, 30), (20, 0, 0, 40), (20, 25, 30, 30)]
    annotations = [
        {"id": i, "image_id": image, "category_id": 3, "iscrowd": 0, "area": s * s, "segmentation": mask(y, x, s)}
        for i, (image, y, x, s) in enumerate(places, start=1)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "cat", "isthing": 1}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path


def results() -> list[dict[str, Any]]:
    """Detections that overlap each other much: a label map could not hold them."""
    random = np.random.default_rng(0)
    places = [(10, 5, 5, 30), (10, 6, 6, 30), (10, 20, 22, 30), (20, 1, 1, 40), (20, 25, 30, 28), (20, 3, 3, 36)]
    return [
        {"image_id": i, "category_id": 3, "segmentation": mask(y, x, s), "score": float(random.random())}
        for i, y, x, s in places
    ]


def pycocotools_ap(truth: Path, found: Path) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(truth))
        evaluation = COCOeval(reference, reference.loadRes(str(found)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:3]]


def test_overlapping_masks_of_a_results_list_count_whole(folder, tmp_path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results()))
    found = evaluate("coco-instances", path, open_dataset("folder", folder))
    expected = pycocotools_ap(folder / "instances.json", path)
    assert [found.scores[name] for name in ("ap", "ap50", "ap75")] == pytest.approx(expected, abs=1e-6)
    assert 0 < expected[0] < 1
    assert found.images == 3  # in the third nothing was found, which is a prediction
    assert found.is_complete


def test_polygons_are_masks_too(folder, tmp_path) -> None:
    rows = [{**row, "segmentation": [[5, 5, 35, 5, 35, 35, 5, 35]]} for row in results()[:1]]
    (tmp_path / "r.json").write_text(json.dumps(rows))
    scores = evaluate("coco-instances", tmp_path / "r.json", open_dataset("folder", folder)).scores
    (tmp_path / "r.json").write_text(json.dumps(results()[:1]))
    again = evaluate("coco-instances", tmp_path / "r.json", open_dataset("folder", folder)).scores
    assert again == pytest.approx(scores, nan_ok=True)


def test_protocols_that_look_at_pixels_see_the_higher_score_on_top(folder, tmp_path) -> None:
    rows = [{**row, "score": score} for row, score in zip(results()[:3:2], (0.9, 0.4), strict=True)]
    (tmp_path / "r.json").write_text(json.dumps(rows))
    found = evaluate("entity", tmp_path / "r.json", open_dataset("folder", folder), rank=True)
    [first] = [image for image in found.ranking if image.name == "a"]
    drawn = first.prediction.read().painted(SHAPE)
    assert drawn[1].score == 0.9
    assert drawn[1].area == 900  # whole
    assert drawn[2].area < 900


def test_instances_with_a_table_of_images_are_matched_by_name(folder, tmp_path) -> None:
    content = json.loads((folder / "instances.json").read_text())
    for image in content["images"]:
        image["file_name"] = "C:\\data\\" + image["file_name"].replace("/", "\\")
        image["id"] += 1
    for row in content["annotations"]:
        row["image_id"] += 1
    (tmp_path / "p.json").write_text(json.dumps(content))
    found = evaluate("coco-instances", tmp_path / "p.json", open_dataset("folder", folder))
    assert found.scores["ap"] == pytest.approx(1)


def test_a_model_is_measured_without_files(folder) -> None:
    class Finds:
        def segment(self, image: np.ndarray) -> Segmentation:
            labels = np.zeros(image.shape[:2], np.int32)
            labels[20:50, 20:50] = 1
            return Segmentation.from_labels(labels, categories={1: CAT}, scores={1: 0.5})

    found = evaluate("coco-instances", Finds(), open_dataset("folder", folder))
    assert found.images == 3
    assert found.scores["ap50"] > 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"image_id": 99, "category_id": 3, "score": 1}], "none of its"),
        ({"annotations": 3}, "must be a JSON list"),
        ("text", "predictions must be a JSON object"),
    ],
)
def test_what_is_no_set_of_predictions(folder, tmp_path, rows, message) -> None:
    (tmp_path / "r.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message):
        evaluate("coco-instances", tmp_path / "r.json", open_dataset("folder", folder))


@pytest.mark.parametrize(
    ("change", "message"), [({"category_id": 8}, "unknown category 8"), ({"segmentation": []}, "only a box")]
)
def test_what_is_wrong_with_one_image_is_named(folder, tmp_path, change, message) -> None:
    rows = results()
    rows[0] |= change
    (tmp_path / "r.json").write_text(json.dumps(rows))
    found = evaluate("coco-instances", tmp_path / "r.json", open_dataset("folder", folder))
    assert found.images == 2
    assert any(message in problem for problem in found.problems)


def test_panoptic_json_and_its_folder_give_the_published_figure(tmp_path) -> None:
    if "UPSEG_DATA" not in os.environ:
        pytest.skip("UPSEG_DATA names no folder with real data")
    data = Path(os.environ["UPSEG_DATA"]) / "coco-panoptic-100"
    truth = json.loads((data / "annotations" / "panoptic_train2017.json").read_text())
    (tmp_path / "shifted").mkdir()
    for row in truth["annotations"]:
        pixels = np.asarray(Image.open(data / "annotations" / "panoptic_train2017" / row["file_name"]))
        Image.fromarray(np.roll(pixels, (4, 4), axis=(0, 1))).save(tmp_path / "shifted" / row["file_name"])
    (tmp_path / "shifted.json").write_text(json.dumps({"annotations": truth["annotations"]}))
    found = evaluate("coco-panoptic", tmp_path / "shifted.json", open_dataset("coco-panoptic", data, split="train"))
    assert [found.scores[name] for name in ("pq", "sq", "rq")] == pytest.approx(
        [0.631886, 0.751517, 0.791286], abs=1e-6
    )


def test_panoptic_pngs_beside_the_file(tmp_path, folder) -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[:30], labels[30:] = 300, 5
    Image.fromarray(ids_to_colours(labels)).save(tmp_path / "a.png")
    segments = [{"id": 300, "category_id": 3}, {"id": 5, "category_id": 3}]
    content = {"annotations": [{"image_id": 10, "file_name": "a.png", "segments_info": segments}]}
    (tmp_path / "p.json").write_text(json.dumps(content))
    found = evaluate("entity", tmp_path / "p.json", open_dataset("folder", folder))
    assert found.images == 1
    assert len(found.missing) == 2
