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
    """Do jobs in this process, while another thread waits for the disk.

    That thread reads the next image if this one is small, writes the results of the one before, and notes the next.

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
    with threads_of_an_image(), ThreadPoolExecutor(1) as disk:
        pixels, begun = _start_reading(jobs[0], disk), disk.submit(on_begin, 0)
        finish: Callable[[], ImageResult] | None = None
        for index, job in enumerate(jobs):
            failure, started = begun.result(), time.perf_counter()
            pixels = pixels or _start_reading(job, disk)
            read, small = None if pixels is None else pixels.result, _is_small(pixels)
            pixels = None  # of a large image nothing is kept while the next is read
            # all at once, so that the other thread is woken once; first what is needed first
            if index + 1 < len(jobs) and small:
                pixels = _start_reading(jobs[index + 1], disk)
            written = None if finish is None else disk.submit(finish)
            if index + 1 < len(jobs):
                begun = disk.submit(on_begin, index + 1)
            finish = start_anywhere(job, segmenter, told, read) if failure is None else partial(_same, failure)
            del read
            if written is not None:
                yield index - 1, written.result()
            if time.perf_counter() - started > _LONG:
                yield index, disk.submit(finish).result()
                finish = None
        if finish is not None:
            yield len(jobs) - 1, disk.submit(finish).result()


def _start_reading(job: ImageJob, disk: ThreadPoolExecutor) -> Pixels | None:
    """The pixels of an image, once another thread has read them; None for jobs that read as they go."""
    return disk.submit(job.read) if job.is_read_first and not is_remote(job) else None


def _is_small(pixels: Pixels | None) -> bool:
    """Whether there is room for another image beside one; where that cannot be read, there is."""
    return pixels is not None and (pixels.exception() is not None or pixels.result()[..., 0].size <= SMALL)


def _same(result: ImageResult) -> ImageResult:
    return result
