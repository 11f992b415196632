"""`upseg data`: which data sets can be read, what is in one, and what it looks like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upseg.commands.options import (
    AsJson,
    Channels,
    DatasetOptions,
    Device,
    ImageNames,
    Normalize,
    Split,
    channel_numbers,
    check_picture_name,
    print_list,
    print_table,
)
from upseg.errors import DataError, ModelError

if TYPE_CHECKING:
    from upseg.data.dataset import Dataset
    from upseg.data.summary import DatasetSummary


data_app = typer.Typer(help="Data sets: which can be read, what is in them, what they look like.", no_args_is_help=True)


class _Prediction(StrEnum):
    """What a depth model predicts, as `upseg.data.depth_models.Prediction` has it."""

    DISPARITY = "disparity"
    DEPTH = "depth"


_Source = Annotated[str, typer.Argument(metavar="DATASET", help="A name that `upseg data sources` lists.")]
_Path = Annotated[Path, typer.Argument(help="Its folder, as its official archives unpack.")]


@data_app.command()
def sources(as_json: AsJson = False) -> None:
    """List the data sets that can be read."""
    from dataclasses import fields

    from rich.table import Column

    from upseg.data.sources import SOURCES

    rows = [
        {
            "name": source.name,
            "description": source.description,
            "layout": source.layout,
            "options": ", ".join(option.name for option in fields(source.options_class())),
        }
        for source in SOURCES.values()
    ]
    if as_json:
        typer.echo(json.dumps({"sources": rows}, indent=2))
    else:
        layout = Column("what the folder holds", overflow="fold")
        print_table(("name", "description", layout, "options (--set)"), (row.values() for row in rows))


@data_app.command()
def check(
    source: _Source,
    path: _Path,
    split: Split = None,
    images: ImageNames = None,
    assignments: DatasetOptions = None,
    fast: Annotated[bool, typer.Option("--fast", help="Do not decode the images, only read the ground truth.")] = False,
    channels: Channels = None,
    normalize: Normalize = None,
    as_json: AsJson = False,
) -> None:
    """Read all of a data set and say what is in it and what is wrong with it; exit code 1 if anything is."""
    from upseg.commands.bars import progress_bar
    from upseg.data.summary import summarise

    dataset = open_for_command(source, path, split, images, assignments, channels, normalize)
    dataset.decode_images = not fast
    with progress_bar("samples") as show:
        summary = summarise(dataset, show)
    if as_json:
        typer.echo(json.dumps(summary.as_json(), indent=2))
    else:
        _print_summary(summary)
    if summary.problems:
        raise typer.Exit(1)


@data_app.command()
def show(
    source: _Source,
    path: _Path,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write, .png or .jpg.")],
    split: Split = None,
    images: ImageNames = None,
    assignments: DatasetOptions = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many samples to draw.")] = 4,
    seed: Annotated[int | None, typer.Option(help="Choose them at random; without it the first ones.")] = None,
    names: Annotated[list[str] | None, typer.Option("--name", help="Draw the sample of this name; repeatable.")] = None,
    channels: Channels = None,
    normalize: Normalize = None,
) -> None:
    """Draw samples of a data set: image, segments and names side by side."""
    from upseg.data.picture import draw_samples
    from upseg.files import write_picture

    check_picture_name(output)
    dataset = open_for_command(source, path, split, images, assignments, channels, normalize)
    chosen = dataset.subset(names) if names else dataset
    wanted = range(len(chosen)) if names else _choice(len(chosen), count, seed)
    samples = [sample for sample in map(chosen.read, wanted) if sample is not None]
    if not samples:
        raise DataError(f"none of the samples can be drawn: {'; '.join(chosen.problems[:3])}")
    write_picture(output, draw_samples(samples))
    typer.echo(f"{len(samples)} of {len(dataset)} samples -> {output}")


@data_app.command("pseudo-depth")
def pseudo_depth(
    source: _Source,
    path: _Path,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the depth, one NAME.png per image.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Folder of a transformers depth model, or owner/name on the hub.")
    ],
    predicts: Annotated[
        _Prediction | None,
        typer.Option(
            help="What larger numbers of the model mean: nearer (disparity) or farther; else what it says itself."
        ),
    ] = None,
    split: Split = None,
    images: ImageNames = None,
    assignments: DatasetOptions = None,
    device: Device = "auto",
    channels: Channels = None,
    normalize: Normalize = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Allow files to be replaced that are not earlier labels of the image.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Label the images of a data set with the relative depth that a model sees in them; needs the extra `depth`.

    A second run with the same arguments does only what is missing. Exit code 1 if any image has no label.
    """
    from dataclasses import asdict

    from upseg.batch.pseudo_depth import write_pseudo_depth
    from upseg.commands.bars import progress_bar
    from upseg.data.depth_models import TransformersDepth

    dataset = open_for_command(source, path, split, images, assignments, channels, normalize)
    teacher = TransformersDepth(model, predicts.value if predicts else None, device)
    origin = f"{source}/{split}" if split else source
    with progress_bar("samples") as show:
        summary = write_pseudo_depth(dataset, output, teacher, origin=origin, overwrite=overwrite, progress=show)
    if as_json:
        typer.echo(json.dumps(asdict(summary), indent=2))
    else:
        typer.echo(f"{summary.written} images labelled, {summary.skipped} already done -> {output}")
        _print_all("failures", summary.failures)
    if summary.failures:
        raise typer.Exit(1)


