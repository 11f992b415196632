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

from upseg.batch.journal import InputState, Journal, OutputState
from upseg.data.dataset import Dataset
from upseg.data.depth_folder import depth_file
from upseg.data.sample import Sample
from upseg.errors import DataError, UpsegError
from upseg.files import remove_partials
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
    target = Path(folder).expanduser()
    journal = Journal(target)
    failures: list[str] = []
    labels = [_Label(index, name, origin, model.fingerprint) for index, name in enumerate(dataset.names)]
    pending = [label for label in labels if _is_to_do(label, target, journal, failures, overwrite=overwrite)]
    skipped = len(labels) - len(pending) - len(failures)
    if pending:
        with journal:
            for done, label in enumerate(pending, start=1):
                try:
                    _write(label, dataset[label.index], target, model, journal)
                except DataError as error:
                    failures.append(str(error))
                if progress is not None:
                    progress(done, len(pending))
    return PseudoDepthSummary(len(labels) - skipped - len(failures), skipped, tuple(failures))


@dataclass(frozen=True, slots=True)
class _Label:
    """One file to write: its sample's number and name, and what the journal knows it by."""

    index: int
    name: str
    origin: str
    model: str

    @property
    def state(self) -> InputState:
        source = hashlib.sha256(self.origin.encode()).hexdigest()[:16]
        return InputState(f"{self.origin}/{self.name}", source, size=0, mtime_ns=0, settings=self.model[:16])


def _is_to_do(label: _Label, folder: Path, journal: Journal, failures: list[str], *, overwrite: bool) -> bool:
    """Whether a label is missing or may be replaced; if it is neither that nor done, says why in `failures`."""
    try:
        file = depth_file(label.name)
    except DataError as error:
        failures.append(str(error))
        return False
    if not (folder / file.parent).resolve().is_relative_to(folder.resolve()):
        failures.append(
            f"{folder / file} lies outside {folder}, because a folder in between is a link; remove the link"
        )
        return False
    known = journal.state_of(file, label.state)
    if known is OutputState.FOREIGN and not overwrite:
        failures.append(
            f"{folder / file} exists and is not an earlier label of {label.state.name}; remove it, write somewhere "
            "else, or allow it to be replaced with overwrite=True (--overwrite)"
        )
        return False
    return known is not OutputState.CURRENT


def _write(label: _Label, sample: Sample, folder: Path, model: DisparityModel, journal: Journal) -> None:
    """Ask the model about one sample and write what it says."""
    started = time.perf_counter()
    image = sample.image
    try:
        disparity = model.disparity(image)
    except (RuntimeError, ValueError) as error:  # torch's for sizes a model cannot take, and for lack of memory
        raise DataError(
            f"{label.name}: the depth model failed on this image: {' '.join(str(error).split()):.300}"
        ) from error
    if disparity.shape != sample.shape:
        raise DataError(
            f"{label.name}: expected a depth for each of {sample.shape} pixels, the model gave {disparity.shape}"
        )
    try:
        depth = PredictedDepth.relative(disparity)
    except ValueError as error:
        raise DataError(f"{label.name}: what the depth model says cannot be used: {error}") from error
    file = depth_file(label.name)
    if journal.was_stopped(file):
        remove_partials(folder / file)
    journal.begin(label.state, [file])
    try:
        write_depth_png(depth, folder / file)
    except OSError as error:
        raise UpsegError(f"{folder / file}: cannot be written ({error.strerror or error})") from error
    journal.finish(label.state, [file], seconds=time.perf_counter() - started, segments=0)
