import json
import sys
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from PIL import Image

from upseg.cli import main
from upseg.data.sources import open_dataset
from upseg.segmentation import Category, Segmentation


@pytest.fixture
def convert(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """`upseg convert` in a folder with two images and their results: exit code, standard output and standard error."""
    for name in ("a", "b"):
        labels = np.array([[1, 1, 0], [2, 2, 0]])
        categories = {1: Category(4, "cell"), 2: Category(5, "glass", is_thing=False)}
        Segmentation.from_labels(labels, categories=categories).save(tmp_path / "results" / f"{name}.png")
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "images" / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["upseg", "convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


def test_what_was_written_and_what_was_left_out_is_said(convert, tmp_path) -> None:
    code, out, err = convert("results", "--images", "images", "--to", "yolo", "-o", "out", "--set", "split=val")
    assert (code, err) == (0, "")
    assert out == "2 images, 2 segments -> out\nleft out: 2 segments of stuff, which YOLO's objects are not\n"
    assert [sample.name for sample in open_dataset("yolo", tmp_path / "out", split="val")] == ["a", "b"]


def test_data_sets_with_options_of_their_own(convert, tmp_path) -> None:
    assert convert("results", "--images", "images", "--to", "coco", "-o", "coco")[0] == 0
    options = ("--set", 'only=["cell"]', "--set", "ids=coco/annotations/instances_train.json", "--split", "train")
    code, out, _ = convert("coco-instances:coco", "--to", "coco-results", "-o", "r.json", *options, "--json")
    assert code == 0
    assert json.loads(out) == {"place": "r.json", "images": 2, "segments": 2, "notes": [], "problems": []}
    assert [row["image_id"] for row in json.loads((tmp_path / "r.json").read_text())] == [1, 2]


def test_images_of_two_channels_are_drawn_on_once_one_is_named(convert, tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.jpg").unlink()
        pixels = np.zeros((2, 2, 3), np.uint8)
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", pixels, photometric="minisblack", planarconfig="separate")
    asked = ("results", "--images", "images", "--to", "overlay", "-o", "out")
    code, _, err = convert(*asked)
    assert code == 2
    assert "--channels" in err
    assert convert(*asked, "--channels", "0", "--overwrite")[0] == 0
    assert (tmp_path / "out" / "a.overlay.png").is_file()


def test_an_image_without_a_result_is_named_and_the_exit_code_is_1(convert, tmp_path) -> None:
    (tmp_path / "results" / "b.png").unlink()
    code, out, err = convert("results", "--images", "images", "--to", "cvat", "-o", "out")
    assert (code, out) == (1, "1 images, 2 segments -> out\n")
    assert err == "failed: b.jpg has no result\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("results", "--to", "yolo", "-o", "out"), "--images"),
        (("results", "--to", "yolo", "-o", "images", "--images", "images"), "is there already"),
        (("results", "--to", "png", "-o", "out", "--set", "x=1"), "there is no option 'x' of this layout"),
        (("nowhere", "--to", "png", "-o", "out"), "nowhere should be a folder"),
        (("folder:.", "--to", "png", "-o", "out", "--set", "x=1"), "x"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(convert, arguments, reason) -> None:
    code, out, err = convert(*arguments)
    assert (code, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1
