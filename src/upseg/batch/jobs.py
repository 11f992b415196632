"""One image of many: read it, segment it, write its results, and say how it went."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float32

from upseg.batch.memory import reuse_freed_memory
from upseg.errors import UpsegError
from upseg.files import printable, remove_partials
from upseg.formats import formats_that_need, output_paths, write
from upseg.images.options import ReadingOptions
from upseg.images.pixel_size import PixelSize
from upseg.images.regions import noted_pixel_size
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Segmentation

_LOGGER = logging.getLogger(__name__)
Status = Literal["done", "replaced", "skipped", "failed"]
_Done = TypeVar("_Done")
SMALL = 1_000_000
"""Pixels of an image whose results may wait to be written, and beside which the next may be read."""
SMALL_KEPT, LARGE_KEPT = 1 << 26, 1 << 24
"""What `reuse_freed_memory` takes for small images, and for others."""
StepCallback = Callable[[int, int], None]
"""Told how many steps of how many are done with the image in hand."""


NO_MEMORY = (
    "there is not enough memory for this image; use fewer workers, make the image smaller, or set the model to work "
    "at a smaller size"
)


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """What becomes of the segments before they are written.

    Attributes:
        min_area: The least area, in pixels, of a segment that is kept; None for any.
        max_area: The largest one.
        clear_border: Whether segments that touch the image's edge are left out.
        pixel_size: As `upseg.images.pixel_size.PixelSize.of` takes it; None for what the image's file says.
        levels: How many levels of the hierarchy are written by formats of several; None for 8.
    """

    min_area: int | None = None
    max_area: int | None = None
    clear_border: bool = False
    pixel_size: str | None = None
    levels: int | None = None

    def __post_init__(self) -> None:
        if self.pixel_size is not None:
            try:
                PixelSize.of(self.pixel_size)
            except ValueError as error:
                raise UpsegError(str(error)) from error
        if self.levels is not None and self.levels < 1:
            raise UpsegError(f"there must be at least 1 level, got {self.levels}")

    def apply(self, found: Segmentation, path: Path) -> Segmentation:
        """Leave segments out, and note how large a pixel is."""
        kept = found.filter(min_area=self.min_area, max_area=self.max_area, clear_border=self.clear_border)
        size = noted_pixel_size(path) if self.pixel_size is None else PixelSize.of(self.pixel_size)
        return kept if size is None else kept.with_provenance({**kept.provenance, "pixel_size": size.as_json()})


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """What came of one image.

    Attributes:
        segmentation: Its segments, and in the provenance which pixels they are from.
        image: (H, W, 3) RGB in [0, 1]; None where nothing needed it.
        depth: What was predicted with the segments; None where it was not asked for.
    """

    segmentation: Segmentation
    image: Float32[np.ndarray, "h w 3"] | None
    depth: PredictedDepth | None = None


@dataclass(frozen=True, slots=True)
class ImageJob:
    """What a process needs to know to segment one image; other kinds of jobs have their own `segment`.

    Attributes:
        path: The image.
        name: Its name among the inputs, with slashes.
        stem: Folder and name of the results, without a format's suffix.
        formats: Names in `upseg.formats.FORMATS`.
        reading: How to read the image.
        status: What a success will be called.
        options: What becomes of the segments before they are written.
    """

    path: Path
    name: str
    stem: Path
    formats: tuple[str, ...]
    reading: ReadingOptions = ReadingOptions()  # noqa: RUF009 - frozen
    status: Status = "done"
    options: ResultOptions = ResultOptions()

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file that the formats make."""
        return tuple(path for name in self.formats for path in output_paths(self.stem, name))

    def start(self, segmenter: Any, on_step: StepCallback | None = None) -> Callable[[], int]:
        """Segment the input.

        Args:
            segmenter: The loaded model.
            on_step: Told of progress; None if nobody is, or the model's method does not report it.

        Returns:
            Writes every result, and returns the number of segments; of a large image they are written already.

        Raises:
            UpsegError: If something is wrong with this input; from what is returned, if a result cannot be written.
        """
        return self._to_write(lambda: self.segment(segmenter, on_step))

    def start_read(
        self, read: Callable[[], Float32[np.ndarray, "h w 3"]], segmenter: Any, on_step: StepCallback | None = None
    ) -> Callable[[], int]:
        """As `start`, but the pixels are what `read` gives, which has called `self.read`; if it `is_read_first`."""
        return self._to_write(lambda: self._segment_pixels(read(), segmenter, on_step))

    @property
    def is_read_first(self) -> bool:
        """Whether there is one image, which is read whole and then segmented; other kinds of jobs go bit by bit."""
        return type(self).start is ImageJob.start and type(self).segment is ImageJob.segment

    def _to_write(self, segment: Callable[[], Outcome]) -> Callable[[], int]:
        """Segment; what is returned writes the results, unless it is done already, and gives their number."""
        started = time.perf_counter()
        found = segment()
        count, taken = len(found.segmentation), time.perf_counter() - started
        _LOGGER.info("%s: %d segments after %.1f s", printable(self.path), count, taken)

        def write_one(name: str, path: Path) -> None:
            given: dict[str, Any] = {"image": found.image, "depth": found.depth, "levels": self.options.levels}
            write(found.segmentation, path, format=name, **given)

        def finish() -> int:
            self.write_each(write_one)
            return count

        if found.segmentation.labels.size <= SMALL:
            return finish
        return partial(int, finish())  # so that its memory is free for the next

    def write_each(self, write_one: Callable[[str, Path], object]) -> None:
        """Write every format.

        Args:
            write_one: Called with the name of a format and the path of its first file.

        Raises:
            UpsegError: If one cannot be written.
        """
        try:
            for name in self.formats:
                path = output_paths(self.stem, name)[0]
                _LOGGER.info("%s: writing %s", printable(self.path), printable(path))
                write_one(name, path)
        except OSError as error:
            raise UpsegError(
                f"{printable(self.path)}: the result cannot be written to {printable(self.stem.parent)} "
                f"({error.strerror or error})"
            ) from error

    def segment(self, segmenter: Any, on_step: StepCallback | None = None) -> Outcome:
        """Read the input and segment it.

        Args:
            segmenter: The loaded model.
            on_step: Told of progress; None if nobody is, or the model's method does not report it.

        Raises:
            UpsegError: If something is wrong with this input.
        """
        return self._segment_pixels(self.read(), segmenter, on_step)

    def _segment_pixels(
        self, image: Float32[np.ndarray, "h w 3"], segmenter: Any, on_step: StepCallback | None
    ) -> Outcome:
        # what would be kept after a large image would add to what the next one takes
        reuse_freed_memory(SMALL_KEPT if image[..., 0].size <= SMALL else LARGE_KEPT)
        found, depth = _segment(image, segmenter, on_step, with_depth=bool(formats_that_need("depth", self.formats)))
        found = self.options.apply(found.with_provenance({**found.provenance, **self.origin()}), self.path)
        return Outcome(found, image, depth)

    def read(self) -> Float32[np.ndarray, "h w 3"]:
        """The pixels."""
        return self.reading.read(self.path)

    def origin(self) -> dict[str, Any]:
        """Which pixels are segmented."""
        return {"image": self.name, **self.reading.facts()}


