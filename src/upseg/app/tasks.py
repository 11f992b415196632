"""What the worker processes do: look at an image, segment it, write results."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from upseg.app.changes import Runs, numbers_of
from upseg.app.document import RESULT, Document, adopt
from upseg.app.pictures import read_picture, store_picture
from upseg.app.workers import Place
from upseg.batch.jobs import ImageJob, run_job
from upseg.batch.workers import threads_of_an_image
from upseg.errors import UpsegError
from upseg.files import write_picture
from upseg.formats import FORMATS, output_paths, write
from upseg.formats.depth import PICTURE_SUFFIX
from upseg.images.options import ReadingOptions

CUTOUT = "cutout"
"""The format, beside those of `upseg.formats`, of one picture of what is chosen, on a transparent background."""
EVERYTHING = "everything"
"""The format of a zip with the formats that people ask for most."""
_OF_EVERYTHING = ("png", "coco", "geojson", "csv", "overlay", "cutouts", "npz")


@dataclass(frozen=True)
class Opened:
    """An image that somebody opened.

    Attributes:
        folder: Of the session.
        source: The image's file.
        name: What the user calls it.
        reading: How it is read, where the model does not say more.
    """

    folder: Path
    source: Path
    name: str
    reading: ReadingOptions


def look_at(place: Place, image: Opened) -> list[int]:  # noqa: ARG001
    """Read an image and keep it as tiles.

    Returns:
        [H, W] in pixels.

    Raises:
        UpsegError: If it cannot be read.
    """
    pixels = image.reading.read(image.source)
    store_picture(pixels, image.folder)
    return [int(pixels.shape[0]), int(pixels.shape[1])]


def segment(place: Place, image: Opened) -> int:
    """Segment an image as `upseg segment` does, and make a document of the result.

    Returns:
        The number of segments.

    Raises:
        UpsegError: If it cannot be segmented.
    """
    model = place.model
    formats = ("npz", "depth") if model.predicts_depth else ("npz",)
    stem = image.folder / Path(RESULT).stem
    job = ImageJob(image.source, image.name, stem, formats, image.reading.over(model.reading))
    told = place.on_step if model.implementation.reports_progress else None
    with threads_of_an_image():
        result = run_job(job, place.segmenter, told)
    if result.segments is None:
        raise UpsegError((result.error or "the image cannot be segmented").replace(str(image.source), image.name))
    if model.predicts_depth:
        with Image.open(stem.with_name(f"{stem.name}{PICTURE_SUFFIX}")) as picture:
            store_picture(np.asarray(picture.convert("RGB"), np.float32) / np.float32(255), image.folder, "depth")
    adopt(image.folder)
    return result.segments


def export(
    place: Place,  # noqa: ARG001
    folder: Path,
    output: Path,
    stem: str,
    form: str,
    runs: Runs | None = None,
) -> str:
    """Write the document in a format.

    Args:
        place: Any.
        folder: Of the session.
        output: An empty folder for the files.
        stem: What the files are called, without the format's suffix.
        form: A name in `FORMATS`, `CUTOUT` or `EVERYTHING`.
        runs: The pieces that become the one segment; None for all segments.

    Returns:
        The name of the file in `output`: a zip where the format makes several.

    Raises:
        UpsegError: If there is no such format, or it cannot hold this.
    """
    document = Document(folder)
    chosen = None if runs is None else numbers_of(runs, 1, len(document.areas) - 1)
    found = document.segmentation(chosen)
    if form == CUTOUT:
        path = output / f"{stem}.cutout.png"
        if len(found) != 1:
            raise UpsegError("choose what is to be cut out first")
        Image.fromarray(found.cutout(1, read_picture(folder))).save(path)
        return path.name
    names = [name for name in _OF_EVERYTHING if name in FORMATS] if form == EVERYTHING else [form]
    needs = {need for name in names if name in FORMATS for need in FORMATS[name].needs}
    image = read_picture(folder) if "image" in needs else None
    if "levels" in needs and found.hierarchy is None:
        raise UpsegError("levels of detail are written of results that were not corrected, and have levels")
    if "depth" in needs:
        raise UpsegError("depth is written by upseg segment --depth")
    written: list[Path] = []
    for name in names:
        write(found, output_paths(output / stem, name)[0], format=name, image=image)
        written += output_paths(output / stem, name)
    if len(written) == 1:
        return written[0].name
    return _zipped(output / f"{stem}.zip", written)


def write_truth(place: Place, folders: Sequence[tuple[Path, str]], root: Path) -> int:
    """Write corrected documents as ground truth: `images/NAME.png` beside `labels/NAME.tif`.

    Args:
        place: Any; told of each.
        folders: Of the sessions, and what the images are called.
        root: The folder that `upseg train --data_root` takes; what it had of other images stays out of it.

    Returns:
        How many there are.
    """
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True, exist_ok=True)
        for old in (root / kind).iterdir():
            old.unlink()
    for done, (folder, name) in enumerate(folders, start=1):
        document = Document(folder)
        write(document.segmentation(), root / "labels" / f"{name}.tif", format="tif")
        write_picture(root / "images" / f"{name}.png", np.load(folder / "picture-0.npy", mmap_mode="r"))
        place.on_step(done, len(folders))
    return len(folders)


def _zipped(path: Path, files: Sequence[Path]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            archive.write(file, file.name)
    return path.name
