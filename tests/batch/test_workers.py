import logging
from pathlib import Path

import pytest
from PIL import Image

from tests.batch.test_run import BUG, contents, run
from upseg.batch.jobs import ImageJob, ImageResult
from upseg.batch.workers import run_in_workers
from upseg.errors import ModelError
from upseg.images.options import ReadingOptions
from upseg.models.registry import find_model

DEADLY = (0, 255, 255)


def test_several_workers_give_the_same_bytes_and_one_that_dies_takes_only_its_image_with_it(tmp_path, photos) -> None:
    folder = photos(*(f"{number}.png" for number in range(5)))
    Image.new("RGB", (2, 2), BUG).save(folder / "bug.png")
    one = run(folder, tmp_path / "one", formats=("png", "coco"))
    for name in ("1-deadly.png", "3-deadly.png"):
        Image.new("RGB", (2, 2), DEADLY).save(folder / name)
    two = run(folder, tmp_path / "two", formats=("png", "coco"), workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    deaths = [result for result in two.results if "deadly" in result.input.name]
    assert len(deaths) == 2
    for death in deaths:
        assert "its process died (SIGKILL, most likely for lack of memory" in str(death.error)
    others = [result for result in two.results if result not in deaths]
    assert [(r.input, r.status, r.segments) for r in others] == [(r.input, r.status, r.segments) for r in one.results]


def jobs_for(folder: Path) -> list[ImageJob]:
    out = folder.parent / "out"
    return [ImageJob(path, path.name, out / path.stem, ("png",), ReadingOptions()) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize(
    ("levels", "error", "message"),
    [(3, ModelError, "the weights do not fit"), (4, RuntimeError, "a library is missing")],
)
def test_a_model_that_cannot_be_loaded_stops_the_run(tmp_path, photos, levels, error, message) -> None:
    jobs = jobs_for(photos("a.png", "b.png"))
    model = find_model("broken", levels=levels)
    with pytest.raises(error, match=message):
        next(run_in_workers(jobs, model, device="cpu", workers=1, on_begin=lambda _: None))
    assert not (tmp_path / "out").exists()


def test_a_job_that_must_not_be_begun_fails_and_the_others_go_on(tmp_path, photos) -> None:
    def begin(number: int) -> ImageResult | None:
        return ImageResult.failure(Path("b.png"), "not now") if number == 1 else None

    jobs = jobs_for(photos("a.png", "b.png", "c.png"))
    outcomes = run_in_workers(jobs, find_model("threshold"), device="cpu", workers=1, on_begin=begin)
    assert {number: result.status for number, result in outcomes} == {0: "done", 1: "failed", 2: "done"}
    assert set(contents(tmp_path / "out")) == {"a.png", "c.png"}


def test_what_processes_log_is_logged_here(photos, caplog) -> None:
    jobs = jobs_for(photos("a.png", "b.png"))
    with caplog.at_level(logging.INFO, "upseg"):
        list(run_in_workers(jobs, find_model("threshold"), device="cpu", workers=1, on_begin=lambda _: None))
    said = [record.getMessage() for record in caplog.records if record.name == "upseg.batch.jobs"]
    for name in ("a.png", "b.png"):
        assert any(f"{name}: " in line and "segments after" in line for line in said)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "upseg"):
        list(run_in_workers(jobs, find_model("threshold"), device="cpu", workers=1, on_begin=lambda _: None))
    assert not caplog.records
