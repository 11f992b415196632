"""Images one after the other in this process: what is waited for is the processor, not the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32

from upseg.batch.jobs import SMALL, ImageJob, ImageResult, StepCallback
from upseg.batch.remote_jobs import is_remote, start_anywhere
from upseg.batch.workers import threads_of_an_image
from upseg.models.registry import Model

Pixels: TypeAlias = Future[Float32[np.ndarray, "h w 3"]]
_LONG = 0.5  # seconds of an image that is noted as finished before the next is segmented


def run_here(
    jobs: Sequence[ImageJob],
    model: Model,
    device: str,
    on_begin: Callable[[int], ImageResult | None],
    on_step: StepCallback,
) -> Generator[tuple[int, ImageResult], None, None]:
    """Do jobs in this process, while two other threads wait for the disk.

    One notes the next image and writes the results of the one before, the other reads the next one if this is small.

    Args:
        jobs: What to do.
        model: What they take.
        device: As `upseg.load_model` takes it.
        on_begin: Called with the number of each before its results are written; what it gives is why it fails.
        on_step: Told how far the one in hand is.

    Yields:
        The number of each, in their order, and how it went.
    """
    segmenter = model.load(device)
    told = on_step if model.implementation.reports_progress else None
    with threads_of_an_image(), ThreadPoolExecutor(1) as disk, ThreadPoolExecutor(1) as reader:
        begun, ahead = disk.submit(on_begin, 0), _start_reading(jobs[0], reader)
        written: Future[ImageResult] | None = None
        for index, job in enumerate(jobs):
            failure, started = begun.result(), time.perf_counter()
            pixels, ahead = ahead or _start_reading(job, reader), None
            if index + 1 < len(jobs):
                begun = disk.submit(on_begin, index + 1)
                ahead = _start_reading(jobs[index + 1], reader) if _is_small(pixels) else None
            read = None if pixels is None else pixels.result
            finish = start_anywhere(job, segmenter, told, read) if failure is None else partial(_same, failure)
            del pixels, read  # of a large image nothing is kept while the next is read
            if written is not None:
                yield index - 1, written.result()
            written = disk.submit(finish)
            if time.perf_counter() - started > _LONG:
                yield index, written.result()
                written = None
        if written is not None:
            yield len(jobs) - 1, written.result()


def _start_reading(job: ImageJob, reader: ThreadPoolExecutor) -> Pixels | None:
    """The pixels of an image, once another thread has read them; None for jobs that read as they go."""
    return reader.submit(job.read) if job.is_read_first and not is_remote(job) else None


def _is_small(pixels: Pixels | None) -> bool:
    """Whether there is room for another image beside one; where that cannot be read, there is."""
    return pixels is not None and (pixels.exception() is not None or pixels.result()[..., 0].size <= SMALL)


def _same(result: ImageResult) -> ImageResult:
    return result
