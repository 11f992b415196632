from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from tests.data.sources.trees import coco_tables, draw_bsds500, numbers, write_cut_image, write_image, write_json
from tests.evaluation.predicted import CASES, predict, predict_depth
from upseg.commands.evaluate import evaluate
from upseg.errors import DataError
from upseg.evaluation.protocols import PROTOCOLS
from upseg.segmentation import Category, Segmentation

APP = typer.Typer()
APP.command()(evaluate)
PANOPTIC = next(case for case in CASES if case.protocol == "coco-panoptic")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def error_of(*arguments: object) -> str:
    """The message that the command line shows a user."""
    result = run(*arguments)
    assert isinstance(result.exception, DataError), result.output
    return str(result.exception)


@pytest.fixture
def flawed(tmp_path: Path) -> list[object]:
    """The arguments that evaluate a flawed prediction of two images, the first of which has the flaw."""
    predict(PANOPTIC, tmp_path / "truth", tmp_path / "predicted", perfect=False)
    return ["coco-panoptic", "-p", tmp_path / "predicted", "--truth", f"coco-panoptic:{tmp_path / 'truth'}"]


def test_a_table_and_the_rules_are_printed(flawed: list[object]) -> None:
    result = run(*flawed)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if " pq " in line)
    assert row.replace("│", " ").split() == ["pq", "0.9167"]
    assert "coco-panoptic, 2 of 2 images" in result.stdout
    rules = [line for line in result.stdout.splitlines() if line.startswith("rules: ")]
    assert rules == [f"rules: {PROTOCOLS['coco-panoptic'].rules}"]
    assert result.stderr == ""


def test_json_is_written_and_printed(flawed: list[object], tmp_path: Path) -> None:
    result = run(*flawed, "--json", "--output", tmp_path / "deep" / "report.json")
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "deep" / "report.json").read_text())
    assert report["scores"]["pq"] == pytest.approx(11 / 12)
    assert (report["images"], report["missing"], report["extra"], report["problems"]) == (2, [], [], [])
    assert {row["name"]: row["pq"] for row in report["per_class"]} == pytest.approx({"person": 1, "sky": 5 / 6})


def test_a_report_says_what_changed_over_a_named_one(flawed: list[object], tmp_path: Path) -> None:
    baseline = tmp_path / "first.json"
    run(*flawed, "--output", baseline)
    earlier = json.loads(baseline.read_text())
    earlier["scores"]["pq"] /= 2
    baseline.write_text(json.dumps(earlier))
    result = run(*flawed, "--baseline", baseline)
    assert "over first: pq +100.0 %" in result.stdout
    assert json.loads(run(*flawed, "--baseline", baseline, "--json").stdout)["baseline"]["report"] == "first"
    baseline.write_text(json.dumps({**earlier, "protocol": "cells"}))
    assert "is a report of cells" in str(run(*flawed, "--baseline", baseline).exception)


def test_images_are_listed_worst_first_and_drawn(flawed: list[object], tmp_path: Path) -> None:
    table, picture = tmp_path / "images.csv", tmp_path / "worst.jpg"
    result = run(*flawed, "--per-image", table, "--worst", 1, "--picture", picture)
    assert result.exit_code == 0, result.output
    assert f"-> {table}" in result.stdout
    assert f"-> {picture}" in result.stdout
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["000000000001", "000000000002"]
    assert float(rows[0]["pq"]) == pytest.approx((2 / 3 + 1) / 2)
    assert float(rows[1]["pq"]) == 1
    assert rows[1]["pq_things"] == ""  # a crowd alone is nothing to find
    with Image.open(picture) as one:
        shape = one.size
    run(*flawed, "--worst", 2, "--picture", picture)
    with Image.open(picture) as both:
        assert both.size[1] == 2 * shape[1]


def test_the_worst_depth_is_drawn(tmp_path: Path) -> None:
    predict_depth(tmp_path / "truth", tmp_path / "predicted", 2.0)
    arguments = ["nyu-depth", "-p", tmp_path / "predicted", "-t", f"nyuv2:{tmp_path / 'truth'}"]
    result = run(*arguments, "--worst", 1, "--picture", tmp_path / "worst.png")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "worst.png") as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 3
    assert "abs_rel" in result.stdout
    assert run(*arguments, "--depth-scale", 2000, "--json").exit_code == 0


