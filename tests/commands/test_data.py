from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.data.sources.trees import (
    draw_bsds500,
    draw_coco_instances,
    draw_coco_stuff,
    draw_depth_folders,
    draw_dsb2018,
    write_cut_image,
)
from upseg.commands.data import data_app
from upseg.errors import DataError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(data_app, [str(argument) for argument in arguments])


def error_of(*arguments: object) -> str:
    """The message that the command line shows a user."""
    result = run(*arguments)
    assert isinstance(result.exception, DataError), result.output
    return str(result.exception)


def test_sources_are_listed() -> None:
    result = run("sources")
    assert result.exit_code == 0
    assert "cityscapes" in result.output
    rows = {row["name"]: row for row in json.loads(run("sources", "--json").output)["sources"]}
    assert rows["voc2012"]["options"] == "background, sbd"
    assert "SegmentationObject" in rows["voc2012"]["layout"]


def test_check_counts(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)
    result = run("check", "coco-instances", tmp_path)
    assert result.exit_code == 0
    assert "2 samples, 4 segments, 62.5% of pixels labelled" in result.output
    assert "6 to 6 x 8 to 8 pixels, median 6 x 8" in result.output
    row = next(line for line in result.output.splitlines() if " car " in line)
    assert row.replace("│", " ").split() == ["3", "car", "thing", "2", "2", "2", "25.00%"]
    assert "no problems" in result.output


def test_check_tells_problems_and_its_exit_code_too(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)
    (tmp_path / "val2017" / "000000000002.jpg").write_bytes(b"no image")
    result = run("check", "coco-instances", tmp_path)
    assert result.exit_code == 1
    assert "1 samples" in result.output
    assert "1 problems:" in result.output
    assert "000000000002.jpg: this is not an image" in result.output
    data = json.loads(run("check", "coco-instances", tmp_path, "--json").output)
    assert len(data["problems"]) == 1
    assert data["samples"] == 1


def test_check_fast_does_not_decode(tmp_path: Path) -> None:
    draw_dsb2018(tmp_path)
    write_cut_image(tmp_path / "stage1_train" / "00ae65" / "images" / "00ae65.png")
    assert run("check", "dsb2018", tmp_path).exit_code == 1
    assert run("check", "dsb2018", tmp_path, "--fast").exit_code == 0


def test_check_lists_many_problems_in_part(tmp_path: Path) -> None:
    draw_dsb2018(tmp_path)
    for number in range(30):
        (tmp_path / "stage1_train" / f"x{number}" / "images").mkdir(parents=True)
    result = run("check", "dsb2018", tmp_path)
    assert "30 problems:" in result.output
    assert "... and 10 more" in result.output


def test_check_of_annotators_and_depth(tmp_path: Path) -> None:
    draw_bsds500(tmp_path / "a")
    assert "2 to 2 annotators for each image" in run("check", "bsds500", tmp_path / "a").output
    draw_depth_folders(tmp_path / "b")
    output = run("check", "nyuv2", tmp_path / "b", "--set", "depth_scale=256").output
    assert "2 samples have depth" in output
    assert "2 samples have no segment" in output


def test_splits_lists_and_options(tmp_path: Path) -> None:
    draw_coco_stuff(tmp_path)
    listed = tmp_path / "list.txt"
    listed.write_text("000000000002\n")
    result = run("check", "coco-stuff", tmp_path, "--split", "val", "--images", listed, "--set", "merged=true")
    assert "1 samples" in result.output
    assert "animal-things" in result.output
    assert "coco-stuff: there is no setting 'x'" in error_of("check", "coco-stuff", tmp_path, "--set", "x=1")
    assert "'train' was asked for" in error_of("check", "coco-stuff", tmp_path, "--split", "train")
    assert "there is no data set 'coco'" in error_of("check", "coco", tmp_path, "--set", "x=1")


@pytest.mark.parametrize(("suffix", "kind"), [(".png", "PNG"), (".JPG", "JPEG")])
def test_show_draws_samples(tmp_path: Path, suffix: str, kind: str) -> None:
    draw_coco_instances(tmp_path)
    output = tmp_path / "pictures" / f"grid{suffix}"
    result = run("show", "coco-instances", tmp_path, "-o", output, "--count", 1)
    assert result.exit_code == 0, result.output
    assert "1 of 2 samples" in result.output
    with Image.open(output) as picture:
        assert picture.format == kind
        assert picture.height < 400
    run("show", "coco-instances", tmp_path, "-o", output)
    with Image.open(output) as picture:
        assert picture.height > 600
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_show_chooses(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)

    def picture(*options: object) -> bytes:
        run("show", "coco-instances", tmp_path, "-o", tmp_path / "grid.png", *options)
        return (tmp_path / "grid.png").read_bytes()

    first, second = picture("--name", "000000000001"), picture("--name", "000000000002")
    assert first != second
    assert picture("--count", 1) == first
    assert {picture("--count", 1, "--seed", seed) for seed in range(8)} == {first, second}
    assert picture("--count", 1, "--seed", 3) == picture("--count", 1, "--seed", 3)


def test_show_leaves_damaged_samples_out(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)
    (tmp_path / "val2017" / "000000000002.jpg").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="skipped"):
        assert "1 of 2 samples" in run("show", "coco-instances", tmp_path, "-o", tmp_path / "grid.png").output
    (tmp_path / "val2017" / "000000000001.jpg").unlink()
    with pytest.warns(UserWarning, match="skipped"):
        message = error_of("show", "coco-instances", tmp_path, "-o", tmp_path / "grid.png")
    assert "none of the samples can be drawn" in message


def test_show_writes_pictures_only(tmp_path: Path) -> None:
    draw_coco_instances(tmp_path)
    message = error_of("show", "coco-instances", tmp_path, "-o", tmp_path / "grid.pdf")
    assert message.endswith("grid.pdf: the name of the picture must end in .png or .jpg")
