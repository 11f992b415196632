"""Segmenting many files: what is done is skipped, what is broken is named, and the rest goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from upseg import __version__
from upseg.batch.blocks import BlockJob, block_key, check_blocks
from upseg.batch.here import run_here
from upseg.batch.inputs import InputImage, OutputPlan, earlier_results, find_images, plan_outputs
from upseg.batch.jobs import ImageJob, ImageResult, ResultOptions, Status, StepCallback
from upseg.batch.journal import Claim, Decision, InputState, Journal, digest_of
from upseg.batch.ray_pipeline import run_on_ray
from upseg.batch.stacks import DEFAULT_LINK, PROJECTION, ProjectionJob, StackJob, check_planes
from upseg.batch.store_journal import StoreJournal, open_journal
from upseg.batch.stores import Uri, place_of, read_all, write
from upseg.batch.workers import run_in_workers
from upseg.errors import UpsegError
from upseg.files import printable
from upseg.formats import FORMATS, formats_that_need
from upseg.formats.csv_table import write_summary
from upseg.images.options import ReadingOptions
from upseg.models.registry import Model, find_model

DEFAULT_FORMATS = ("png", "overlay")
SUMMARY = PurePosixPath("summary.csv")
Describe = Callable[[InputImage, Path], tuple[ImageJob, str]]
"""Gives the job for an image and the stem of its results, and a digest of all that these depend on beside the image; an
`UpsegError` is why it fails."""


@dataclass(frozen=True)
class BatchSummary:
    """How a run went.

    Attributes:
        output: The folder of results.
        results: One for each image, sorted by its name.
        seconds: Time the run took.
        stale: Results of these images under the names that they had before other images came or went: nothing brings
            them up to date any more.
    """

    output: Path
    results: tuple[ImageResult, ...]
    seconds: float
    stale: tuple[Path, ...] = field(default=(), kw_only=True)

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
            **({"stale": [str(path) for path in self.stale]} if self.stale else {}),
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


def segment_files(
    paths: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    model: str | Path = "dynaseg",
    settings: Mapping[str, Any] | None = None,
    formats: Sequence[str] = DEFAULT_FORMATS,
    workers: int | None = None,
    device: str = "auto",
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    options: ResultOptions = ResultOptions(),  # noqa: B008 - frozen
    overwrite: bool = False,
    memory: int | None = None,
    shard: tuple[int, int] | None = None,
    planes: str | None = None,
    link: float = DEFAULT_LINK,
    ray: str | None = None,
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
        workers: How many images to segment side by side, each in its own process; 1 for this process. None for 1, and
            with `ray` for as many as the cluster has CPUs or GPUs.
        device: As `upseg.load_model` takes it.
        reading: How to read the images; what it leaves open the model says.
        options: What becomes of the segments before they are written. With the format `csv` the file `summary.csv` in
            the folder of results has one row for each image.
        overwrite: Whether files that upseg did not write, or wrote for another image, may be replaced.
        memory: Bytes that a process may take: images are then never whole in memory, but segmented in blocks. What was
            computed of an image goes to a folder beside its results, from which a stopped run goes on.
        shard: (i, n) to do only every n-th image, from the i-th (from 1): n calls, on as many machines that share the
            folder of results, do all. Each has its own `summary.i-of-n.csv`.
        planes: Of files with several: `all`, or a stretch such as `3-9`, to segment each by itself and join segments
            to objects; `max-projection` to segment their maximum. None to segment the one that `reading` says.
        link: The least IoU at which segments of neighbouring planes are one object, in (0, 1].
        ray: Where a Ray cluster is that shall do it, as `upseg.batch.ray_pipeline.run_on_ray` takes it; every machine
            of it must be able to read the images and to write the results: they are on a shared disk or in stores.
        observer: Told how it goes.

    Raises:
        UpsegError: If nothing can be done at all: no image, no such model, setting or format, no place to write to.
    """
    started = time.perf_counter()
    check_workers(1 if workers is None else workers)
    part, parts = shard or (1, 1)
    if not 1 <= part <= parts:
        raise UpsegError(f"a shard is i of n with 1 <= i <= n, got {part} of {parts}")
    if not formats:
        raise UpsegError("at least one format must be given")
    chosen, folder, formats = find_model(model, **(settings or {})), place_of(output), tuple(dict.fromkeys(formats))
    if formats_that_need("depth", formats) and not chosen.predicts_depth:
        raise UpsegError(
            f"the model {printable(chosen.name)} predicts no depth; take one that does, or leave depth out"
        )
    if (unfit := formats_that_need("levels", formats)) and not chosen.has_hierarchy:
        raise UpsegError(
            f"the model {printable(chosen.name)} finds one level only; take dynaseg (with grouping=hierarchy), "
            f"or leave {unfit[0]} out"
        )
    remote = any(isinstance(place_of(name), Uri) for name in (*paths, output))
    _check_kind(chosen, formats, options, memory, planes, remote=remote)
    journal = open_journal(folder)
    images = find_images(paths, folder, journal.knows, stores=True)
    reading = reading.over(chosen.reading)
    pixels, normalize = reading.facts(), reading.facts().get("normalize")
    facts = [__version__, chosen.fingerprint(), pixels.get("channels"), pixels.get("page")]
    facts += [] if normalize is None else [normalize]
    facts += [] if planes is None else [planes, link]
    # without options the digest is that of versions that had none, so that their results are still known
    digest = digest_of(facts if options == ResultOptions() else [*facts, asdict(options)])

    def describe(image: InputImage, stem: Path) -> tuple[ImageJob, str]:
        facts: dict[str, Any] = {"formats": formats, "reading": reading, "options": options}
        facts |= {"path": image.path, "name": str(image.name), "stem": stem}
        if memory is not None:
            return BlockJob(**facts, memory=memory, key=block_key(digest, image.path)), digest
        if planes == PROJECTION:
            return ProjectionJob(**facts), digest
        if planes is not None:
            return StackJob(**facts, planes=planes, link=link), digest
        return ImageJob(**facts), digest

    summary = SUMMARY if shard is None else SUMMARY.with_suffix(f".{part}-of-{parts}.csv")
    plans = plan_outputs(images, formats, folder, paths, reserved=summary if "csv" in formats else None)
    plans = dict(list(plans.items())[part - 1 :: parts])  # of all images, so that names do not depend on the shards
    stale = stale_results(plans, journal)
    results = run_batch(
        plans,
        describe,
        model=chosen,
        journal=journal,
        workers=workers,
        device=device,
        overwrite=overwrite,
        observer=observer or BatchObserver(),
        ray=ray,
    )
    if "csv" in formats:
        _summarize(results, {image.path: str(image.name) for image in images}, folder / summary)
    return BatchSummary(folder, results, time.perf_counter() - started, stale=stale)


