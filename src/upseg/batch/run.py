"""Segmenting many files: what is done is skipped, what is broken is named, and the rest goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from upseg import __version__
from upseg.batch.inputs import InputImage, OutputPlan, find_images, plan_outputs
from upseg.batch.jobs import (
    ImageResult,
    ImageTask,
    ReadingOptions,
    Status,
    StepCallback,
    discard_partials,
    run_task,
)
from upseg.batch.journal import InputState, Journal, OutputState
from upseg.batch.workers import run_in_workers
from upseg.errors import UpsegError
from upseg.files import printable
from upseg.formats import formats_that_need
from upseg.models.registry import Model, find_model

DEFAULT_FORMATS = ("png", "overlay")


@dataclass(frozen=True)
class BatchSummary:
    """How a run went.

    Attributes:
        output: The folder of results.
        results: One for each image, sorted by its name.
        seconds: Time the run took.
    """

    output: Path
    results: tuple[ImageResult, ...]
    seconds: float

    @property
    def failures(self) -> tuple[ImageResult, ...]:
        """The images that failed."""
        return tuple(result for result in self.results if result.status == "failed")

    def counts(self) -> dict[Status, int]:
        """How many images were done, replaced, skipped and failed."""
        statuses: tuple[Status, ...] = ("done", "replaced", "skipped", "failed")
        return {status: sum(result.status == status for result in self.results) for status in statuses}

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "output": str(self.output),
            "images": [result.as_json() for result in self.results],
            "counts": self.counts(),
            "seconds": round(self.seconds, 3),
        }


class BatchObserver:
    """Is told how a run goes; does nothing unless a subclass does."""

    def on_start(self, results: Sequence[ImageResult], remaining: int) -> None:
        """Called once with what is known before any work (skipped, failed) and the number of images to segment."""

    def on_step(self, done: int, total: int) -> None:
        """Called while an image is segmented, by methods that know how far they are."""

    def on_result(self, result: ImageResult) -> None:
        """Called with each image that was segmented or failed."""

    def on_gather(self, done: int, total: int) -> None:
        """Called while the results of so many images are gathered in one file."""


@dataclass(frozen=True)
class _Job:
    """One image to segment: the task, and what the journal will say about it."""

    task: ImageTask
    state: InputState
    plan: OutputPlan


def segment_files(
    paths: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    model: str | Path = "dynaseg",
    settings: Mapping[str, Any] | None = None,
    formats: Sequence[str] = DEFAULT_FORMATS,
    workers: int = 1,
    device: str = "auto",
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    overwrite: bool = False,
    observer: BatchObserver | None = None,
) -> BatchSummary:
    """Segment files, folders and globs into a folder of results.

    A second call with the same arguments does only what is missing, whatever stopped the first one. Results of earlier
    calls with other settings, or from before an image was changed, are replaced. A file that is not the result of the
    same image is never replaced unless `overwrite` allows it: that image fails. So does an image that cannot be read,
    or whose process dies; the others go on.

    Args:
        paths: As `upseg.batch.inputs.find_images` takes them.
        output: The folder of results; made if need be.
        model: As `upseg.load_model` takes it.
        settings: What shall differ from the model's own settings; `preset` chooses a named set of them.
        formats: Names in `upseg.formats.FORMATS`.
        workers: How many images to segment side by side, each in its own process; 1 for this process.
        device: As `upseg.load_model` takes it.
        reading: How to read the images.
        overwrite: Whether files that upseg did not write, or wrote for another image, may be replaced.
        observer: Told how it goes.

    Raises:
        UpsegError: If nothing can be done at all: no image, no such model, setting or format, no place to write to.
    """
    started = time.perf_counter()
    check_workers(workers)
    if not formats:
        raise UpsegError("at least one format must be given")
    chosen, folder, formats = find_model(model, **(settings or {})), Path(output), tuple(dict.fromkeys(formats))
    if formats_that_need("depth", formats) and not chosen.predicts_depth:
        raise UpsegError(
            f"the model {printable(chosen.name)} predicts no depth; take one that does, or leave depth out"
        )
    journal = Journal(folder)
    images = find_images(paths, folder, journal.knows)
    readable = [image for image in images if image.problem is None]
    plans = dict(zip(readable, plan_outputs(readable, formats, folder, paths), strict=True))
    digest = _settings_digest(chosen, reading)

    def describe(image: InputImage, stem: Path) -> tuple[ImageTask, str]:
        return ImageTask(image.path, str(image.name), stem, formats, reading), digest

    results = run_batch(
        images,
        plans,
        describe,
        model=chosen,
        journal=journal,
        workers=workers,
        device=device,
        overwrite=overwrite,
        observer=observer or BatchObserver(),
    )
    return BatchSummary(folder, results, time.perf_counter() - started)


def check_workers(workers: int) -> None:
    """Refuse a number of workers that makes no sense.

    Raises:
        UpsegError: If it is below 1.
    """
    if workers < 1:
        raise UpsegError(f"there must be at least 1 worker, got {workers}")


def run_batch(
    images: Sequence[InputImage],
    plans: Mapping[InputImage, OutputPlan],
    describe: Callable[[InputImage, Path], tuple[ImageTask, str]],
    *,
    model: Model,
    journal: Journal,
    workers: int,
    device: str,
    overwrite: bool,
    observer: BatchObserver,
) -> tuple[ImageResult, ...]:
    """Do what is missing of a folder of results, and keep its journal.

    Args:
        images: The inputs; those with a problem fail with it.
        plans: The files of each of the others.
        describe: Gives the task for an image and the stem of its results, and a digest of all that these depend on
            beside the image; an `UpsegError` is why it fails.
        model: What the tasks take.
        journal: Of the folder of results.
        workers: How many tasks to do side by side, each in its own process; 1 for this process.
        device: As `upseg.load_model` takes it.
        overwrite: Whether files that upseg did not write, or wrote for another image, may be replaced.
        observer: Told how it goes.

    Returns:
        One for each of the images, in their order.

    Raises:
        UpsegError: If nothing can be done at all: the model cannot be loaded, or nothing can be written.
    """
    prepared = [_prepare(image, plans.get(image), journal, describe, overwrite=overwrite) for image in images]
    results = {number: item for number, item in enumerate(prepared) if isinstance(item, ImageResult)}
    jobs = {number: item for number, item in enumerate(prepared) if isinstance(item, _Job)}
    observer.on_start(list(results.values()), len(jobs))
    if jobs:
        with journal:
            for number, result in _run(jobs, model, journal, device, workers, observer.on_step):
                results[number] = result
                observer.on_result(result)
    return tuple(results[number] for number in range(len(images)))


def _settings_digest(model: Model, reading: ReadingOptions) -> str:
    """A digest of all that a result depends on beside the image."""
    return digest_of([__version__, model.fingerprint(), reading.channels, reading.page])


def digest_of(facts: Sequence[Any]) -> str:
    """A short text that differs where facts, which JSON can hold, differ."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _prepare(
    image: InputImage,
    plan: OutputPlan | None,
    journal: Journal,
    describe: Callable[[InputImage, Path], tuple[ImageTask, str]],
    *,
    overwrite: bool,
) -> ImageResult | _Job:
    """What is to be done with an image, or how it went without doing anything."""
    if image.problem is not None or plan is None:
        return ImageResult.failure(image.path, image.problem or "there is nothing to read")
    try:
        task, digest = describe(image, journal.path.parent / plan.stem)
        state = InputState.of(image.path, image.name, digest)
    except UpsegError as error:
        return ImageResult.failure(image.path, str(error))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return ImageResult.failure(image.path, f"the file cannot be read ({reason})")
    return _decide(_Job(task, state, plan), journal, overwrite=overwrite)


