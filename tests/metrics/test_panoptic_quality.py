from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchmetrics.functional.detection import panoptic_quality as torchmetrics_panoptic_quality

from tests.metrics.strategies import blobs, label_maps, sizes
from tests.reference import metrics as reference
from upseg.metrics.panoptic_quality import PanopticQuality, panoptic_counts
from upseg.segmentation import Category

CATEGORIES = (Category(1, "person"), Category(2, "car"), Category(9, "sky", is_thing=False))


def ones(labels: np.ndarray, classes: int, offset: int = 0) -> dict[int, int]:
    """A class for each id of a map."""
    return {i: (i + offset) % classes for i in reference.ids_of(labels)}


def test_hand_computed() -> None:
    truth = np.array([[1, 1, 1, 1, 2, 2, 3, 3, 3, 3]])
    prediction = np.array([[1, 1, 1, 0, 2, 2, 3, 3, 4, 4]])
    metric = PanopticQuality(CATEGORIES)
    metric.update(truth, {1: 1, 2: 1, 3: 9}, prediction, {1: 1, 2: 1, 3: 9, 4: 9})
    person, sky = (metric.per_class()[c] for c in (CATEGORIES[0], CATEGORIES[2]))
    assert person == pytest.approx({"pq": (3 / 4 + 1) / 2, "sq": 7 / 8, "rq": 1.0})
    assert sky == {"pq": 0.0, "sq": 0.0, "rq": 0.0}  # two halves match nothing
    assert CATEGORIES[1] not in metric.per_class()
    scores = metric.compute()
    assert (scores["pq"], scores["pq_things"], scores["pq_stuff"]) == pytest.approx((7 / 16, 7 / 8, 0.0))


def test_void_is_outside_the_union_and_excuses_predictions() -> None:
    truth = np.array([[1, 1, 0, 0, 0, 2, 2, 2, 2]])
    prediction = np.array([[1, 1, 1, 1, 0, 0, 0, 0, 0]])
    counts = panoptic_counts(truth, {1: 0, 2: 0}, prediction, {1: 0}, 1)
    assert counts.iou_sums.tolist() == [1.0]
    assert (counts.true_positives.tolist(), counts.false_negatives.tolist()) == ([1], [1])
    on_void = np.array([[0, 0, 5, 5, 5, 0, 0, 0, 0]])
    assert panoptic_counts(truth, {1: 0, 2: 0}, on_void, {5: 0}, 1).false_positives.tolist() == [0]
    half_on_void = np.array([[0, 5, 5, 0, 0, 0, 0, 0, 0]])
    assert panoptic_counts(truth, {1: 0, 2: 0}, half_on_void, {5: 0}, 1).false_positives.tolist() == [1]


def test_crowd_is_neither_missed_nor_matched_and_excuses_its_own_class() -> None:
    truth = np.array([[1, 1, 1, 1, 2, 2]])
    same, other = {1: 0}, {1: 1}
    prediction = np.array([[1, 1, 1, 1, 0, 0]])
    counts = panoptic_counts(truth, {1: 0, 2: 1}, prediction, same, 2, crowd_ids=[1])
    assert counts.true_positives.tolist() == [0, 0]
    assert counts.false_negatives.tolist() == [0, 1]
    assert counts.false_positives.tolist() == [0, 0]
    assert panoptic_counts(truth, {1: 0, 2: 1}, prediction, other, 2, crowd_ids=[1]).false_positives.tolist() == [0, 1]


