"""Class masks in, instances out, for a whole folder: label maps, and one COCO file for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

from upseg import __version__
from upseg.batch.inputs import InputImage, InputKind, check_not_searched, find_images, plan_outputs
from upseg.batch.jobs import ImageResult
from upseg.batch.journal import Claim, Decision, InputState, Journal, digest_of
from upseg.batch.run import BatchObserver, BatchSummary, check_workers, run_batch, stale_results
from upseg.errors import FormatError, UpsegError
from upseg.files import printable, stamp
from upseg.formats import FORMATS, coco_folder, formats_that_need, output_paths
from upseg.formats.coco_folder import write_coco_folder
from upseg.images.options import ReadingOptions
from upseg.models.registry import Model
from upseg.segmentation import Segmentation
from upseg.split.baselines import BASELINES, find_splitter
from upseg.split.classes import MaskClasses
from upseg.split.jobs import PHOTOS, MaskJob, Photos

INSTANCES = PurePosixPath(coco_folder.INSTANCES)
"""The COCO file of a folder of results."""
DEFAULT_FORMATS = ("png",)
MASKS = InputKind("mask", "split", frozenset({".png", ".tif", ".tiff"}))


@dataclass(frozen=True)
class SplitSummary(BatchSummary):
    """How a run went.

    Attributes:
        instances: The COCO file of all masks that are done; None if there is none.
        problem: Why there is none, or why it is not up to date.
    """

    instances: Path | None = None
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        instances = None if self.instances is None else str(self.instances)
        return {**super().as_json(), "instances": instances, "problem": self.problem}


def split_files(
    paths: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    model: str | Path,
    images: str | PathLike[str] | None = None,
    classes: MaskClasses = MaskClasses(),  # noqa: B008 - frozen
    settings: Mapping[str, Any] | None = None,
    formats: Sequence[str] = DEFAULT_FORMATS,
    workers: int = 1,
    device: str = "auto",
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    overwrite: bool = False,
    protected: Mapping[Path, str] | None = None,
    observer: BatchObserver | None = None,
) -> SplitSummary:
    """Split class masks into instances: a label map for each, and one COCO file for all of them.

    A second call does only what is missing, as `upseg.batch.run.segment_files` does, and brings the COCO file up
    to date: it holds the masks named in the last call that did not fail. A mask that cannot be read or has no photo
    fails; the others go on.

    Args:
        paths: Class masks: files, folders and globs. The value of a pixel is its class.
        output: The folder of results; made if need be.
        model: As `find_splitter` takes it.
        images: A folder with the photo of each mask, below it as the mask is below its folder, with any suffix. May be
            left out for the baselines.
        classes: What the values of pixels mean.
        settings: What shall differ from the model's own settings.
        formats: Names in `upseg.formats.FORMATS`. Pictures (`overlay`) cannot be gathered in the COCO file: where
            nothing else is asked for, `png` is written too.
        workers: How many masks to split side by side, each in its own process; 1 for this process.
        device: As `upseg.load_model` takes it.
        reading: How to read the photos; what it leaves open the model says.
        overwrite: Whether files that upseg did not write, or wrote for another mask, may be replaced.
        protected: Further files that must not be replaced, and what they are.
        observer: Told how it goes.

    Raises:
        UpsegError: If nothing can be done at all: no mask, no such model, setting, format or folder, no place to write.
    """
    started = time.perf_counter()
    check_workers(workers)
    folder, observer, formats = Path(output), observer or BatchObserver(), _with_one_to_read(formats)
    chosen = find_splitter(model, **(settings or {}))
    _check_request(chosen, formats, images)
    reading = reading.over(chosen.reading)
    journal = Journal(folder)
    _claim(journal).decide(overwrite=overwrite)  # refuses at once what would come to light after hours
    masks = find_images(paths, folder, journal.knows, MASKS)
    photos = Photos(None if images is None else Path(images), masks, journal)
    secured = {**(protected or {}), **{photo.path: "a photo of a mask" for photo in photos.found}}
    plans = plan_outputs(masks, formats, folder, paths, kind=MASKS, reserved=INSTANCES, protected=secured)
    stale = stale_results(plans, journal)
    files = [INSTANCES, *(file for plan in plans.values() for file in plan.files)]
    check_not_searched(files, folder, photos.folders, PHOTOS)
    needs_photo = chosen.method not in BASELINES or bool(formats_that_need("image", formats))
    pixels = reading.facts() if needs_photo else {}
    facts = [__version__, chosen.fingerprint(), *classes.facts(), *([pixels] if pixels else [])]
    names: dict[Path, str] = {}

    def describe(mask: InputImage, stem: Path) -> tuple[MaskJob, str]:
        photo = photos.of(mask)
        names[mask.path] = name = str((photo or mask).name)
        job = MaskJob(
            mask.path,
            str(mask.name),
            stem,
            formats,
            reading,
            classes=classes,
            photo=None if photo is None else photo.path,
            image=name,
            needs_photo=needs_photo,
        )
        return job, digest_of([*facts, name, [] if photo is None else stamp(photo.path)])

    results = run_batch(
        plans,
        describe,
        model=chosen,
        journal=journal,
        workers=workers,
        device="cpu" if chosen.method in BASELINES else device,  # without torch, which takes seconds to load
        overwrite=overwrite,
        observer=observer,
    )
    about = f"class masks split into instances by upseg {__version__} ({chosen.method})"
    results, instances, problem = _gather(results, names, classes, about, journal, observer, _place_of_best(formats))
    return SplitSummary(folder, results, time.perf_counter() - started, instances, problem, stale=stale)


def _check_request(model: Model, formats: Sequence[str], images: str | PathLike[str] | None) -> None:
    if unfit := formats_that_need("depth", formats):
        raise UpsegError(f"class masks have no depth; leave the format {unfit[0]} out")
    if unfit := formats_that_need("levels", formats):
        raise UpsegError(f"class masks have one level only; leave the format {unfit[0]} out")
    if images is not None and not Path(images).is_dir():
        raise UpsegError(f"{printable(images)} should be the folder with the photos of the masks, but is none")
    if images is None and model.method not in BASELINES:
        raise UpsegError(
            f"the model {printable(model.name)} looks at the photos of the masks; give their folder with images=... "
            "(--images)"
        )
    if images is None and (unfit := formats_that_need("image", formats)):
        raise UpsegError(
            f"the format {unfit[0]} is made with the photo; give the folder of the photos with images=... (--images)"
        )


def _with_one_to_read(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats, each once, with one among them of which the COCO file can be made."""
    chosen = tuple(dict.fromkeys(formats))
    return chosen if any(FORMATS[name].read for name in chosen if name in FORMATS) else ("png", *chosen)