def _choice(total: int, count: int, seed: int | None) -> list[int]:
    """Which samples to draw."""
    import numpy as np

    if seed is None:
        return list(range(min(count, total)))
    return sorted(np.random.default_rng(seed).permutation(total)[:count].tolist())


def open_for_command(
    source: str,
    path: Path,
    split: str | None,
    images: Path | None,
    assignments: list[str] | None,
    channels: str | None = None,
    normalize: str | None = None,
) -> Dataset:
    """A data set as the commands' options name it: only the names in the file `images`, `key=value` options applied."""
    from upseg.data.sources import SOURCES, open_dataset

    options = dataset_options(source, assignments) if assignments and source in SOURCES else {}
    reading: dict[str, Any] = {"channels": channel_numbers(channels), "normalize": normalize}
    return open_dataset(source, path, split=split, on_error="skip", images=images, **reading, **options)


def dataset_options(source: str, assignments: Sequence[str]) -> dict[str, Any]:
    """Options `key=value` of a data set that there is, typed as its reader has them."""
    from upseg.data.sources import SOURCES
    from upseg.settings import parse_assignments

    try:
        return parse_assignments(assignments, SOURCES[source].options_class())
    except ModelError as error:
        raise DataError(f"{source}: {error}") from error


def _print_summary(summary: DatasetSummary) -> None:
    data = summary.as_json()
    typer.echo(
        f"{summary.samples} samples, {summary.segments} segments, {data['labelled_share']:.1%} of pixels labelled"
    )
    height, width = data["height"], data["width"]
    typer.echo(
        f"size (height x width): {height['smallest']} to {height['largest']} x {width['smallest']} to "
        f"{width['largest']} pixels, median {height['median']} x {width['median']}"
    )
    if summary.with_depth:
        typer.echo(f"{summary.with_depth} samples have depth")
    if set(summary.annotators) - {1}:
        typer.echo(f"{min(summary.annotators)} to {max(summary.annotators)} annotators for each image")
    if summary.without_segments:
        typer.echo(f"{summary.without_segments} samples have no segment")
    if summary.values:
        typer.echo(f"values: {summary.values}")
    for note in summary.notes:
        typer.echo(f"note: {note}")
    rows = [
        (
            "" if row["id"] is None else str(row["id"]),
            "(no category)" if row["name"] is None else row["name"],
            "thing" if row["is_thing"] else "stuff",
            *(str(row[key]) for key in ("images", "segments", "crowds")),
            f"{row['pixels'] / summary.pixels:.2%}" if summary.pixels else "",
        )
        for row in data["categories"]
    ]
    if rows:
        print_table(("id", "category", "kind", "images", "segments", "crowds", "share of pixels"), rows)
    for kind, count in sorted(summary.left_out_kinds.items()):
        typer.echo(f"left out: {count} x {kind}")
    _print_all("masks that a label map cannot show or nobody can use", summary.left_out)
    _print_all("problems", summary.problems)


def _print_all(title: str, texts: Sequence[str]) -> None:
    if not texts:
        typer.echo(f"no {title}")
    print_list(title, texts)