def _decide(job: _Job, journal: Journal, *, overwrite: bool) -> ImageResult | _Job:
    """Skip what an earlier run did, refuse to replace what is not ours, else do it."""
    present = {file: journal.state_of(file, job.state) for file in job.plan.files}
    task, states = job.task, set(present.values())
    if states == {OutputState.CURRENT}:
        segments = journal.segments_in(job.plan.files[0])
        return ImageResult(task.path, "skipped", task.outputs, segments)
    if OutputState.FOREIGN in states and not overwrite:
        foreign = next(file for file, state in present.items() if state is OutputState.FOREIGN)
        return ImageResult.failure(
            task.path,
            f"{printable(journal.path.parent / foreign)} exists and is not an earlier result of this image; "
            "remove it, write somewhere else, or allow it to be replaced with overwrite=True (--overwrite)",
        )
    replaces = states & {OutputState.OUTDATED, OutputState.FOREIGN}
    return replace(job, task=replace(task, status="replaced")) if replaces else job


def _run(
    jobs: Mapping[int, _Job], model: Model, journal: Journal, device: str, workers: int, on_step: StepCallback
) -> Iterator[tuple[int, ImageResult]]:
    """Segment the images, here or in other processes, and keep the journal."""
    numbers, tasks = list(jobs), [job.task for job in jobs.values()]

    def begin(index: int) -> ImageResult | None:
        job = jobs[numbers[index]]
        if any(journal.was_stopped(file) for file in job.plan.files):
            discard_partials(job.task)
        try:
            journal.begin(job.state, job.plan.files)
        except UpsegError as error:
            return ImageResult.failure(job.task.path, str(error))
        return None

    if workers == 1 or len(tasks) == 1:
        outcomes = _run_here(tasks, model, device, begin, on_step)
    else:
        outcomes = run_in_workers(tasks, model, device=device, workers=workers, on_begin=begin)
    with closing(outcomes):
        for index, result in outcomes:
            yield numbers[index], _recorded(result, jobs[numbers[index]], journal)


def _recorded(result: ImageResult, job: _Job, journal: Journal) -> ImageResult:
    """Note a success in the journal; without its line there, it is none."""
    if result.segments is None or result.seconds is None:
        return result
    try:
        journal.finish(job.state, job.plan.files, seconds=result.seconds, segments=result.segments)
    except UpsegError as error:
        return ImageResult.failure(result.input, str(error))
    return result


def _run_here(
    tasks: Sequence[ImageTask],
    model: Model,
    device: str,
    on_begin: Callable[[int], ImageResult | None],
    on_step: StepCallback,
) -> Generator[tuple[int, ImageResult], None, None]:
    segmenter = model.load(device)
    told = on_step if model.implementation.reports_progress else None
    for index, task in enumerate(tasks):
        yield index, on_begin(index) or run_task(task, segmenter, told)
