"""Pictures of how a model came to its segments: `upseg segment --format features`, `boundaries` and `snapshots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from upseg.errors import UpsegError

if TYPE_CHECKING:
    from upseg.images.options import ReadingOptions

KINDS = ("features", "boundaries", "snapshots")
"""What `--format` takes beside the formats of segments."""
_QUALITY = 92  # of JPEG


def apart(formats: Sequence[str]) -> tuple[list[str], list[str]]:
    """The formats of segments, and the kinds of pictures, in what was asked for."""
    return [name for name in formats if name not in KINDS], [name for name in formats if name in KINDS]


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

    Args:
        paths: Images, folders and globs.
        output: The folder of results; made if need be.
        kinds: Of `KINDS`.
        model: As `upseg.load_model` takes it.
        settings: What shall differ from the model's own.
        device: As `upseg.load_model` takes it.
        reading: How to read the images.
        count: Of the pictures of a series.
        quiet: Whether to say nothing but what failed.

    Returns:
        Whether all images were done.

    Raises:
        UpsegError: If the model does not draw such pictures, or there is no image.
    """
    from PIL import Image

    from upseg.batch.inputs import find_images
    from upseg.batch.journal import Journal
    from upseg.files import atomic_path, printable
    from upseg.models.registry import find_model

    found = find_model(model, **settings)
    if unfit := [kind for kind in kinds if kind not in found.implementation.pictures]:
        draws = ", ".join(found.implementation.pictures) or "none"
        raise UpsegError(f"{printable(model)} is a model of {found.method}, whose pictures are {draws}, not {unfit[0]}")
    images, segmenter = find_images(paths, output, Journal(output).knows), found.load(device)
    whole = True
    for image in images:
        try:
            if image.problem is not None:
                raise UpsegError(image.problem)
            pixels = reading.over(found.reading).read(image.path)
            for kind in kinds:
                target = output / f"{image.key}.{kind}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                drawn = segmenter.picture(pixels, kind, count)  # type: ignore[attr-defined]
                with atomic_path(target) as partial:
                    Image.fromarray(drawn).save(partial, format="JPEG", quality=_QUALITY)
                if not quiet:
                    typer.echo(f"-> {printable(target)}")
        except UpsegError as error:
            whole = False
            typer.echo(str(error), err=True)
    return whole
