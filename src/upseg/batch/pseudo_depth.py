"""Pseudo depth labels: what a depth model says of the images of a data set, written to a folder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from upseg.batch.journal import Claim, Decision, InputState, Journal
from upseg.data.dataset import Dataset
from upseg.data.depth_folder import depth_file
from upseg.data.sample import Sample
from upseg.errors import DataError, UpsegError
from upseg.formats.depth import write_depth_png
from upseg.predicted_depth import PredictedDepth


@runtime_checkable
class DisparityModel(Protocol):
    """What pseudo labels are made with.

    Attributes:
        fingerprint: A digest of all that its answers depend on beside the image.
    """

    fingerprint: str

    def disparity(self, image: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
        """How near each pixel is: of any shift and scale, larger is nearer.

        Args:
            image: (H, W, 3) RGB in [0, 1].
        """
        ...


@dataclass(frozen=True)
class PseudoDepthSummary:
    """How `write_pseudo_depth` went.

    Attributes:
        written: Number of files written.
        skipped: Number of files that an earlier run had written.
        failures: One text for each sample that has no depth now.
    """

    written: int
    skipped: int
    failures: tuple[str, ...]


def write_pseudo_depth(
    dataset: Dataset,
    folder: str | Path,
    model: DisparityModel,
    *,
    origin: str,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PseudoDepthSummary:
    """Write the disparity of every image of a data set to a folder: `NAME.png` of 16 bits, which `DepthFolder` reads.

    A second call does only what is missing, whatever stopped the first one; labels of another model are replaced. That
    an image was changed since is not noticed: remove its file, or the folder. One broken image does not stop the rest.

    Args:
        dataset: The images.
        folder: Made if need be.
        model: What to ask.
        origin: What tells this data set from others whose labels go to the same folder, such as `coco-panoptic/train`.
        overwrite: Whether files may be replaced that are not the labels of the same image.
        progress: Told how many of the samples to do are done.

    Raises:
        UpsegError: If the folder cannot be written to.
    """
    journal = Journal(Path(folder).expanduser())
    names, failures = dataset.names, list[str]()
    pending: list[tuple[int, Claim]] = []
    for index, name in enumerate(names):
        try:
            claim = _claim(name, origin, model, journal)
            if claim.decide(overwrite=overwrite) is not Decision.DONE:
                pending.append((index, claim))
        except UpsegError as error:
            failures.append(str(error))
    skipped = len(names) - len(pending) - len(failures)
    if pending:
        with journal:
            for done, (index, claim) in enumerate(pending, start=1):
                try:
                    _write(names[index], dataset[index], model, claim)
                except DataError as error:
                    failures.append(str(error))
                if progress is not None:
                    progress(done, len(pending))
    return PseudoDepthSummary(len(names) - skipped - len(failures), skipped, tuple(failures))


def _claim(name: str, origin: str, model: DisparityModel, journal: Journal) -> Claim:
    """The file of a sample, and what the journal knows it by; a `DataError` if it would lie outside the folder."""
    file, folder = depth_file(name), journal.folder
    if not (folder / file.parent).resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{folder / file} lies outside {folder}, because a folder in between is a link; remove the link"
        )
    source = hashlib.sha256(origin.encode()).hexdigest()[:16]
    state = InputState(f"{origin}/{name}", source, size=0, mtime_ns=0, settings=model.fingerprint[:16])
    return Claim(journal, state, (file,), f"label of {state.name}")


def _write(name: str, sample: Sample, model: DisparityModel, claim: Claim) -> None:
    """Ask the model about one sample and write what it says."""
    started = time.perf_counter()
    image = sample.image
    try:
        disparity = model.disparity(image)
    except (RuntimeError, ValueError) as error:  # torch's for sizes a model cannot take, and for lack of memory
        raise DataError(f"{name}: the depth model failed on this image: {' '.join(str(error).split()):.300}") from error
    if disparity.shape != sample.shape:
        raise DataError(f"{name}: expected a depth for each of {sample.shape} pixels, the model gave {disparity.shape}")
    try:
        depth = PredictedDepth.relative(disparity)
    except ValueError as error:
        raise DataError(f"{name}: what the depth model says cannot be used: {error}") from error
    path = claim.journal.folder / claim.files[0]
    claim.begin()
    try:
        write_depth_png(depth, path)
    except OSError as error:
        raise UpsegError(f"{path}: cannot be written ({error.strerror or error})") from error
    claim.finish(seconds=time.perf_counter() - started, segments=0)