def test_missing_and_extra_predictions_are_named_and_the_exit_code_tells(flawed: list[object], tmp_path: Path) -> None:
    predicted = tmp_path / "predicted"
    (predicted / "000000000001.png").rename(predicted / "000000000009.png")
    result = run(*flawed, "--output", tmp_path / "report.json")
    assert result.exit_code == 1
    assert "coco-panoptic, 1 of 2 images" in result.stdout
    lines = result.stderr.splitlines()
    assert lines[lines.index("1 images without a prediction, left out of the scores:") + 1] == "  000000000001"
    title = "1 predictions without ground truth, left out of the scores:"
    assert lines[lines.index(title) + 1] == f"  {predicted / '000000000009.png'}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["missing"] == ["000000000001"]
    assert report["scores"]["pq"] == 1
    quiet = run(*flawed, "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (1, "")
    assert "000000000009" in quiet.stderr


@pytest.mark.parametrize("damage", ["damaged prediction", "another size", "unknown class", "damaged ground truth"])
def test_what_cannot_be_used_is_named(damage: str, flawed: list[object], tmp_path: Path) -> None:
    path = tmp_path / "predicted" / "000000000001.png"
    if damage == "damaged prediction":
        path.write_bytes(b"nothing of the kind")
    elif damage == "another size":
        Segmentation.from_labels(np.zeros((3, 4), int)).save(path)
    elif damage == "unknown class":
        segmentation = Segmentation.load(path)
        categories = {segment.id: segment.category for segment in segmentation}
        strange = {number: type(category)(7, "fish") for number, category in categories.items()}
        Segmentation.from_labels(segmentation.labels, categories=strange).save(path)
    else:
        path = tmp_path / "truth" / "annotations" / "panoptic_train2017" / "000000000001.png"
        path.write_bytes(b"nothing of the kind")
    result = run(*flawed, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["images"] == 1
    assert report["scores"]["pq"] == 1
    assert [str(path) in problem for problem in report["problems"]] == [True]
    assert damage != "another size" or "expected 6 x 8 pixels" in report["problems"][0]
    assert str(path) in result.stderr


def test_many_names_are_cut_short(tmp_path: Path) -> None:
    draw_bsds500(tmp_path / "truth")
    for name in ("101085", "3096", *(f"old{number}" for number in range(25))):
        Segmentation.from_labels(np.ones((6, 8), int)).save(tmp_path / "predicted" / f"{name}.png")
    result = run("bsds500", "-p", tmp_path / "predicted", "-t", f"bsds500:{tmp_path / 'truth'}", "--split", "val")
    assert result.exit_code == 1
    assert "  ... and 5 more (all of them with --output or --json)" in result.stderr


def test_wrong_usage_is_told(flawed: list[object], tmp_path: Path) -> None:
    protocol, *others = flawed
    assert "there is no protocol 'coco'; there are bsds500" in error_of("coco", *others)
    message = error_of(protocol, "-p", tmp_path / "predicted", "-t", tmp_path.name)
    assert message.startswith("--truth must be DATASET:PATH")
    assert "there is no data set 'coco'" in error_of(protocol, "-p", tmp_path, "-t", "coco:x")
    assert "must end in .png or .jpg" in error_of(*flawed, "--worst", 1, "--picture", "worst.gif")
    assert "should be a folder with predictions" in error_of(protocol, "-p", tmp_path / "no", *others[2:])
    assert "depth scale must be more than 0" in error_of(*flawed, "--depth-scale", 0)
    assert run(*flawed, "--worst", 0).exit_code == 2


def test_options_of_the_data_set_and_a_choice_of_images(flawed: list[object], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("000000000002\n")
    result = run(*flawed, "--images", tmp_path / "names.txt", "--json")
    report = json.loads(result.stdout)
    assert (report["images"], report["scores"]["pq"], report["extra"], result.exit_code) == (1, 1, [], 0)
    assert "1 of 1 images" in run(*flawed, "--images", tmp_path / "names.txt").stdout
    (tmp_path / "names.txt").write_text("000000000003\n")
    assert "there is no sample named '000000000003'" in error_of(*flawed, "--images", tmp_path / "names.txt")
    assert "colour" in error_of(*flawed, "--set", "colour=red")


def test_a_damaged_image_stops_only_the_picture(flawed: list[object], tmp_path: Path) -> None:
    write_cut_image(tmp_path / "truth" / "train2017" / "000000000001.jpg")
    assert run(*flawed).exit_code == 0
    result = run(*flawed, "--per-image", tmp_path / "scores.csv", "--worst", 1, "--picture", tmp_path / "worst.png")
    assert isinstance(result.exception, DataError)
    assert "000000000001.jpg" in str(result.exception)
    assert "2 of 2 images" in result.stdout
    assert (tmp_path / "scores.csv").exists()
    assert not (tmp_path / "worst.png").exists()


def test_the_help_names_all_protocols() -> None:
    text = " ".join(run("--help").output.replace("│", " ").split())
    assert all(name in text for name in PROTOCOLS)


def coco_truth(root: Path, *rows: dict) -> list[object]:
    """Ground truth with these annotations, and a prediction of the first one's pixels."""
    write_image(root / "truth" / "images" / "a.png")
    tables = coco_tables(["a.png"])
    write_json(
        root / "truth" / "file.json", {**tables, "annotations": [{**tables["annotations"][0], **r} for r in rows]}
    )
    prediction = Segmentation.from_labels(numbers(1, 0), categories={1: Category(17, "cat")})
    prediction.save(root / "predicted" / "a.json")
    return ["-p", root / "predicted", "--truth", f"folder:{root / 'truth'}"]


@pytest.mark.parametrize("protocol", ["cells", "coco-instances", "voc-instances", "entity"])
def test_a_score_over_nothing_is_a_problem(protocol: str, tmp_path: Path) -> None:
    arguments = coco_truth(tmp_path, {"iscrowd": 1})
    result = run(protocol, *arguments)
    assert result.exit_code == 1
    assert f"cannot be computed: in 1 images {protocol} finds nothing to count" in result.stderr


def test_what_is_left_out_of_the_truth_is_counted_and_the_rest_measured(tmp_path: Path) -> None:
    arguments = coco_truth(tmp_path, {}, {"id": 9, "segmentation": [], "bbox": [0, 0, 2, 2]})
    for protocol in ("cells", "coco-instances"):
        result = run(protocol, *arguments)
        assert result.exit_code == 0, result.output
        assert "left out of the ground truth: 1 x annotation is only a box" in result.stderr
        report = json.loads(run(protocol, *arguments, "--json").stdout)
        assert report["scores"]["ap"] == pytest.approx(1)
        assert report["left_out"] == {"annotation is only a box": 1}


def test_a_class_that_the_truth_has_not_is_named(tmp_path: Path) -> None:
    arguments = coco_truth(tmp_path, {})
    other = Segmentation.from_labels(numbers(1, 0), categories={1: Category(7, "dog")})
    other.save(tmp_path / "predicted" / "a.json")
    result = run("coco-instances", *arguments)
    assert result.exit_code == 1
    assert "a.json does not fit the ground truth of a: it has the category 7" in result.stderr
