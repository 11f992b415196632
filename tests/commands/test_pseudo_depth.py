"""`upseg data pseudo-depth`, from images to samples with depth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.data.sources.trees import draw_coco_instances
from tests.data.tiny_depth_models import save_depth_anything
from upseg.commands.data import data_app
from upseg.data.depth_folder import DepthFolder
from upseg.data.sources import open_dataset
from upseg.errors import ModelError

pytest.importorskip("transformers", reason="depth models need the extra depth")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_depth_anything(tmp_path_factory.mktemp("model"))


def run(data: Path, model: Path, *options: object) -> Result:
    arguments = ["coco-instances", data, "-o", data / "depth", "-m", model, "--device", "cpu", *options]
    return CliRunner().invoke(data_app, ["pseudo-depth", *map(str, arguments)])


def test_images_are_labelled_once_and_read_with_their_depth(tmp_path: Path, model: Path) -> None:
    draw_coco_instances(tmp_path)
    result = run(tmp_path, model)
    assert result.exit_code == 0, result.output
    assert f"2 images labelled, 0 already done -> {tmp_path / 'depth'}" in result.output
    assert "no failures" in result.output
    again = run(tmp_path, model, "--json")
    assert json.loads(again.stdout) == {"written": 0, "skipped": 2, "failures": []}
    for sample in DepthFolder(open_dataset("coco-instances", tmp_path), tmp_path / "depth"):
        assert sample.depth is not None
        assert sample.depth.shape == sample.shape
        assert 0 < sample.depth.min() <= sample.depth.max() == 1


def test_failures_are_named_and_the_exit_code_tells(tmp_path: Path, model: Path) -> None:
    draw_coco_instances(tmp_path)
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "000000000001.png").write_bytes(b"mine")
    result = run(tmp_path, model)
    assert result.exit_code == 1
    assert "1 images labelled" in result.output
    assert "1 failures:" in result.output
    assert "000000000001.png exists and is not an earlier label" in " ".join(result.output.split())
    assert run(tmp_path, model, "--overwrite").exit_code == 0


def test_a_split_has_labels_of_its_own(tmp_path: Path, model: Path) -> None:
    draw_coco_instances(tmp_path)
    assert run(tmp_path, model, "--split", "val").exit_code == 0
    assert "is not an earlier label of coco-instances/000000000001" in " ".join(run(tmp_path, model).output.split())


def test_wrong_usage(tmp_path: Path, model: Path) -> None:
    draw_coco_instances(tmp_path)
    assert run(tmp_path, model, "--predicts", "metres").exit_code == 2
    assert isinstance(run(tmp_path, tmp_path).exception, ModelError)
    assert not (tmp_path / "depth").exists()
