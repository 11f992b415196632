"""`upseg split`: class masks in, instances out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upseg.commands.options import (
    DEFAULT_OUTPUT,
    AsJson,
    Channels,
    Debug,
    Device,
    Normalize,
    Output,
    Quiet,
    channel_numbers,
    pictures_apart,
    run_and_report,
)
from upseg.commands.quick_start import start_quickly
from upseg.errors import ModelError, UpsegError

if TYPE_CHECKING:
    from upseg.split.classes import MaskClasses

_NO_VOID = "none"
PHOTOS_MODEL = "things"
"""The model that comes with upseg for class masks that have a photo."""

_Masks = Annotated[
    list[str],
    typer.Argument(
        metavar="MASKS...",
        help="Class masks, folders of them (searched throughout) and globs: grey or palette PNG, TIFF.",
    ),
]
_Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A model of the method baiseg: a name, a model folder, or owner/name of a hub model; or components or "
        "distance, which look at no photo. With --images things, for everyday photos.",
    ),
]
_Images = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of the photos: that of masks/a/b.png is a/b with any suffix in it."),
]
_Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="voc, ade20k, cityscapes, coco or coco-stuff (its pixel maps, whose 0 is a person); or a text file with "
        "`id name` in each line, or names alone, which count from 1. Without it "
        "the categories.json beside the masks, if there is one.",
    ),
]
_Stuff = Annotated[
    list[str] | None,
    typer.Option(metavar="ID[,ID...]", help="Classes that stay one segment each, such as sky; repeatable."),
]
_Void = Annotated[
    str | None, typer.Option(metavar="ID[,ID...]", help="Values that mean unknown; none for none. Without it 255.")
]
_Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the model; repeatable.")
]
_Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        help="png, tif, coco, geojson, overlay, ...; repeatable. Without any: png. boundaries is a picture of the "
        "boundary map and of the stages of the cut, and alone leaves the instances out.",
    ),
]
_Workers = Annotated[int, typer.Option("--workers", "-j", min=1, help="Masks split side by side.")]
_Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Allow files to be replaced that are not earlier results of the mask.")
]


def split(
    masks: _Masks,
    model: _Model = None,
    output: Output = DEFAULT_OUTPUT,
    images: _Images = None,
    classes: _Classes = None,
    stuff: _Stuff = None,
    void: _Void = None,
    assignments: _Assignments = None,
    formats: _Formats = None,
    workers: _Workers = 1,
    device: Device = "auto",
    channels: Channels = None,
    normalize: Normalize = None,
    overwrite: _Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Split class masks into instances: one result for each, and COCO JSON for all.

    A second run with the same arguments does only what is missing. One broken mask never stops the rest.
    """
    start_quickly()
    from upseg.images.options import ReadingOptions
    from upseg.split.run import DEFAULT_FORMATS, split_files

    given, kinds = pictures_apart(formats or ())
    splitter = _splitter(model, images)
    listed = None if classes is None else Path(classes)
    common: dict[str, Any] = {
        "model": splitter,
        "images": images,
        "classes": _mask_classes(classes, stuff, void, masks),
        "settings": _settings(splitter, assignments),
        "device": device,
        "reading": ReadingOptions(channel_numbers(channels), normalize=normalize),
    }
    if kinds:
        from upseg.commands.pictures import write_split_pictures

        whole = write_split_pictures(masks, output, kinds, quiet=quiet or as_json, **common)
        if not given:  # nothing but pictures
            raise typer.Exit(0 if whole else 1)
    summary = run_and_report(
        lambda display: split_files(
            masks,
            output,
            formats=given or DEFAULT_FORMATS,
            workers=workers,
            overwrite=overwrite,
            protected={listed: "the list of classes"} if listed is not None and listed.is_file() else {},
            observer=display,
            **common,
        ),
        "mask",
        "split",
        as_json=as_json,
        quiet=quiet,
        debug=debug,
    )
    if summary.instances is not None and not (as_json or quiet):
        typer.echo(f"all instances -> {summary.instances}")
    if summary.problem is not None:
        typer.echo(f"failed: {summary.problem}", err=True)
    if summary.failures or summary.problem is not None:
        raise typer.Exit(1)


def _splitter(model: str | None, images: Path | None) -> str:
    """The model; where nobody names one, for masks alone only who knows the objects can choose."""
    if model is None and images is None:
        raise ModelError(
            "class masks alone can be split in two ways: say --model components or --model distance, or, for the "
            f"model {PHOTOS_MODEL}, give the folder of their photos with --images"
        )
    return PHOTOS_MODEL if model is None else model


def _settings(model: str, assignments: Sequence[str] | None) -> dict[str, Any]:
    """The model's settings by name, typed as they are there."""
    from upseg.settings import parse_assignments
    from upseg.split.baselines import find_splitter

    return parse_assignments(assignments, type(find_splitter(model).settings)) if assignments else {}


def _mask_classes(
    named: str | None, stuff: Sequence[str] | None, void: str | None, masks: Sequence[str]
) -> MaskClasses:
    """What the values in masks mean, from the options, or from the table beside the masks."""
    from upseg.data.sources.label_images import read_class_names
    from upseg.split.classes import MaskClasses, classes_beside, named_classes

    if named is None:
        folders = [Path(mask) if Path(mask).is_dir() else Path(mask).parent for mask in masks]
        found = classes_beside(folders[0]) if len({*folders}) == 1 else None
    elif Path(named).is_file() or (found := named_classes(named)) is None:
        found = MaskClasses(read_class_names(Path(named)))
    chosen = found or MaskClasses()
    ids = frozenset(_ids("--stuff", stuff or ()))
    unknown = chosen.void
    if void is not None:
        unknown = frozenset[int]() if void.strip().lower() == _NO_VOID else _ids("--void", [void])
    return replace(chosen, stuff=chosen.stuff | ids, void=unknown)


def _ids(option: str, texts: Sequence[str]) -> frozenset[int]:
    numbers = [number.strip() for text in texts for number in text.split(",")]
    wrong = next((number for number in numbers if not number.isdecimal()), None)
    if wrong is not None:
        raise UpsegError(f"{option} takes ids of classes, with commas between, got {wrong!r}")
    return frozenset(map(int, numbers))
