"""Pictures of how a model came to its segments: `--format features`, `boundaries`, `snapshots` of segment and split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from upseg.errors import UpsegError

if TYPE_CHECKING:
    import numpy as np

    from upseg.batch.inputs import InputImage
    from upseg.images.options import ReadingOptions
    from upseg.models.registry import Model
    from upseg.split.classes import MaskClasses

_QUALITY = 92  # of JPEG


def write_pictures(
    paths: Sequence[str],
    output: Path,
    kinds: Sequence[str],
    *,
    model: str,
    settings: Mapping[str, Any],
    device: str,
    reading: ReadingOptions,
    count: int,
    quiet: bool,
) -> bool:
    """Write `NAME.KIND.jpg` for each image, each file whole or not at all; later ones replace earlier ones.

    Arguments as of `upseg.batch.run.segment_files`, but `kinds` are of `PICTURES`, `count` is how many pictures of a
    series there are, and `quiet` says nothing but what failed.

    Returns:
        Whether all images were done.

    Raises:
        UpsegError: If the model does not draw such pictures, or there is no image.
    """
    from upseg.batch.inputs import find_images
    from upseg.batch.journal import Journal
    from upseg.models.registry import find_model

    found = find_model(model, **settings)
    _check_kinds(found, kinds)
    images, segmenter = find_images(paths, output, Journal(output).knows), found.load(device)

    def draw(image: InputImage, kind: str) -> np.ndarray:
        pixels = reading.over(found.reading).read(image.path)
        return segmenter.picture(pixels, kind, count)  # type: ignore[attr-defined, no-any-return]

    return _write(images, output, kinds, draw, quiet=quiet)


def write_split_pictures(
    masks: Sequence[str],
    output: Path,
    kinds: Sequence[str],
    *,
    model: str,
    settings: Mapping[str, Any],
    device: str,
    images: Path | None,
    classes: MaskClasses,
    reading: ReadingOptions,
    quiet: bool,
) -> bool:
    """As `write_pictures` for images, for class masks, which `upseg.split.run.split_files` would split.

    Raises:
        UpsegError: If the model does not draw such pictures, or there is no mask or no folder of photos.
    """
    from upseg.batch.inputs import find_images
    from upseg.batch.journal import Journal
    from upseg.split.baselines import find_splitter
    from upseg.split.jobs import MaskJob, Photos
    from upseg.split.run import MASKS

    found, journal = find_splitter(model, **settings), Journal(output)
    _check_kinds(found, kinds)
    if images is None or not images.is_dir():
        raise UpsegError(f"{kinds[0]} are drawn from the photos of the masks; give their folder with --images")
    inputs = find_images(masks, output, journal.knows, MASKS)
    photos, segmenter = Photos(images, inputs, journal), found.load(device)

    def draw(mask: InputImage, kind: str) -> np.ndarray:
        photo = photos.of(mask)
        job = MaskJob(
            mask.path,
            str(mask.name),
            output,
            (),
            reading.over(found.reading),
            classes=classes,
            photo=None if photo is None else photo.path,
            needs_photo=True,
        )
        semantic_map, pixels = job.read_both()
        return segmenter.picture(pixels, kind, semantic_map=semantic_map)  # type: ignore[attr-defined, no-any-return]

    return _write(inputs, output, kinds, draw, quiet=quiet)


def _check_kinds(model: Model, kinds: Sequence[str]) -> None:
    from upseg.files import printable

    draws = model.implementation.pictures
    if unfit := [kind for kind in kinds if kind not in draws]:
        shown = ", ".join(draws) or "none"
        raise UpsegError(
            f"{printable(model.name)} is a model of {model.method}, whose pictures are {shown}, not {unfit[0]}"
        )


def _write(
    inputs: Sequence[InputImage],
    output: Path,
    kinds: Sequence[str],
    draw: Callable[[InputImage, str], np.ndarray],
    *,
    quiet: bool,
) -> bool:
    """The pictures of all inputs; what fails is named, and the rest goes on."""
    from upseg.files import printable, write_picture

    whole = True
    for found in inputs:
        try:
            if found.problem is not None:
                raise UpsegError(found.problem)
            for kind in kinds:
                target = write_picture(output / f"{found.key}.{kind}.jpg", draw(found, kind), quality=_QUALITY)
                if not quiet:
                    typer.echo(f"-> {printable(target)}")
        except UpsegError as error:
            whole = False
            typer.echo(str(error), err=True)
    return whole
