"""Depth beside the segments of many images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.batch.segmenters import DeepSegmenter, DeepSettings
from upseg.batch.jobs import ImageJob, ReadingOptions, run_job
from upseg.batch.run import BatchSummary, segment_files
from upseg.errors import UpsegError
from upseg.formats.depth import read_depth_png
from upseg.images.reading import read_image
from upseg.models.registry import find_model

ALL = ("png", "depth")
FILES = ("a.depth-picture.png", "a.depth.png", "a.png")


def run(folder: Path, output: Path, *formats: str, **options: object) -> BatchSummary:
    return segment_files([folder], output, **{"model": "deep", "device": "cpu", "formats": formats, **options})


def names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.glob("[!.]*")))


@pytest.fixture
def folder(photos: Callable[..., Path]) -> Path:
    return photos("a.jpg")


def test_three_files_are_written_of_one_pass(tmp_path: Path, folder: Path) -> None:
    summary = run(folder, tmp_path / "out", *ALL)
    assert summary.counts()["done"] == 1, summary.failures
    assert names(tmp_path / "out") == FILES
    assert tuple(sorted(path.name for path in summary.results[0].outputs)) == FILES
    depth = read_depth_png(tmp_path / "out" / "a.depth.png")
    np.testing.assert_allclose(depth.values, 10 * read_image(folder / "a.jpg").mean(axis=2), atol=0.001)


def test_depth_is_resumed_like_any_format(tmp_path: Path, folder: Path) -> None:
    assert run(folder, tmp_path / "out", "png").counts()["done"] == 1
    assert names(tmp_path / "out") == ("a.png",)
    assert run(folder, tmp_path / "out", *ALL).counts()["done"] == 1  # what was there is current, and was not replaced
    assert run(folder, tmp_path / "out", *ALL).counts()["skipped"] == 1
    assert run(folder, tmp_path / "out", "png").counts()["skipped"] == 1
    (tmp_path / "out" / "a.depth-picture.png").unlink()
    assert run(folder, tmp_path / "out", *ALL).counts()["done"] == 1
    assert names(tmp_path / "out") == FILES
    assert run(folder, tmp_path / "out", *ALL, settings={"seed": 3}).counts()["replaced"] == 1


def test_other_peoples_depth_is_not_replaced(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.depth-picture.png").write_text("mine")
    (failure,) = run(folder, tmp_path / "out", *ALL).failures
    assert "a.depth-picture.png exists and is not an earlier result" in failure.error
    assert names(tmp_path / "out") == ("a.depth-picture.png",)


@pytest.mark.parametrize("model", ["threshold", "deep"])
def test_models_without_depth_are_told_before_anything_is_done(tmp_path: Path, folder: Path, model: str) -> None:
    settings = {"predicts_depth": False} if model == "deep" else {}
    with pytest.raises(UpsegError, match=f"the model {model} predicts no depth; take one that does, or leave depth"):
        run(folder, tmp_path / "out", *ALL, model=model, settings=settings)
    assert not (tmp_path / "out").exists()


def test_a_model_says_whether_it_predicts_depth() -> None:
    assert find_model("deep").predicts_depth
    assert not find_model("deep", predicts_depth=False).predicts_depth
    assert not find_model("threshold").predicts_depth


def test_progress_is_told_with_depth_too(tmp_path: Path, folder: Path) -> None:
    job = ImageJob(folder / "a.jpg", "a.jpg", tmp_path / "out" / "a", ALL, ReadingOptions())
    calls: list[tuple[int, int]] = []
    result = run_job(job, DeepSegmenter(DeepSettings(), "cpu"), lambda done, total: calls.append((done, total)))
    assert result.status == "done"
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_workers_write_depth_too(tmp_path: Path, photos: Callable[..., Path]) -> None:
    summary = run(photos("a.jpg", "b.jpg"), tmp_path / "out", *ALL, workers=2)
    assert summary.counts()["done"] == 2
    assert len(names(tmp_path / "out")) == 6
