import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upseg.batch.jobs import ImageResult
from upseg.batch.journal import JOURNAL_NAME
from upseg.batch.run import BatchObserver, BatchSummary, segment_files
from upseg.errors import ImageError, ModelError, UpsegError
from upseg.files import atomic_path
from upseg.images.options import ReadingOptions
from upseg.segmentation import Segmentation

BUG, NO_MEMORY = (255, 0, 255), (255, 255, 0)


def run(paths: object, output: Path, **options: object) -> BatchSummary:
    arguments = [paths] if isinstance(paths, str | Path) else paths
    return segment_files(arguments, output, **{"model": "threshold", "device": "cpu", "formats": ("png",), **options})


def statuses(summary: BatchSummary) -> dict[str, str]:
    return {result.input.name: result.status for result in summary.results}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != JOURNAL_NAME
    }


def test_a_folder_becomes_a_folder_of_the_same_structure(tmp_path, photos) -> None:
    summary = run(photos("a.png", "sub/b.jpg"), tmp_path / "out", formats=("png", "coco", "panoptic", "overlay"))
    assert summary.counts() == {"done": 2, "replaced": 0, "skipped": 0, "failed": 0}
    endings = (".png", ".json", ".panoptic.json", ".panoptic.png", ".overlay.png")
    expected = {f"{stem}{ending}" for stem in ("a", "sub/b") for ending in endings}
    assert set(contents(tmp_path / "out")) == expected
    assert {str(path) for result in summary.results for path in result.outputs} == {
        str(tmp_path / "out" / name) for name in expected
    }
    result = Segmentation.load(tmp_path / "out" / "sub" / "b.png")
    assert len(result) == summary.results[1].segments
    assert result.provenance == {"method": "threshold", "seed": 0, "image": "sub/b.jpg"}


@pytest.mark.parametrize("name", ["with space.png", "größe 画像.png", "line\nbreak.png", os.fsdecode(b"raw\xff.png")])
def test_any_name_works(tmp_path, photos, name) -> None:
    summary = run(photos(name), tmp_path / "out", formats=("png", "coco", "svg", "geojson", "npz", "panoptic", "tif"))
    assert summary.counts()["done"] == 1, summary.results[0].error
    assert all(path.exists() for path in summary.results[0].outputs)
    assert run(tmp_path / "photos", tmp_path / "out").counts()["skipped"] == 1


def test_an_image_of_one_pixel_works(tmp_path) -> None:
    Image.new("RGB", (1, 1), (10, 20, 30)).save(tmp_path / "a.png")
    summary = run(tmp_path / "a.png", tmp_path / "out", formats=("png", "coco", "svg", "overlay"))
    assert summary.results[0].segments == 1


