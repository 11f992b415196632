"""Jobs in this process: the disk is waited for beside the next segmentation, and each is noted before it is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float32

from upseg.batch import here
from upseg.batch import jobs as jobs_module
from upseg.batch.blocks import BlockJob
from upseg.batch.here import run_here
from upseg.batch.jobs import ImageJob, ImageResult, StepCallback
from upseg.batch.stacks import ProjectionJob, StackJob
from upseg.errors import UpsegError
from upseg.models.registry import METHODS, Model
from upseg.segmentation import Segmentation
from upseg.split.jobs import MaskJob


class FakeSegmenter:
    def segment(self, image: Float32[np.ndarray, "h w 3"], **_: Any) -> Segmentation:
        return Segmentation.from_labels(np.ones(image.shape[:2], np.int32))


class FakeModel(Model):
    def load(self, device: str = "auto") -> Any:
        return FakeSegmenter()


MODEL = FakeModel("fake", "dynaseg", METHODS["dynaseg"], None)


@dataclass(frozen=True, slots=True)
class FakeJob(ImageJob):
    events: list[str] = field(default_factory=list)
    waits_for: Event | None = None
    sets: Event | None = None
    fails: bool = False

    def start(self, segmenter: Any, on_step: StepCallback | None = None) -> Callable[[], int]:
        self.events.append(f"segment {self.name}")
        if self.fails:
            raise UpsegError("broken")
        if self.sets is not None:
            self.sets.set()

        def write() -> int:
            assert self.waits_for is None or self.waits_for.wait(20)
            self.events.append(f"write {self.name}")
            return 3

        return write


@dataclass(frozen=True, slots=True)
class ReadJob(ImageJob):
    """Its image is as wide as it says, or broken."""

    events: list[str] = field(default_factory=list)
    width: int = 4
    waits_for: Event | None = None

    def read(self) -> Float32[np.ndarray, "h w 3"]:
        self.events.append(f"read {self.name}")
        if self.width == 0:
            raise UpsegError("broken")
        return np.zeros((2, self.width, 3), np.float32)

    def origin(self) -> dict[str, Any]:
        assert self.waits_for is None or self.waits_for.wait(20)
        self.events.append(f"segmented {self.name}")
        return {}


def fake(name: str, events: list[str], **facts: Any) -> FakeJob:
    return FakeJob(Path(name), name, Path(name), (), events=events, **facts)


def run(jobs: list[FakeJob], events: list[str], failing: int | None = None) -> list[tuple[int, ImageResult]]:
    def begin(index: int) -> ImageResult | None:
        events.append(f"begin {jobs[index].name}")
        return ImageResult.failure(jobs[index].path, "full disk") if index == failing else None

    return list(run_here(jobs, MODEL, "cpu", begin, lambda done, total: None))


def test_the_next_image_is_segmented_while_results_are_written() -> None:
    events, second = list[str](), Event()
    jobs = [fake("a", events, waits_for=second), fake("b", events, sets=second), fake("c", events)]
    results = run(jobs, events)
    assert [(number, result.status, result.segments) for number, result in results] == [
        (0, "done", 3), (1, "done", 3), (2, "done", 3)
    ]  # fmt: skip
    assert events.index("segment b") < events.index("write a")
    assert all(events.index(f"begin {name}") < events.index(f"write {name}") for name in "abc")


def test_failures_keep_their_places() -> None:
    events = list[str]()
    jobs = [fake("a", events), fake("b", events, fails=True), fake("c", events), fake("d", events)]
    results = run(jobs, events, failing=2)
    assert [(number, result.status) for number, result in results] == [
        (0, "done"), (1, "failed"), (2, "failed"), (3, "done")
    ]  # fmt: skip
    assert "segment c" not in events


def test_what_took_long_is_told_before_the_next_is_segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "_LONG", -1.0)
    events = list[str]()
    jobs = [fake("a", events), fake("b", events)]
    for number, _ in run_here(jobs, MODEL, "cpu", lambda index: None, lambda done, total: None):
        events.append(f"told {number}")
    assert events == ["segment a", "write a", "told 0", "segment b", "write b", "told 1"]


def test_a_run_that_is_given_up_has_written_what_it_segmented() -> None:
    events = list[str]()
    outcomes = run_here([fake(name, events) for name in "abc"], MODEL, "cpu", lambda index: None, lambda *_: None)
    next(outcomes)
    outcomes.close()
    assert events.count("write a") == 1
    assert "segment c" not in events


def read_in_order(widths: dict[str, int]) -> tuple[list[str], list[ImageResult]]:
    events = list[str]()
    jobs = [ReadJob(Path(name), name, Path(name), (), events=events, width=width) for name, width in widths.items()]
    results = [result for _, result in run_here(jobs, MODEL, "cpu", lambda index: None, lambda *_: None)]
    assert [events.count(f"read {name}") for name in widths] == [1] * len(widths)
    return events, results


def test_the_next_image_is_read_while_a_small_one_is_segmented() -> None:
    events, read = list[str](), Event()

    class Telling(ReadJob):
        def read(self) -> Float32[np.ndarray, "h w 3"]:
            read.set()
            return ReadJob.read(self)

    first = ReadJob(Path("a"), "a", Path("a"), (), events=events, waits_for=read)
    results = list(run_here([first, Telling(Path("b"), "b", Path("b"), (), events=events)], MODEL, "cpu",
                            lambda index: None, lambda *_: None))  # fmt: skip
    assert [result.segments for _, result in results] == [1, 1]
    assert events.index("read b") < events.index("segmented a")


def test_beside_a_large_image_no_other_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "SMALL", 8)
    events, results = read_in_order({"a": 4, "b": 5, "c": 4})
    assert [result.status for result in results] == ["done"] * 3
    assert events.index("segmented b") < events.index("read c")


def test_little_memory_is_kept_beside_a_large_image(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = list[int]()
    monkeypatch.setattr(jobs_module, "reuse_freed_memory", kept.append)
    monkeypatch.setattr(jobs_module, "SMALL", 8)
    read_in_order({"a": 4, "b": 5, "c": 4})
    assert kept == [jobs_module.SMALL_KEPT, jobs_module.LARGE_KEPT, jobs_module.SMALL_KEPT]


def test_an_image_that_cannot_be_read_fails_alone() -> None:
    _, results = read_in_order({"a": 0, "b": 4, "c": 0, "d": 0, "e": 4})
    assert [result.status for result in results] == ["failed", "done", "failed", "failed", "done"]
    assert results[2].error == "c: broken"


def test_only_images_that_are_read_whole_are_read_before() -> None:
    known = {kind: kind(Path("a"), "a", Path("a"), ()).is_read_first for kind in (ImageJob, ProjectionJob, FakeJob)}
    assert known == {ImageJob: True, ProjectionJob: True, FakeJob: False}
    assert not any(kind.is_read_first.fget(object.__new__(kind)) for kind in (StackJob, BlockJob, MaskJob))