@dataclass(frozen=True, slots=True)
class ImageResult:
    """How it went with one image.

    Attributes:
        input: The image.
        status: `done`; `replaced`, where there was an older result; `skipped`, where an earlier run had done it;
            or `failed`.
        outputs: The files with its results; empty if it failed.
        segments: Their number of segments, where known.
        seconds: Time it took in this run.
        error: Why it failed, in one line that names the image.
        details: The traceback of the failure.
    """

    input: Path
    status: Status
    outputs: tuple[Path, ...] = ()
    segments: int | None = None
    seconds: float | None = None
    error: str | None = None
    details: str | None = None

    @classmethod
    def failure(cls, path: Path, reason: str, *, details: str | None = None) -> ImageResult:
        """A failed image; `reason` gets the image's path in front where it does not name it."""
        shown = printable(path)
        return cls(path, "failed", error=reason if reason.startswith(shown) else f"{shown}: {reason}", details=details)

    def as_json(self) -> dict[str, Any]:
        """For machines, without the traceback."""
        return {
            "input": str(self.input),
            "status": self.status,
            "outputs": [str(path) for path in self.outputs],
            "segments": self.segments,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "error": self.error,
        }


def run_job(job: ImageJob, segmenter: Any, on_step: StepCallback | None = None) -> ImageResult:
    """Segment one image and write its results; arguments as of `start_job`."""
    return start_job(job, segmenter, on_step)()


def start_job(
    job: ImageJob,
    segmenter: Any,
    on_step: StepCallback | None = None,
    read: Callable[[], Float32[np.ndarray, "h w 3"]] | None = None,
) -> Callable[[], ImageResult]:
    """Segment one image; whatever goes wrong concerns only this image.

    Args:
        job: What to do.
        segmenter: The loaded model, as the job takes it.
        on_step: Told of progress; None if nobody is, or the model's method does not report it.
        read: What `ImageJob.start_read` takes, where that is to be called.

    Returns:
        Writes the results, and says how it went; may be called in another thread, once.
    """
    started = time.perf_counter()
    start = job.start if read is None else partial(job.start_read, read)
    write = _guarded(job, lambda: start(segmenter, on_step))

    def finish() -> ImageResult:
        segments = write if isinstance(write, ImageResult) else _guarded(job, write)
        if isinstance(segments, ImageResult):
            return segments
        return ImageResult(job.path, job.status, job.outputs, segments, time.perf_counter() - started)

    return finish


def _guarded(job: ImageJob, do: Callable[[], _Done]) -> _Done | ImageResult:
    """What a part of a job gives, or how it failed."""
    try:
        return do()
    except UpsegError as error:
        return ImageResult.failure(job.path, str(error), details=traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - a bug in one image must not stop the others
        if lacks_memory(error):
            return ImageResult.failure(job.path, NO_MEMORY, details=traceback.format_exc())
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        return ImageResult.failure(job.path, f"unexpected {reason}", details=traceback.format_exc())


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, as Python, NumPy or torch say it."""
    text = str(error)
    said = ("can't allocate memory", "out of memory", "not enough memory", "Unable to allocate")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(part in text for part in said))


def discard_partials(job: ImageJob) -> None:
    """Delete what a killed process left half-written for a job."""
    for path in job.outputs:
        remove_partials(path)


def _segment(
    image: Float32[np.ndarray, "h w 3"], segmenter: Any, on_step: StepCallback | None, *, with_depth: bool
) -> tuple[Segmentation, PredictedDepth | None]:
    if with_depth:
        segmentation, depth = segmenter.segment_with_depth(image, **progress_option(on_step))
        return segmentation, depth
    return segmenter.segment(image, **progress_option(on_step)), None


def progress_option(on_step: StepCallback | None) -> dict[str, StepCallback]:
    """How a segmenter is told whom to tell of progress; those that cannot tell have no parameter for it."""
    return {} if on_step is None else {"progress": on_step}