def test_a_second_run_does_nothing_and_says_so(tmp_path, photos) -> None:
    folder = photos("a.png", "b.png")
    run(folder, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    summary = run(folder, tmp_path / "out", device="no such device, but nothing is loaded")
    assert set(statuses(summary).values()) == {"skipped"}
    assert summary.results[0].segments is not None
    assert summary.results[0].outputs == (tmp_path / "out" / "a.png",)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_only_what_is_missing_is_done(tmp_path, photos) -> None:
    folder = photos("a.png", "b.png")
    run(folder, tmp_path / "out")
    (tmp_path / "out" / "b.png").unlink()
    photos("a.png", "b.png", "c.png")
    os.utime(folder / "b.png", ns=(7, 7))
    summary = run(folder, tmp_path / "out")
    assert statuses(summary)["c.png"] == "done"
    assert statuses(summary)["b.png"] == "done"


def test_another_format_is_added_and_fewer_formats_are_enough(tmp_path, photos) -> None:
    folder = photos("a.png")
    run(folder, tmp_path / "out")
    assert statuses(run(folder, tmp_path / "out", formats=("png", "coco"))) == {"a.png": "done"}
    assert statuses(run(folder, tmp_path / "out", formats=("coco",))) == {"a.png": "skipped"}


@pytest.mark.parametrize("change", [{"settings": {"levels": 2}}, {"reading": ReadingOptions(channels=(0,))}])
def test_other_settings_replace_the_results(tmp_path, photos, change) -> None:
    folder = photos("a.png")
    run(folder, tmp_path / "out")
    first = contents(tmp_path / "out")
    assert statuses(run(folder, tmp_path / "out", **change)) == {"a.png": "replaced"}
    assert contents(tmp_path / "out") != first
    assert statuses(run(folder, tmp_path / "out", **change)) == {"a.png": "skipped"}
    assert statuses(run(folder, tmp_path / "out")) == {"a.png": "replaced"}
    assert contents(tmp_path / "out") == first


def test_a_changed_image_is_done_again_and_a_moved_one_is_not(tmp_path, photos) -> None:
    folder = photos("a.png", "b.png")
    run(folder, tmp_path / "out")
    Image.new("L", (3, 3)).save(folder / "a.png")
    assert statuses(run(folder, tmp_path / "out")) == {"a.png": "replaced", "b.png": "skipped"}
    folder.rename(tmp_path / "elsewhere")
    assert set(statuses(run(tmp_path / "elsewhere", tmp_path / "out")).values()) == {"skipped"}


def test_files_that_upseg_did_not_write_are_never_replaced_unless_allowed(tmp_path, photos) -> None:
    folder = photos("a.png", "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("mine")
    summary = run(folder, tmp_path / "out")
    assert statuses(summary) == {"a.png": "failed", "b.png": "done"}
    assert "out/a.png exists and is not an earlier result of this image" in str(summary.results[0].error)
    assert (tmp_path / "out" / "a.png").read_text() == "mine"
    assert statuses(run(folder, tmp_path / "out", overwrite=True)) == {"a.png": "replaced", "b.png": "skipped"}
    assert statuses(run(folder, tmp_path / "out")) == {"a.png": "skipped", "b.png": "skipped"}


def test_results_of_another_image_are_never_replaced_unless_allowed(tmp_path, photos) -> None:
    photos("a.png", folder="first")
    photos("x.png", "a.png", folder="second")
    run(tmp_path / "first", tmp_path / "out")
    assert statuses(run(tmp_path / "second" / "a.png", tmp_path / "out")) == {"a.png": "failed"}
    assert statuses(run(tmp_path / "second" / "a.png", tmp_path / "out", overwrite=True)) == {"a.png": "replaced"}


def test_one_broken_image_never_stops_the_rest(tmp_path, photos) -> None:
    folder = photos("a.png", "z.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "empty.jpg").touch()
    (folder / "gone.png").symlink_to("nowhere.png")
    Image.new("RGB", (2, 2), BUG).save(folder / "bug.png")
    Image.new("RGB", (2, 2), NO_MEMORY).save(folder / "large.png")
    summary = run([folder, folder / "missing.png"], tmp_path / "out")
    errors = {result.input.name: str(result.error) for result in summary.failures}
    assert {name for name, status in statuses(summary).items() if status == "done"} == {"a.png", "z.png"}
    assert all(error.startswith(str(folder / name)) for name, error in errors.items())
    assert "damaged or cut off" in errors["broken.png"]
    assert "the file is empty" in errors["empty.jpg"]
    assert "No such file" in errors["gone.png"]
    assert "unexpected RuntimeError: a bug in the method" in errors["bug.png"]
    assert "not enough memory" in errors["large.png"]
    assert "no such file" in errors["missing.png"]
    bug = next(result for result in summary.failures if result.input.name == "bug.png")
    assert "segmenters.py" in str(bug.details)


def test_results_that_cannot_be_written_fail_only_their_image(tmp_path, photos) -> None:
    folder = photos("a.png", "sub/b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").touch()
    summary = run(folder, tmp_path / "out")
    assert statuses(summary) == {"a.png": "done", "b.png": "failed"}
    assert "b.png: the result cannot be written to" in str(summary.results[1].error)


def test_an_image_that_failed_in_the_middle_of_writing_is_done_again(tmp_path, photos, monkeypatch) -> None:
    folder = photos("a.png")
    replace_file = Path.replace

    def full(path: Path, target: Path) -> Path:
        if Path(target).suffix == ".json":
            raise OSError(28, "No space left on device")
        return replace_file(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        summary = run(folder, tmp_path / "out", formats=("png", "coco"))
    assert "No space left on device" in str(summary.results[0].error)
    assert set(contents(tmp_path / "out")) == {"a.png"}
    assert statuses(run(folder, tmp_path / "out", formats=("png", "coco"))) == {"a.png": "done"}


def test_a_journal_that_cannot_be_written_fails_each_image_with_the_reason(tmp_path, photos, monkeypatch) -> None:
    folder = photos("a.png", "b.png")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("upseg.batch.journal.os.write", full)
    summary = run(folder, tmp_path / "out")
    assert [result.status for result in summary.results] == ["failed", "failed"]
    assert all("journal" in str(result.error) and "No space left" in str(result.error) for result in summary.results)
    assert contents(tmp_path / "out") == {}


def test_what_a_killed_run_left_is_cleared_and_redone(tmp_path, photos) -> None:
    folder = photos("a.png", "b.png")
    run(folder, tmp_path / "out", formats=("png", "coco"))
    expected = contents(tmp_path / "out")
    journal = tmp_path / "out" / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:30])  # killed while b was noted as finished
    (tmp_path / "out" / "b.json").unlink()
    with contextlib.suppress(FileNotFoundError), atomic_path(tmp_path / "out" / "b.json") as partial:
        pass  # only for its name
    partial.write_text("half a fi")
    assert statuses(run(folder, tmp_path / "out", formats=("png", "coco"))) == {"a.png": "skipped", "b.png": "done"}
    assert contents(tmp_path / "out") == expected


def test_the_same_input_gives_the_same_bytes(tmp_path, photos) -> None:
    folder = photos("a.png", "sub/b.png")
    everything = ("png", "tif", "coco", "panoptic", "geojson", "svg", "npz", "overlay")
    run(folder, tmp_path / "first", formats=everything)
    run(folder, tmp_path / "second", formats=everything)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_channels_and_pages_are_read_as_asked_and_noted(tmp_path) -> None:
    Image.fromarray(np.array([[[0, 255, 0], [0, 0, 0]]], np.uint8)).save(tmp_path / "a.png")
    reading = ReadingOptions(channels=(1,), page=0)
    run(tmp_path / "a.png", tmp_path / "out", settings={"levels": 2}, reading=reading)
    result = Segmentation.load(tmp_path / "out" / "a.png")
    assert len(result) == 2
    assert result.provenance == {"method": "threshold", "seed": 0, "image": "a.png", "channels": [1], "page": 0}


def test_the_pixel_limit_fails_only_the_large_image(tmp_path, photos) -> None:
    folder = photos("a.png")
    Image.new("L", (1, 1), 3).save(folder / "b.png")
    summary = run(folder, tmp_path / "out", reading=ReadingOptions(max_pixels=40))
    assert statuses(summary) == {"a.png": "failed", "b.png": "done"}


class Recorder(BatchObserver):
    def __init__(self) -> None:
        self.start: tuple[int, int] | None = None
        self.steps: list[tuple[int, int]] = []
        self.inputs: list[str] = []

    def on_start(self, results: Sequence[ImageResult], remaining: int) -> None:
        self.start = len(results), remaining

    def on_step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def on_result(self, result: ImageResult) -> None:
        self.inputs.append(result.input.name)


def test_an_observer_hears_of_every_image_and_step(tmp_path, photos) -> None:
    folder = photos("a.png", "b.png")
    run(folder / "a.png", tmp_path / "out")
    recorder = Recorder()
    run(folder, tmp_path / "out", observer=recorder)
    assert recorder.start == (1, 1)
    assert recorder.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert recorder.inputs == ["b.png"]
    recorder = Recorder()
    run(folder, tmp_path / "out2", observer=recorder, model="steps")
    assert recorder.steps == []  # its segment() has no parameter for it


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "treshold"}, ModelError, "did you mean threshold"),
        ({"settings": {"level": 2}}, ModelError, "no setting 'level'"),
        ({"formats": ("gif",)}, UpsegError, "no format 'gif'"),
        ({"formats": ()}, UpsegError, "at least one format"),
        ({"workers": 0}, UpsegError, "at least 1 worker"),
        ({"paths": "*.gif"}, ImageError, "no image matches"),
    ],
)
def test_what_cannot_work_at_all_is_refused_at_once(tmp_path, photos, options, error, message) -> None:
    folder = photos("a.png")
    paths = options.pop("paths", folder)
    with pytest.raises(error, match=message):
        run(paths, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_loaded_stops_the_run(tmp_path, photos) -> None:
    with pytest.raises(OSError, match="a library is missing"):
        run(photos("a.png"), tmp_path / "out", model="broken")
