"""`upseg segment`: images in, files with segments out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upseg.errors import UpsegError

if TYPE_CHECKING:
    from upseg.batch.jobs import Status
    from upseg.batch.run import BatchSummary
    from upseg.commands.progress import ProgressDisplay

_FEW = 10  # up to so many images are listed one by one
_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended
_DEFAULT_OUTPUT = Path("upseg-out")
_RESULTS: Mapping[Status, str] = {
    "done": "segmented",
    "replaced": "segmented again (older results replaced)",
    "skipped": "already done",
    "failed": "failed",
}

_Paths = Annotated[list[str], typer.Argument(help="Images, folders (searched throughout) and globs.")]
_Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
_Model = Annotated[
    str, typer.Option("--model", "-m", help="A name from `upseg models`, a model folder, or owner/name of a hub model.")
]
_Preset = Annotated[str | None, typer.Option(help="A named set of settings; for dynaseg: default or paper.")]
_Detail = Annotated[float | None, typer.Option(help="From 0 (few, large segments) to 1 (all that were found).")]
_Seed = Annotated[int | None, typer.Option(help="Where random numbers start: same seed, same results.")]
_Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting of the method; repeatable.")
]
_Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        help="png, tif, coco, panoptic, geojson, svg, npz, overlay or depth; repeatable. Without any: png and overlay.",
    ),
]
_Overlay = Annotated[bool, typer.Option("--overlay", help="Also draw the segments over the image.")]
_Depth = Annotated[
    bool, typer.Option("--depth", help="Also write depth, a 16-bit PNG and a picture, of models that predict it.")
]
_Workers = Annotated[int, typer.Option("--workers", "-j", min=1, help="Images segmented side by side.")]
_Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
_Channels = Annotated[
    str | None, typer.Option(metavar="N[,N,N]", help="Channels to take as grey, or as red, green and blue, from 0.")
]
_Page = Annotated[int | None, typer.Option(min=0, help="Which plane of a TIFF stack to segment, from 0.")]
_MaxPixels = Annotated[int | None, typer.Option(min=1, help="Refuse larger images; without it 200,000,000.")]
_Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Allow files to be replaced that are not earlier results of the image.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for machines.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but failures.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of each failure.")]


def segment(
    paths: _Paths,
    output: _Output = _DEFAULT_OUTPUT,
    model: _Model = "dynaseg",
    preset: _Preset = None,
    detail: _Detail = None,
    seed: _Seed = None,
    assignments: _Assignments = None,
    formats: _Formats = None,
    overlay: _Overlay = False,
    depth: _Depth = False,
    workers: _Workers = 1,
    device: _Device = "auto",
    channels: _Channels = None,
    page: _Page = None,
    max_pixels: _MaxPixels = None,
    overwrite: _Overwrite = False,
    as_json: _AsJson = False,
    quiet: _Quiet = False,
    debug: _Debug = False,
) -> None:
    """Segment images.

    A second run with the same arguments does only what is missing. One broken image never stops the rest.
    """
    from upseg.batch.jobs import ReadingOptions
    from upseg.batch.run import segment_files
    from upseg.commands.progress import ProgressDisplay
    from upseg.images.reading import DEFAULT_MAX_PIXELS

    warnings.filterwarnings("ignore", module="PIL")  # what Pillow could put right about an odd file
    with ProgressDisplay(visible=not quiet) as display:
        try:
            summary = segment_files(
                paths,
                output,
                model=model,
                settings=_settings(model, assignments, preset=preset, detail=detail, seed=seed),
                formats=_formats(formats, overlay=overlay, depth=depth),
                workers=workers,
                device=device,
                reading=ReadingOptions(_channel_numbers(channels), page, max_pixels or DEFAULT_MAX_PIXELS),
                overwrite=overwrite,
                observer=display,
            )
        except KeyboardInterrupt:
            raise interrupted(display) from None
    report(summary, as_json=as_json, quiet=quiet, debug=debug)
    if summary.failures:
        raise typer.Exit(1)


def interrupted(display: ProgressDisplay, noun: str = "image") -> typer.Exit:
    """Say what is done although Ctrl-C ended the run.

    Args:
        display: That was shown.
        noun: What an input is called.

    Returns:
        What to raise.
    """
    progress = f"{display.complete} of {display.total} {noun}s are done" if display.total else "nothing was begun"
    typer.echo(f"upseg: stopped; {progress}, the same command does the rest", err=True)
    return typer.Exit(_INTERRUPTED)


def _formats(named: Sequence[str] | None, *, overlay: bool, depth: bool) -> list[str]:
    """What to write: depth comes beside the default formats, an overlay instead of them."""
    from upseg.batch.run import DEFAULT_FORMATS

    segments = [*(named or ()), *(("overlay",) if overlay else ())]
    return [*(segments or DEFAULT_FORMATS), *(("depth",) if depth else ())]


def _settings(model: str, assignments: Sequence[str] | None, **options: Any) -> dict[str, Any]:
    """All settings by name, typed as the method's are; those with an option of their own win over `--set`."""
    from upseg.models.registry import settings_class
    from upseg.settings import parse_assignments

    typed = parse_assignments(assignments, settings_class(model)) if assignments else {}
    return {**typed, **{key: value for key, value in options.items() if value is not None}}


def _channel_numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    numbers = text.split(",")
    if len(numbers) not in (1, 3) or not all(number.strip().isdecimal() for number in numbers):
        raise UpsegError(f"--channels must be one number, or three with commas between, counted from 0, got {text!r}")
    return tuple(int(number) for number in numbers)


def report(
    summary: BatchSummary,
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
    noun: str = "image",
    results: Mapping[Status, str] = _RESULTS,
) -> None:
    """Say how a run went: results on standard output, failures on standard error.

    Args:
        summary: Of the run.
        as_json: Whether to print one JSON document.
        quiet: Whether to print nothing but failures.
        debug: Whether to show the traceback of each failure.
        noun: What an input is called.
        results: What is said of those of each status.
    """
    if as_json:
        typer.echo(json.dumps(summary.as_json(), indent=2))
    elif not quiet:
        _print_results(summary, noun, results)
    for result in summary.failures:
        typer.echo(f"failed: {result.error}", err=True)
        if debug and result.details:
            typer.echo(result.details, err=True)


def _print_results(summary: BatchSummary, noun: str, results: Mapping[Status, str]) -> None:
    from upseg.files import printable

    total = len(summary.results)
    for result in summary.results if total <= _FEW else ():
        if result.status != "failed":
            files = ", ".join(printable(path) for path in result.outputs)
            typer.echo(f"{printable(result.input)}: {result.segments} segments ({result.status}) -> {files}")
    counts = ", ".join(f"{count} {results[status]}" for status, count in summary.counts().items() if count)
    noun = noun if total == 1 else f"{noun}s"
    typer.echo(f"{total} {noun}: {counts}, in {summary.seconds:.1f} s; results in {printable(summary.output)}")
