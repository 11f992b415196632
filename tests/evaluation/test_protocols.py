"""Each protocol on a tiny data set: perfect predictions, and flawed ones whose scores are worked out by hand."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.sources import trees
from tests.evaluation.predicted import CASES, SHAPE, Case, name_of, predict, predict_depth
from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.errors import DataError
from upseg.evaluation.protocols import PROTOCOLS
from upseg.evaluation.run import evaluate
from upseg.functional.runs import encode_label_map
from upseg.metrics.panoptic_quality import PanopticQuality
from upseg.segmentation import Category, Segmentation

EVERY = pytest.mark.parametrize("case", CASES, ids=name_of)


def case_of(protocol: str) -> Case:
    return next(case for case in CASES if case.protocol == protocol)


def test_every_protocol_is_tried_here() -> None:
    assert [case.protocol for case in CASES] + ["nyu-depth"] == list(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_the_rules_are_one_line_about_matching_void_and_crowds(protocol) -> None:
    assert "\n" not in protocol.rules
    assert protocol.needs_depth or "crowd" in protocol.rules
    assert protocol.needs_depth or any(word in protocol.rules for word in ("void", "unlabelled"))


def test_the_documentation_has_the_protocols_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    table = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert table == [[f"`{p.name}`", p.description, f"`{p.score}`", p.rules] for p in PROTOCOLS.values()]


@EVERY
def test_perfect_predictions_have_perfect_scores(case: Case, tmp_path: Path) -> None:
    dataset = predict(case, tmp_path / "truth", tmp_path / "predicted", perfect=True)
    result = evaluate(case.protocol, tmp_path / "predicted", dataset)
    assert {name: result.scores[name] for name in case.perfect} == pytest.approx(case.perfect, abs=1e-12)
    assert result.images == 2
    assert result.is_complete
    assert PROTOCOLS[case.protocol].score in result.scores
    if case.protocol in ("coco-panoptic", "voc-instances", "coco-stuff27"):
        assert all(
            value == 1
            for row in result.per_class
            for key, value in row.items()
            if key not in ("id", "name", "is_thing")
        )
        assert result.per_class


@EVERY
def test_flawed_predictions_have_the_scores_worked_out_by_hand(case: Case, tmp_path: Path) -> None:
    dataset = predict(case, tmp_path / "truth", tmp_path / "predicted", perfect=False)
    result = evaluate(case.protocol, tmp_path / "predicted", dataset, rank=True)
    assert {name: result.scores[name] for name in case.expected} == pytest.approx(case.expected, abs=1e-9)
    alone = [image.scores[PROTOCOLS[case.protocol].score] for image in result.ranking]
    assert alone == sorted(alone)
    assert len(alone) == 2
    assert json.loads(json.dumps(result.as_json(), allow_nan=False))["protocol"] == case.protocol


def test_depth(tmp_path: Path) -> None:
    dataset = predict_depth(tmp_path / "truth", tmp_path / "right")
    right = evaluate("nyu-depth", tmp_path / "right", dataset).scores
    assert right["rmse"] == pytest.approx(0, abs=1e-6)
    assert right["delta1"] == 1
    predict_depth(tmp_path / "truth", tmp_path / "double", 2.0)
    double = evaluate("nyu-depth", tmp_path / "double", dataset).scores
    # 2.5 m on 18 pixels and 4 m on 12, each taken for twice as much
    expected = {"rmse": ((18 * 2.5**2 + 12 * 4**2) / 30) ** 0.5, "abs_rel": 1.0, "delta1": 0.0, "delta3": 0.0}
    assert {name: double[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert evaluate("nyu-depth", tmp_path / "double", dataset, depth_scale=2000.0).scores["abs_rel"] < 1e-6


def test_images_are_ranked_by_depth_with_the_largest_error_first(tmp_path: Path) -> None:
    dataset = predict_depth(tmp_path / "truth", tmp_path / "predicted")
    np.save(tmp_path / "predicted" / "rgb" / "rgb_00050.npy", np.full((6, 8), 9.0))
    ranking = evaluate("nyu-depth", tmp_path / "predicted", dataset, rank=True).ranking
    assert [image.name for image in ranking] == ["rgb/rgb_00050", "rgb/rgb_00000"]
    assert ranking[0].prediction.suffix == ".npy"


def test_the_crop_of_nyu_applies_to_images_of_its_size() -> None:
    depth = np.full((480, 640), 2.0, np.float32)
    predicted = np.full((480, 640), 4.0, np.float32)
    predicted[45:471, 41:601] = 2.0
    sample = Sample(np.zeros((480, 640, 3), np.float32), np.zeros((480, 640), np.int32), (), depth)
    protocol = PROTOCOLS["nyu-depth"]
    totals = protocol.accumulators(())
    protocol.update(totals, 0, sample, predicted)
    assert protocol.scores(totals)["rmse"] == 0
    predicted[470, 600] = 4.0
    protocol.update(totals, 1, sample, predicted)
    assert protocol.scores(totals)["rmse"] > 0


def test_labels_are_assigned_once_for_all_images(tmp_path: Path) -> None:
    """A label that means another class in the second image would be right only with an assignment for each image."""
    case = case_of("coco-stuff27")
    dataset = predict(case, tmp_path / "truth", tmp_path / "own", perfect=True)
    names = (Category(0, "a"), Category(7, "b"))
    for number, sample in enumerate(dataset):
        swapped = {k: names[(k + number) % 2] for k in sample.categories}
        labels = Segmentation.from_labels(sample.segment_map, categories=swapped)
        labels.save(tmp_path / "shared" / f"{sample.name}.png")
    assert evaluate("coco-stuff27", tmp_path / "own", dataset).scores["pixel_accuracy"] == 1
    assert evaluate("coco-stuff27", tmp_path / "shared", dataset).scores["pixel_accuracy"] == 0.5


def test_labels_of_each_image_alone_are_refused_with_the_reason(tmp_path: Path) -> None:
    case = replace(case_of("coco-stuff27"), classes=False)
    dataset = predict(case, tmp_path / "truth", tmp_path / "predicted", perfect=True)
    result = evaluate("coco-stuff27", tmp_path / "predicted", dataset)
    assert result.images == 0
    assert "one assignment for all images" in result.problems[0]
    assert "upseg train -c dynaseg/coco-stuff27" in result.problems[0]


@pytest.mark.parametrize("protocol", ["coco-panoptic", "coco-instances", "voc-instances"])
def test_predictions_without_classes_are_told_so(protocol: str, tmp_path: Path) -> None:
    case = replace(case_of(protocol), classes=False)
    dataset = predict(case, tmp_path / "truth", tmp_path / "predicted", perfect=True)
    result = evaluate(protocol, tmp_path / "predicted", dataset)
    assert result.images == 0
    assert dict(result.scores) == {}
    assert len(result.problems) == 2
    assert "needs a class for each predicted segment" in result.problems[0]
    assert dataset.names[0] in result.problems[0]


def test_ground_truth_without_classes_or_depth_is_told_so(tmp_path: Path) -> None:
    dataset = predict(case_of("bsds500"), tmp_path / "truth", tmp_path / "predicted", perfect=True)
    with pytest.raises(DataError, match="needs ground truth with classes"):
        evaluate("coco-panoptic", tmp_path / "predicted", dataset)
    for name in dataset.names:
        np.save(tmp_path / "predicted" / f"{name}.npy", np.ones((6, 8)))
    assert "the ground truth has no depth" in evaluate("nyu-depth", tmp_path / "predicted", dataset).problems[0]
    with pytest.raises(DataError, match="there is no protocol 'iou'; there are bsds500, "):
        evaluate("iou", tmp_path / "predicted", dataset)


def test_predicted_stuff_is_no_detection(tmp_path: Path) -> None:
    """The background of VOC is predicted here: it must be neither a false positive nor a class of its own."""
    dataset = predict(case_of("voc-instances"), tmp_path / "truth", tmp_path / "predicted", perfect=True)
    predicted = Segmentation.load(tmp_path / "predicted" / f"{dataset.names[0]}.png")
    assert any(segment.category and not segment.category.is_thing for segment in predicted)
    per_class = evaluate("voc-instances", tmp_path / "predicted", dataset).per_class
    assert [row["name"] for row in per_class] == ["person"]


def test_predicted_stuff_that_the_truth_does_not_know_is_left_out(tmp_path: Path) -> None:
    dataset = predict(case_of("coco-instances"), tmp_path / "truth", tmp_path / "predicted", perfect=True)
    sky = Category(999, "sky", is_thing=False)
    for sample in dataset:
        everywhere = sample.segment_map + 1  # 1 is what was unlabelled
        categories = {1: sky, **{k + 1: category for k, category in sample.categories.items()}}
        Segmentation.from_labels(everywhere, categories=categories).save(tmp_path / "stuff" / f"{sample.name}.png")
    for protocol in ("coco-instances", "coco-agnostic"):
        result = evaluate(protocol, tmp_path / "stuff", dataset)
        assert (result.problems, result.scores["ap"]) == ((), 1)


def test_without_classes_a_wrong_class_or_none_is_right(tmp_path: Path) -> None:
    dataset = predict(case_of("coco-instances"), tmp_path / "truth", tmp_path / "predicted", perfect=True)
    for sample in dataset:
        for folder, category in (("wrong", Category(999, "cow")), ("none", None)):
            categories = {} if category is None else dict.fromkeys(sample.categories, category)
            found = Segmentation.from_labels(sample.segment_map, categories=categories)
            found.save(tmp_path / folder / f"{sample.name}.png")
    for folder in ("wrong", "none"):
        assert dict(evaluate("coco-agnostic", tmp_path / folder, dataset).scores) == {"ap": 1, "ap50": 1, "ap75": 1}


def test_masks_that_overlap_count_whole(tmp_path: Path) -> None:
    """A cat of 48 pixels with a car of 12 before it: a cat without the 12 has an IoU of 36/48."""
    names = ["1.jpg", "2.jpg"]
    tables = trees.coco_tables(names)
    whole = trees.run_lengths(np.ones((trees.HEIGHT, trees.WIDTH), bool))
    for annotation in tables["annotations"]:
        annotation["iscrowd"] = 0
        if annotation["category_id"] == 17:
            annotation["segmentation"] = whole
    for name in names:
        trees.write_image(tmp_path / "val2017" / name)
    trees.write_json(tmp_path / "annotations" / "instances_val2017.json", tables)
    dataset = open_dataset("coco-instances", tmp_path)
    for sample in dataset:
        sample.to_segmentation().save(tmp_path / "predicted" / f"{sample.name}.png")
    result = evaluate("coco-instances", tmp_path / "predicted", dataset)
    # the car is right at all ten thresholds, the cat at 0.50, 0.55 ... 0.75
    assert result.scores["ap"] == pytest.approx((1 + 6 / 10) / 2)
    assert evaluate("coco-instances", tmp_path / "predicted", dataset, images=["1"]).images == 1


def test_masks_of_sa1b_count_whole_and_so_do_segments_with_their_parts(tmp_path: Path) -> None:
    """A mask over the whole image and one inside it: its part hides it in the label map, in the truth as predicted."""
    rows = [{"segmentation": trees.run_lengths(mask)} for mask in (np.ones(SHAPE, bool), trees.LEFT)]
    height, width = SHAPE
    trees.write_image(tmp_path / "sa_1.jpg")
    trees.write_json(tmp_path / "sa_1.json", {"image": {"height": height, "width": width}, "annotations": rows})
    dataset = open_dataset("sa-1b", tmp_path)
    labels = np.where(trees.LEFT, 2, 1)
    for name, parents in (("flat", {}), ("tree", {2: 1})):
        Segmentation.from_labels(labels, parents=parents).save(tmp_path / name / "sa_1.npz")
    rest = 1 - trees.LEFT.mean()
    assert evaluate("entity", tmp_path / "flat", dataset).scores["mean_iou"] == pytest.approx((rest + 1) / 2)
    assert evaluate("entity", tmp_path / "tree", dataset).scores["mean_iou"] == 1


@pytest.mark.skipif(not os.environ.get("UPSEG_DATA"), reason="UPSEG_DATA names no folder with real data")
def test_coco_panoptic_shifted_gives_what_the_metric_gives(tmp_path: Path) -> None:
    whole = open_dataset("coco-panoptic", Path(os.environ["UPSEG_DATA"]) / "coco-panoptic-100", decode_images=False)
    dataset = whole.subset(whole.names[:6])
    quality = PanopticQuality(dataset.categories)
    for sample in dataset:
        shifted = np.roll(sample.segment_map, (4, 4), axis=(0, 1))
        classes = {number: category.id for number, category in sample.categories.items()}
        quality.update(sample.segment_map, classes, shifted, classes, sample.crowds)
        prediction = Segmentation.from_labels(shifted, categories=sample.categories)
        prediction.save(tmp_path / f"{sample.name}.panoptic.json")
    result = evaluate("coco-panoptic", tmp_path, dataset)
    assert dict(result.scores) == pytest.approx(quality.compute(), abs=1e-12)
    assert 0 < result.scores["pq"] < 1


@pytest.mark.skipif(not os.environ.get("UPSEG_DATA"), reason="UPSEG_DATA names no folder with real data")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
def test_coco_instances_shifted_give_what_pycocotools_gives(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    root = Path(os.environ["UPSEG_DATA"]) / "coco-instances-mini"
    dataset = open_dataset("coco-instances", root, split="val", decode_images=False)
    results, images, rng = [], dataset.names[:8], np.random.default_rng(0)
    for index in range(len(images)):
        sample = dataset[index]
        shifted = np.roll(sample.segment_map, (3, 3), axis=(0, 1))
        ranks = {number: float(rng.random()) for number in sample.categories}  # all different, so that no tie matters
        prediction = Segmentation.from_labels(shifted, categories=sample.categories, scores=ranks)
        prediction.save(tmp_path / f"{sample.name}.png")
        for segment, text in zip(prediction, encode_label_map(prediction.labels), strict=True):
            results.append(
                {
                    "image_id": int(dataset.image_ids[index]),
                    "category_id": segment.category.id,
                    "segmentation": {"size": list(sample.shape), "counts": text},
                    "score": segment.score,
                }
            )
    reference = COCO(str(dataset.annotation_file))
    evaluation = COCOeval(reference, reference.loadRes(results), "segm")
    evaluation.params.imgIds = dataset.image_ids[: len(images)].tolist()
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    scores = evaluate("coco-instances", tmp_path, dataset, images=images).scores
    expected = dict(zip(("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"), evaluation.stats[:6], strict=True))
    assert dict(scores) == pytest.approx(expected, abs=1e-6)
    assert 0.1 < scores["ap"] < 0.95


def test_the_trees_are_as_the_hand_values_take_them() -> None:
    assert (trees.LEFT.sum(), trees.RIGHT.sum(), trees.HEIGHT * trees.WIDTH) == (18, 12, 48)