@given(sizes.flatmap(lambda s: st.tuples(label_maps(s, 6), label_maps(s, 6))), st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=120, deadline=None)
def test_agrees_with_loop(maps: tuple[np.ndarray, np.ndarray], classes: int, offset: int) -> None:
    truth, prediction = maps
    truth_classes, prediction_classes = ones(truth, classes), ones(prediction, classes, offset)
    crowds = [i for i in truth_classes if i % 3 == 0]
    arguments = (truth, truth_classes, prediction, prediction_classes, classes, crowds)
    counts, expected = panoptic_counts(*arguments), reference.panoptic_counts(*arguments)
    np.testing.assert_array_equal(counts.true_positives, expected[0])
    np.testing.assert_array_equal(counts.false_positives, expected[1])
    np.testing.assert_array_equal(counts.false_negatives, expected[2])
    np.testing.assert_allclose(counts.iou_sums, expected[3], rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_torchmetrics_where_there_is_no_void(seed: int) -> None:
    truth, prediction = blobs(seed, 40, 50, 7) + 1, blobs(seed, 40, 50, 7) + 1
    prediction[:, 3:] = prediction[:, :-3]
    classes = {i: i % 2 for i in range(1, 9)}
    metric = PanopticQuality([Category(0, "a"), Category(1, "b")])
    table = [{i: classes[i] for i in reference.ids_of(m)} for m in (truth, prediction)]
    metric.update(truth, table[0], prediction, table[1])
    stacked = [torch.from_numpy(np.stack([m % 2, m], axis=-1)[None]) for m in (prediction, truth)]
    expected = torchmetrics_panoptic_quality(*stacked, things={0, 1}, stuffs=set())
    assert metric.compute()["pq"] == pytest.approx(float(expected), abs=1e-6)


def test_degenerate() -> None:
    truth = blobs(0, 20, 30, 4)
    table = dict.fromkeys(reference.ids_of(truth), 1)
    nothing = np.zeros_like(truth)
    metric = PanopticQuality(CATEGORIES)
    metric.update(nothing, {}, truth, table)  # all void: every prediction is excused
    assert math.isnan(metric.compute()["pq"])
    metric.update(truth, table, nothing, {})
    assert metric.compute()["pq"] == 0.0
    assert metric.compute()["rq"] == 0.0


def test_bad_input() -> None:
    labels = np.array([[1, 2]])
    with pytest.raises(ValueError, match=r"ids \[2\] of the map have no class"):
        panoptic_counts(labels, {1: 0}, labels, {1: 0, 2: 0}, 1)
    with pytest.raises(ValueError, match=r"ids \[7\] of the table have no pixel"):
        panoptic_counts(labels, {1: 0, 2: 0}, labels, {1: 0, 2: 0, 7: 0}, 1)
    with pytest.raises(ValueError, match=r"in 0\.\.0"):
        panoptic_counts(labels, {1: 0, 2: 1}, labels, {1: 0, 2: 0}, 1)
    with pytest.raises(ValueError, match="another data set"):
        PanopticQuality(CATEGORIES).update(labels, {1: 1, 2: 77}, labels, {1: 1, 2: 1})
    with pytest.raises(ValueError, match="distinct ids"):
        PanopticQuality([CATEGORIES[0], CATEGORIES[0]])


def ids_of_png(png: np.ndarray) -> np.ndarray:
    """COCO's segment ids: R + 256 G + 65536 B."""
    return png.astype(np.int64) @ np.array([1, 256, 65536])


COLOURS = {(0, 0, 255): 1, (255, 0, 0): 2, (0, 255, 0): 3, (255, 0, 255): 4, (0, 255, 255): 5, (255, 255, 0): 6}
PEOPLE = (47, 97, 133, 150, 174, 215, 244, 255)
TRUTH_CLASSES = {"bird": {92: 5, 176: 3, 255: 4}, "cat": {255: 6}, "team": {**dict.fromkeys(PEOPLE, 1), 198: 2}}


def fixture_maps(folder: Path, name: str) -> tuple[np.ndarray, dict[int, int], np.ndarray, dict[int, int]]:
    """Ground truth by grey value; prediction by pairs of class colour and grey value."""

    def read(stem: str, mode: str) -> np.ndarray:
        with Image.open(folder / f"{name}_{stem}.png") as image:
            return np.asarray(image.convert(mode)).astype(np.int64)

    truth = read("gt_instance" if name == "team" else "gt", "L")
    colours, instances = read("pred_class", "RGB"), read("pred_instance", "L")
    classes = np.zeros(truth.shape, np.int64)
    for colour, index in COLOURS.items():
        classes[(colours == colour).all(axis=-1)] = index
    prediction = np.where(classes > 0, classes * 256 + instances, 0)
    return truth, TRUTH_CLASSES[name], prediction, {i: i // 256 for i in reference.ids_of(prediction)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("team",), (0.62156284, 0.64664984, 0.9666667)), (("bird", "cat", "team"), (0.76855499, 0.7769174, 0.98888892))],
)
def test_known_figures_of_panoptic_pngs(
    data_folder: Path, names: tuple[str, ...], expected: tuple[float, float, float]
) -> None:
    metric = PanopticQuality([Category(i, str(i)) for i in range(1, 7)])
    for name in names:
        metric.update(*fixture_maps(data_folder / "metric-fixtures" / "panoptic-pngs", name))
    scores = metric.compute()
    assert [scores[name] for name in ("pq", "sq", "rq")] == pytest.approx(expected, abs=1e-6)


def test_panoptic_sample_against_itself_and_loop(data_folder: Path) -> None:
    folder = data_folder / "metric-fixtures" / "panoptic-sample"
    content = json.loads((folder / "panoptic_examples.json").read_text())
    categories = [Category(c["id"], c["name"], bool(c["isthing"])) for c in content["categories"]]
    perfect, classes = PanopticQuality(categories), {c.id: i for i, c in enumerate(categories)}
    for annotation in content["annotations"]:
        with Image.open(folder / "panoptic_examples" / annotation["file_name"]) as image:
            labels = ids_of_png(np.asarray(image.convert("RGB")))
        table = {segment["id"]: segment["category_id"] for segment in annotation["segments_info"]}
        crowds = [segment["id"] for segment in annotation["segments_info"] if segment["iscrowd"]]
        perfect.update(labels, table, labels, table, crowds)
        rolled, indices = np.roll(labels, 9, axis=0), {i: classes[c] for i, c in table.items()}
        counts = panoptic_counts(labels, indices, rolled, indices, len(classes), crowds)
        expected = reference.panoptic_counts(labels, indices, rolled, indices, len(classes), crowds)
        np.testing.assert_array_equal(counts.true_positives, expected[0])
        np.testing.assert_array_equal(counts.false_positives, expected[1])
        np.testing.assert_array_equal(counts.false_negatives, expected[2])
        np.testing.assert_allclose(counts.iou_sums, expected[3], rtol=1e-12)
    assert perfect.compute()["pq"] == 1.0