def _check_kind(
    model: Model,
    formats: Sequence[str],
    options: ResultOptions,
    memory: int | None,
    planes: str | None,
    *,
    remote: bool,
) -> None:
    """Refuse formats and options that do not fit to images in blocks, to stacks, or to plain images.

    Raises:
        UpsegError: If one does not.
    """
    if memory is not None and remote:
        raise UpsegError("images in blocks go on from files beside their results; copy those in stores to a disk")
    if memory is not None and planes is not None:
        raise UpsegError("images in blocks are single planes: choose one with page (--page), or leave memory out")
    if memory is not None:
        check_blocks(model, formats, options)
    elif planes is not None:
        check_planes(planes, formats, options)
    if memory is None and "ome-zarr" in formats:
        raise UpsegError("ome-zarr is written of images in blocks; say how much memory they may take (--memory)")
    if planes in (None, PROJECTION) and "tracks" in formats:
        raise UpsegError("tracks are of several planes; say which (--planes)")


def stale_results(plans: Mapping[InputImage, OutputPlan], journal: Journal) -> tuple[Path, ...]:
    """The files of earlier runs whose images' results have other names now, as when `a.jpg` came beside `a.png`."""
    others = journal.results_beside({str(file) for plan in plans.values() for file in plan.files})
    return tuple(
        journal.folder / file
        for image, plan in plans.items()
        if image.problem is None and (known := others.get(str(image.name)))
        for file in earlier_results(image, plan)
        if file in known
    )


def _summarize(results: Sequence[ImageResult], names: Mapping[Path, str], path: Path) -> None:
    """Write one row for each image that is done; cheap, so that it is done anew every time.

    Raises:
        UpsegError: If it cannot be written.
    """
    suffix = FORMATS["csv"].suffix
    tables = {names[r.input]: next(p for p in r.outputs if p.name.endswith(suffix)) for r in results if r.outputs}
    if not tables:
        return
    try:
        if isinstance(path, Uri):
            _summarize_in_store(tables, path)
        else:
            write_summary(tables, path)
    except OSError as error:
        raise UpsegError(f"{printable(path)} cannot be written ({error.strerror or error})") from error


