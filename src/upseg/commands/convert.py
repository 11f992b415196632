"""`upseg convert`: results or ground truth in, another tool's layout out."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from upseg.commands.options import AsJson, Channels, Normalize, channel_numbers

_SHOWN = 20

_Source = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="A folder of results, or a data set as name:path (`upseg data sources`)."),
]
_Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write, or of some layouts a .json file.")]
_To = Annotated[
    str,
    typer.Option(
        "--to",
        help="yolo, coco, coco-panoptic, coco-results, cvat, labelme or label-studio; or a format of `upseg segment`, "
        "one file for each image.",
    ),
]
_Images = Annotated[Path | None, typer.Option("--images", help="Folder of the images that the results belong to.")]
_Split = Annotated[str | None, typer.Option(help="Of the data set, such as train or val.")]
_Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="An option of the layout: split of yolo, cvat, coco and coco-panoptic, ids of coco-results (the ground "
        "truth's COCO file), prefix of label-studio (what it needs before an image's name); or of the data set; "
        "repeatable.",
    ),
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Allow what is there already to be replaced.")]


def convert(
    source: _Source,
    output: _Output,
    to: _To,
    images: _Images = None,
    split: _Split = None,
    assignments: _Options = None,
    channels: Channels = None,
    normalize: Normalize = None,
    overwrite: _Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write results or ground truth as another tool keeps them; exit code 1 if an image is not in it."""
    from upseg.exchange import LAYOUTS, open_items
    from upseg.exchange import convert as write_layout
    from upseg.images.options import ReadingOptions

    own, others = _divided(assignments or [], LAYOUTS[to].options if to in LAYOUTS else ())
    items = open_items(source, images=images, split=split, **_dataset_options(source, others))
    reading = ReadingOptions(channel_numbers(channels), normalize=normalize)
    written = write_layout(items, output, to, overwrite=overwrite, reading=reading, **own)
    if as_json:
        typer.echo(json.dumps({**asdict(written), "place": str(written.place)}, indent=2))
    else:
        typer.echo(f"{written.images} images, {written.segments} segments -> {written.place}")
        for note in written.notes:
            typer.echo(f"left out: {note}")
        for problem in written.problems[:_SHOWN]:
            typer.echo(f"failed: {problem}", err=True)
        if len(written.problems) > _SHOWN:
            typer.echo(f"... and {len(written.problems) - _SHOWN} more (all of them with --json)", err=True)
    if written.problems:
        raise typer.Exit(1)


def _divided(assignments: list[str], names: tuple[str, ...]) -> tuple[dict[str, object], list[str]]:
    """The options that are the layout's, and the others as they were typed."""
    own: dict[str, object] = {}
    others = []
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if equals and key.strip() in names:
            own[key.strip()] = Path(value) if key.strip() == "ids" else value
        else:
            others.append(assignment)
    return own, others


def _dataset_options(source: str, assignments: list[str]) -> dict[str, object]:
    """Options of the data set, typed as its reader has them."""
    from upseg.data.sources import SOURCES
    from upseg.errors import DataError, ModelError, UpsegError
    from upseg.settings import parse_assignments

    if not assignments:
        return {}
    name = source.partition(":")[0]
    if name not in SOURCES:
        raise UpsegError(f"there is no option {assignments[0].partition('=')[0]!r} of this layout")
    try:
        return parse_assignments(assignments, SOURCES[name].options_class())
    except ModelError as error:
        raise DataError(f"{name}: {error}") from error
