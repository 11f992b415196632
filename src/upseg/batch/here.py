"""Images one after the other in this process: what is waited for is the processor, not the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from upseg.batch.jobs import ImageJob, ImageResult, StepCallback
from upseg.batch.remote_jobs import start_anywhere
from upseg.batch.workers import threads_of_an_image
from upseg.models.registry import Model

_LONG = 0.5  # seconds of an image that is noted as finished before the next is segmented


def run_here(
    jobs: Sequence[ImageJob],
    model: Model,
    device: str,
    on_begin: Callable[[int], ImageResult | None],
    on_step: StepCallback,
) -> Generator[tuple[int, ImageResult], None, None]:
    """Do jobs in this process, while another thread waits for the disk.

    That thread notes the next image and writes the results of the one before.

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
        begun = disk.submit(on_begin, 0)
        written: Future[ImageResult] | None = None
        for index, job in enumerate(jobs):
            failure, started = begun.result(), time.perf_counter()
            if index + 1 < len(jobs):
                begun = disk.submit(on_begin, index + 1)
            finish = start_anywhere(job, segmenter, told) if failure is None else partial(_same, failure)
            before, written = written, disk.submit(finish)
            if before is not None:
                yield index - 1, before.result()
            if time.perf_counter() - started > _LONG:
                yield index, written.result()
                written = None
        if written is not None:
            yield len(jobs) - 1, written.result()


def _same(result: ImageResult) -> ImageResult:
    return result