def _summarize_in_store(tables: Mapping[str, Path], path: Uri) -> None:
    with TemporaryDirectory() as folder:
        copies = {name: Path(folder, f"{number}.csv") for number, name in enumerate(tables)}
        for copy, content in zip(copies.values(), read_all(list(tables.values())), strict=True):
            copy.write_bytes(content)
        write_summary(copies, Path(folder, path.name))
        write(path, Path(folder, path.name).read_bytes())


def check_workers(workers: int) -> None:
    """Refuse a number of workers that makes no sense.

    Raises:
        UpsegError: If it is below 1.
    """
    if workers < 1:
        raise UpsegError(f"there must be at least 1 worker, got {workers}")


def run_batch(
    plans: Mapping[InputImage, OutputPlan],
    describe: Describe,
    *,
    model: Model,
    journal: Journal,
    workers: int | None,
    device: str,
    overwrite: bool,
    observer: BatchObserver,
    ray: str | None = None,
) -> tuple[ImageResult, ...]:
    """Do what is missing of a folder of results, and keep its journal.

    Args:
        plans: The inputs and their files, as `plan_outputs` returns them; those with a problem fail with it.
        describe: What is to be done with each.
        model: What the jobs take.
        journal: Of the folder of results.
        workers: How many jobs to do side by side, each in its own process; 1 for this process.
        device: As `upseg.load_model` takes it.
        overwrite: Whether files that upseg did not write, or wrote for another image, may be replaced.
        observer: Told how it goes.
        ray: Where a Ray cluster is that shall do it.

    Returns:
        One for each of the images, in their order.

    Raises:
        UpsegError: If nothing can be done at all: the model cannot be loaded, or nothing can be written.
    """
    results: dict[int, ImageResult] = {}
    pending: dict[int, tuple[ImageJob, Claim]] = {}
    for number, (image, plan) in enumerate(plans.items()):
        match _prepare(image, plan, journal, describe, overwrite=overwrite):
            case ImageResult() as result:
                results[number] = result
            case to_do:
                pending[number] = to_do
    observer.on_start(list(results.values()), len(pending))
    if pending:
        with journal:
            for number, result in _run(pending, model, device, workers, observer.on_step, ray):
                results[number] = result
                observer.on_result(result)
    return tuple(results[number] for number in range(len(plans)))


def _prepare(
    image: InputImage, plan: OutputPlan, journal: Journal, describe: Describe, *, overwrite: bool
) -> ImageResult | tuple[ImageJob, Claim]:
    """What is to be done with an image, or how it went without doing anything."""
    if image.problem is not None:
        return ImageResult.failure(image.path, image.problem)
    try:
        job, digest = describe(image, journal.folder / plan.stem)
        claim = Claim(journal, InputState.of(image.path, image.name, digest, image.stamp), plan.files)
        decision = claim.decide(overwrite=overwrite)
    except UpsegError as error:
        return ImageResult.failure(image.path, str(error))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return ImageResult.failure(image.path, f"the file cannot be read ({reason})")
    if decision is Decision.DONE:
        return ImageResult(job.path, "skipped", job.outputs, claim.segments)
    return replace(job, status="replaced") if decision is Decision.REDO else job, claim


def _run(
    pending: Mapping[int, tuple[ImageJob, Claim]],
    model: Model,
    device: str,
    workers: int | None,
    on_step: StepCallback,
    ray: str | None,
) -> Iterator[tuple[int, ImageResult]]:
    """Segment the images, here or in other processes, and keep the journal."""
    numbers, (jobs, claims) = list(pending), zip(*pending.values(), strict=True)

    journal = claims[0].journal
    all_at_once = ray is not None or isinstance(journal, StoreJournal)
    if all_at_once:
        with journal.at_once():
            for claim in claims:
                claim.begin()

    def begin(index: int) -> ImageResult | None:
        if all_at_once:
            return None
        try:
            claims[index].begin()
        except UpsegError as error:
            return ImageResult.failure(jobs[index].path, str(error))
        return None

    if ray is not None:
        outcomes = run_on_ray(jobs, model, device=device, workers=workers, address=ray)
    elif workers in (None, 1) or len(jobs) == 1:
        outcomes = run_here(jobs, model, device, begin, on_step)
    else:
        outcomes = run_in_workers(jobs, model, device=device, workers=workers or 1, on_begin=begin)
    with closing(outcomes):
        for index, result in outcomes:
            yield numbers[index], _recorded(result, claims[index])


def _recorded(result: ImageResult, claim: Claim) -> ImageResult:
    """Note a success in the journal; without its line there, it is none."""
    if result.segments is None or result.seconds is None:
        return result
    try:
        claim.finish(seconds=result.seconds, segments=result.segments)
    except UpsegError as error:
        return ImageResult.failure(result.input, str(error))
    return result
