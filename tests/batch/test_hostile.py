"""What must not end a batch: odd arguments, links, pipes, damaged journals, processes that are killed."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.batch.test_run import contents, run, statuses
from upseg.batch.jobs import ImageJob, lacks_memory
from upseg.batch.journal import JOURNAL_NAME
from upseg.batch.workers import run_in_workers, threads_of_an_image
from upseg.errors import ModelError
from upseg.models.registry import Model, find_model
from upseg.segmentation import Segmenter


@pytest.mark.parametrize("name", ["y" * 300 + ".png", "a\0b.png", "x" * 300 + "/*.png"])
def test_an_argument_that_cannot_be_looked_at_fails_alone(tmp_path, photos, name) -> None:
    good = photos("a.png") / "a.png"
    summary = run([good, name], tmp_path / "out")
    assert summary.counts()["done"] == 1
    assert summary.counts()["failed"] == 1
    assert set(contents(tmp_path / "out")) == {"a.png"}


def test_a_glob_meets_links_to_folders(tmp_path, photos) -> None:
    folder, elsewhere = photos("c.png", "sub/d.png"), photos("a.png", folder="elsewhere")
    (folder / "more").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder)
    (elsewhere / "back").symlink_to(elsewhere)
    run(str(folder / "**" / "*.png"), tmp_path / "deep")
    assert set(contents(tmp_path / "deep")) == {"c.png", "sub/d.png"}
    run(str(folder / "m*" / "*.png"), tmp_path / "named")  # a link that was asked for
    assert set(contents(tmp_path / "named")) == {"more/a.png"}


def test_a_pipe_among_the_images_fails_alone(tmp_path, photos) -> None:
    folder = photos("a.png")
    os.mkfifo(folder / "b.png")
    summary = run(folder, tmp_path / "out")
    assert statuses(summary) == {"a.png": "done", "b.png": "failed"}
    assert "not a regular file" in str(summary.failures[0].error)


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link"])
def test_a_journal_that_is_no_file_is_set_aside(tmp_path, photos, kind) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    if kind == "pipe":
        os.mkfifo(out / JOURNAL_NAME)
    else:
        (out / JOURNAL_NAME).symlink_to(victim)
    if kind == "link":
        victim.write_text("mine", encoding="utf-8")
    with pytest.warns(UserWarning, match="no journal of upseg"):
        summary = run(photos("a.png"), out)
    assert summary.counts()["done"] == 1
    assert (out / JOURNAL_NAME).is_file()
    assert not victim.exists() or victim.read_text(encoding="utf-8") == "mine"
    assert run(tmp_path / "photos", out).counts()["skipped"] == 1


@pytest.mark.parametrize(
    "damage",
    [
        b"[" * 200_000,
        b'{"version":1,"event":"finished","input":[],"source":{},"size":"x","mtime_ns":1,"settings":1,"outputs":["a.png"]}',
        b'{"version": 1, "outputs": ["a.png"]}',
        b'{"version": ' + b"9" * 10_000 + b"}",
        b"\xff\0\xfe",
    ],
)
def test_a_damaged_line_of_the_journal_is_passed_over(tmp_path, photos, damage) -> None:
    run(photos("a.png"), tmp_path / "out")
    with (tmp_path / "out" / JOURNAL_NAME).open("ab") as file:
        file.write(damage + b"\n")
    assert run(tmp_path / "photos", tmp_path / "out").counts()["skipped"] == 1


def test_results_under_an_old_name_are_named(tmp_path, photos) -> None:
    out = tmp_path / "out"
    assert run(photos("a.png", "b.png"), out).stale == ()
    photos("a.jpg")
    summary = run(tmp_path / "photos", out)
    assert set(contents(out)) == {"a.png", "a.png.png", "a.jpg.png", "b.png"}
    assert summary.stale == (out / "a.png",)
    assert json.loads(json.dumps(summary.as_json()))["stale"] == [str(out / "a.png")]
    (out / "a.png").unlink()
    (tmp_path / "photos" / "a.jpg").unlink()
    assert run(tmp_path / "photos", out).stale == (out / "a.png.png",)


@dataclass(frozen=True)
class DyingModel(Model):
    """A model whose loading is killed so many times."""

    folder: Path = Path()
    kills: int = 0

    def load(self, device: str = "auto") -> Segmenter:
        for number in range(self.kills):
            try:
                (self.folder / f"kill-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return Model.load(self, device)


def dying(folder: Path, kills: int) -> DyingModel:
    model = find_model("threshold")
    return DyingModel(model.name, model.method, model.implementation, model.settings, folder=folder, kills=kills)


def jobs_for(folder: Path) -> list[ImageJob]:
    return [ImageJob(p, p.name, folder.parent / "out" / p.stem, ("png",)) for p in sorted(folder.iterdir())]


def test_a_process_killed_while_it_loads_the_model_is_replaced(tmp_path, photos) -> None:
    jobs = jobs_for(photos("a.png", "b.png", "c.png"))
    outcomes = run_in_workers(jobs, dying(tmp_path, 2), device="cpu", workers=2, on_begin=lambda _: None)
    assert {number: result.status for number, result in outcomes} == {0: "done", 1: "done", 2: "done"}


def test_where_every_process_dies_it_ends(tmp_path, photos) -> None:
    jobs = jobs_for(photos("a.png"))
    outcomes = run_in_workers(jobs, dying(tmp_path, 50), device="cpu", workers=1, on_begin=lambda _: None)
    with pytest.raises(ModelError, match="cannot be loaded: its process died"):
        list(outcomes)


def test_lack_of_memory_is_called_that() -> None:
    assert lacks_memory(MemoryError())
    assert lacks_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"))
    assert not lacks_memory(RuntimeError("shapes differ"))


def test_images_get_as_many_threads_in_one_process_as_in_several() -> None:
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(7)
        with threads_of_an_image():
            assert torch.get_num_threads() == 4
        assert torch.get_num_threads() == 7
        torch.set_num_threads(2)
        with threads_of_an_image():
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
