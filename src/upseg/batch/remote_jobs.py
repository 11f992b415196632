"""Jobs whose image or results are in a store: the job of a local file, between fetching and delivering."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float32

from upseg.batch.jobs import ImageJob, ImageResult, StepCallback, run_job, start_job
from upseg.batch.stores import Uri, read, write
from upseg.errors import UpsegError
from upseg.images.reading import IMAGE_SUFFIXES


def run_anywhere(job: ImageJob, segmenter: Any, on_step: StepCallback | None = None) -> ImageResult:
    """As `upseg.batch.jobs.run_job`, of an image that may be in a store, with results that may go to one."""
    if not is_remote(job):
        return run_job(job, segmenter, on_step)
    try:
        with staged(job, fetch(job)) as local:
            result = run_job(local, segmenter, on_step)
            deliver(job, collect(job, local, result))
        return renamed(result, job, local)
    except (UpsegError, OSError) as error:  # the latter of the temporary folder: a full disk
        return ImageResult.failure(job.path, str(error), details=traceback.format_exc())


def start_anywhere(
    job: ImageJob,
    segmenter: Any,
    on_step: StepCallback | None = None,
    read: Callable[[], Float32[np.ndarray, "h w 3"]] | None = None,
) -> Callable[[], ImageResult]:
    """As `upseg.batch.jobs.start_job`; what goes to a store is there already when this returns."""
    if not is_remote(job):
        return start_job(job, segmenter, on_step, read)
    result = run_anywhere(job, segmenter, on_step)
    return lambda: result


def is_remote(job: ImageJob) -> bool:
    """Whether its image or its results are in a store."""
    return isinstance(job.path, Uri) or isinstance(job.stem, Uri)


def fetch(job: ImageJob) -> bytes:
    """The file of an image that is in a store; nothing of a local one.

    Raises:
        UpsegError: If it cannot be read.
    """
    return read(job.path) if isinstance(job.path, Uri) else b""


@contextmanager
def staged(job: ImageJob, content: bytes) -> Iterator[ImageJob]:
    """Give the same job with a temporary folder in place of each store, the image there."""
    with TemporaryDirectory(prefix="upseg-") as folder:
        path, stem = job.path, job.stem
        if isinstance(path, Uri):
            path = Path(folder, f"image{path.suffix if path.suffix.lower() in IMAGE_SUFFIXES else ''}")
            path.write_bytes(content)
        if isinstance(stem, Uri):
            stem = Path(folder, "results", stem.name)
        yield replace(job, path=path, stem=stem)


def collect(job: ImageJob, local: ImageJob, result: ImageResult) -> list[tuple[Uri, bytes]]:
    """The results that a staged job wrote, and what they are called in the store."""
    if result.error is not None:
        return []
    pairs = zip(job.outputs, local.outputs, strict=True)
    return [(place, path.read_bytes()) for place, path in pairs if isinstance(place, Uri)]


def deliver(job: ImageJob, files: list[tuple[Uri, bytes]]) -> None:
    """Write results to their store.

    Raises:
        UpsegError: If one cannot be written.
    """
    for place, content in files:
        try:
            write(place, content)
        except UpsegError as error:
            raise UpsegError(f"{job.path}: the result cannot be written ({error})") from error


def renamed(result: ImageResult, job: ImageJob, local: ImageJob) -> ImageResult:
    """How it went with a job, told by how it went with the staged one."""
    if result.error is None:
        return replace(result, input=job.path, outputs=job.outputs)
    error = result.error.replace(str(local.path), str(job.path))
    return replace(result, input=job.path, error=error.replace(str(local.stem.parent), str(job.stem.parent)))
