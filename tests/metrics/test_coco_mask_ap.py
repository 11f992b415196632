from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.metrics.strategies import blobs
from tests.reference import metrics as reference
from upseg.metrics.coco_mask_ap import CocoMaskAP, _figures
from upseg.segmentation import Category

CLASSES = (Category(3, "dog"), Category(5, "cat"))
Image = tuple[int, np.ndarray, dict[int, int], np.ndarray, dict[int, int], dict[int, float], list[int]]


def draw(seed: int) -> Image:
    """A made-up image with a fair prediction of it, large enough for all three sizes of objects."""
    rng = np.random.default_rng(seed)
    truth = blobs(seed, 150, 170, 5)
    prediction = np.roll(truth, (int(rng.integers(0, 9)), int(rng.integers(0, 9))), axis=(0, 1))
    truth[truth == 5] = 0
    truth[5:20, 5:25], prediction[6:20, 5:25] = 9, 9
    truth_classes = {i: CLASSES[i % 2].id for i in reference.ids_of(truth)}
    prediction_classes = {i: CLASSES[(i + (rng.random() < 0.2)) % 2].id for i in reference.ids_of(prediction)}
    scores = {i: float(rng.random()) for i in prediction_classes}
    return seed, truth, truth_classes, prediction, prediction_classes, scores, [i for i in truth_classes if i == 4]


def encode(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def as_coco(images: list[Image]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth and results in COCO's form, mask by mask with pycocotools."""
    annotations, results = [], []
    for number, truth, truth_classes, prediction, prediction_classes, scores, crowds in images:
        for i, category in truth_classes.items():
            mask = truth == i
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": int(i in crowds),
                 "area": int(mask.sum()), "bbox": [int(v) for v in box], "segmentation": encode(mask)}
            )  # fmt: skip
        results += [
            {"image_id": number, "category_id": c, "segmentation": encode(prediction == i), "score": scores[i]}
            for i, c in prediction_classes.items()
        ]
    sizes = [{"id": number, "height": t.shape[0], "width": t.shape[1]} for number, t, *_ in images]
    categories = [{"id": c.id, "name": c.name} for c in CLASSES]
    return {"images": sizes, "categories": categories, "annotations": annotations}, results


def pycocotools_ap(truth: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    """AP, AP50, AP75, APs, APm, APl by the reference; it prints, and reports nothing as -1."""
    with contextlib.redirect_stdout(io.StringIO()):
        reference_truth = COCO()
        reference_truth.dataset = json.loads(json.dumps(truth))
        reference_truth.createIndex()
        evaluation = COCOeval(reference_truth, reference_truth.loadRes(json.loads(json.dumps(results))), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [value if value >= 0 else math.nan for value in evaluation.stats[:6].tolist()]


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_pycocotools(seed: int) -> None:
    images = [draw(10 * seed + k) for k in range(4)]
    truth, results = as_coco(images)
    expected = pycocotools_ap(truth, results)
    assert 0.1 < expected[0] < 0.95
    assert list(_figures(truth, results, 100).values()) == pytest.approx(expected, abs=1e-6, nan_ok=True)
    metric = CocoMaskAP(CLASSES)
    for image in images:
        metric.update(*image)
    assert list(metric.compute().values()) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_degenerate() -> None:
    labels = blobs(0, 40, 40, 4)
    table = dict.fromkeys(reference.ids_of(labels), 3)
    metric = CocoMaskAP(CLASSES)
    metric.update(1, labels, table, np.zeros_like(labels), {}, {})
    assert metric.compute()["ap"] == 0.0
    assert math.isnan(metric.compute()["ap_large"])
    perfect = CocoMaskAP(CLASSES)
    perfect.update(1, labels, table, labels, table, dict.fromkeys(table, 0.5))
    assert perfect.compute()["ap"] == pytest.approx(1.0)
    nothing = CocoMaskAP(CLASSES)
    nothing.update(1, np.zeros_like(labels), {}, labels, table, dict.fromkeys(table, 0.5))
    assert math.isnan(nothing.compute()["ap"])


def test_most_detections_per_image() -> None:
    labels = blobs(0, 40, 40, 4)
    table = dict.fromkeys(reference.ids_of(labels), 3)
    metric = CocoMaskAP(CLASSES, max_detections=2)
    metric.update(1, labels, table, labels, table, dict.fromkeys(table, 0.5))
    assert metric.compute()["ap"] == pytest.approx(np.floor(2 / len(table) * 100 + 1) / 101)


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input() -> None:
    truth, results = as_coco([draw(0)])
    with pytest.raises(ValueError, match=r"image_id must be in .* \[77\]"):
        _figures(truth, [{**results[0], "image_id": 77}], 100)
    with pytest.raises(ValueError, match=r"category_id must be in .* \[77\]"):
        _figures(truth, [{**results[0], "category_id": 77}], 100)
    with pytest.raises(ValueError, match="each result needs"):
        _figures(truth, [{"image_id": 0, "category_id": 3}], 100)
    labels = np.array([[1, 2]])
    with pytest.raises(ValueError, match=r"needs a score, but ids \[2\]"):
        CocoMaskAP(CLASSES).update(1, labels, {1: 3, 2: 3}, labels, {1: 3, 2: 3}, {1: 0.5})
    with pytest.raises(ValueError, match="same shape"):
        CocoMaskAP(CLASSES).update(1, labels, {1: 3, 2: 3}, labels.T, {1: 3, 2: 3}, {1: 0.5, 2: 0.1})


def test_known_figures(data_folder: Path) -> None:
    folder = data_folder / "metric-fixtures" / "coco-instances-100"
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    results = json.loads((folder / "instances_val2014_fakesegm100_results.json").read_text())
    found = _figures(truth, results, 100)
    assert [found[name] for name in ("ap", "ap50", "ap75")] == pytest.approx(
        [0.3195453, 0.5622884, 0.2989265], abs=1e-6
    )
    assert list(found.values()) == pytest.approx(pycocotools_ap(truth, results), abs=1e-6)