def _place_of_best(formats: Sequence[str]) -> int:
    """Which of a result's files holds most of what can be read back: the formats are listed in that order."""
    best = next(form.name for form in FORMATS.values() if form.read and form.name in formats)
    return sum(len(output_paths(Path("any"), name)) for name in formats[: formats.index(best)])


def _claim(journal: Journal, digest: str = "") -> Claim:
    """The COCO file's place in the journal: its input is the folder of results."""
    return Claim(journal, InputState(str(INSTANCES), "", 0, 0, digest), (INSTANCES,), "result")


def _gather(
    results: tuple[ImageResult, ...],
    names: Mapping[Path, str],
    classes: MaskClasses,
    about: str,
    journal: Journal,
    observer: BatchObserver,
    place: int,
) -> tuple[tuple[ImageResult, ...], Path | None, str | None]:
    """Bring the COCO file up to date from the files at a place among each result's; what cannot be read has failed.

    Gives the results, the COCO file if there is one, and why it is not up to date if it is not.
    """
    path, started = journal.folder / INSTANCES, time.perf_counter()
    done = {number: result for number, result in enumerate(results) if result.status != "failed"}
    if not done:
        return results, None, None
    failures: dict[int, ImageResult] = {}

    def images() -> Iterator[tuple[str, Segmentation, tuple[()]]]:
        for count, (number, result) in enumerate(done.items(), start=1):
            try:
                segmentation = Segmentation.load(result.outputs[place])
            except FormatError as error:
                failures[number] = ImageResult.failure(result.input, f"{error}; remove that file and run again")
                continue
            yield names[result.input], segmentation, ()
            observer.on_gather(count, len(done))

    try:
        rows = [[names[result.input], *stamp(result.outputs[place])] for result in done.values()]
        claim = _claim(journal, digest_of([__version__, *classes.facts(), *rows]))
        if claim.decide(overwrite=True) is not Decision.DONE:
            with journal:
                claim.begin()
                _, count = write_coco_folder(images(), path, categories=classes.categories(), description=about)
                if not failures:  # else the next run has to look again
                    claim.finish(seconds=time.perf_counter() - started, segments=count)
    except (OSError, UpsegError) as error:
        reason = getattr(error, "strerror", None) or error
        return results, None, f"{printable(path)} cannot be written ({reason}); the same command writes it again"
    return tuple(failures.get(number, result) for number, result in enumerate(results)), path, None
