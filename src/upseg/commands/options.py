"""Options that several commands have, and what `upseg segment` and `upseg split` have in common."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from upseg.errors import DataError, UpsegError

if TYPE_CHECKING:
    from rich.table import Column

    from upseg.batch.run import BatchObserver, BatchSummary

    Summary = TypeVar("Summary", bound=BatchSummary)


DEFAULT_OUTPUT = Path("upseg-out")


def local_folder(text: str | os.PathLike[str]) -> Path:
    """Refuse the name of a store where a folder is meant."""
    from upseg.batch.stores import Uri, place_of

    place = place_of(text)
    if isinstance(place, Uri):
        raise typer.BadParameter(f"this does not write into stores, got {place}; name a folder")
    return place


Output = Annotated[
    Path, typer.Option("--output", "-o", parser=local_folder, metavar="PATH", help="Folder for the results.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="auto|torch|onnxruntime|openvino",
        help="What computes a model's network on the CPU; auto: the fastest that is installed, if the model has it.",
    ),
]
MaxPixels = Annotated[int | None, typer.Option(min=1, help="Refuse larger images; without it 200,000,000.")]
Split = Annotated[str | None, typer.Option(help="Such as train or val; without it the validation split.")]
ImageNames = Annotated[
    Path | None, typer.Option(help="A text file with the names of the images to use, one in a line.")
]
DatasetOptions = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the data set; repeatable.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but failures.")]
Channels = Annotated[
    str | None, typer.Option(metavar="N[,N,N]", help="Channels to take as grey, or as red, green and blue, from 0.")
]
Normalize = Annotated[
    str | None,
    typer.Option(
        metavar="auto|none|minmax|LOW,HIGH",
        help="How pixels become numbers in [0, 1]: by percentiles of each channel, or of 8 bits as they are (auto).",
    ),
]


def channel_numbers(text: str | None) -> tuple[int, ...] | None:
    """What `--channels` names.

    Raises:
        UpsegError: If it is not one number, or three.
    """
    if text is None:
        return None
    numbers = text.split(",")
    if len(numbers) not in (1, 3) or not all(number.strip().isdecimal() for number in numbers):
        raise UpsegError(f"--channels must be one number, or three with commas between, counted from 0, got {text!r}")
    return tuple(int(number) for number in numbers)


Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say on standard error what is done.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of each failure.")]


def start_logging(*, verbose: bool) -> None:
    """Show what upseg logs on standard error: warnings, and with `verbose` what is done."""
    logger = logging.getLogger("upseg")
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    if not verbose:  # of what stores it cannot reach upseg says so itself, in one line
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    if not any(isinstance(handler, _Console) for handler in logger.handlers):
        logger.addHandler(_Console())


class _Console(logging.Handler):
    """Writes to what standard error is at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(self.format(record), err=True)


_FEW = 10  # up to so many images are listed one by one
_MOST_LISTED = 20  # on the terminal; JSON has all
PICTURES = ("features", "boundaries", "snapshots")
"""What `--format` of segment and split takes beside the formats of segments."""
INTERRUPTED = 130
"""What shells report for a program that Ctrl-C ended."""


def pictures_apart(formats: Sequence[str]) -> tuple[list[str], list[str]]:
    """The formats of segments, and the kinds of pictures, in what was asked for."""
    return [name for name in formats if name not in PICTURES], [name for name in formats if name in PICTURES]


def check_installed(what: str, extra: str, *packages: str) -> None:
    """Refuse to go on where packages of an extra are not installed, and name them."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UpsegError(f'{what} needs {", ".join(missing)}: pip install "upseg[{extra}]"')


def check_picture_name(path: Path) -> None:
    """Refuse a name for a picture that says no format."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise DataError(f"{path}: the name of the picture must end in .png or .jpg")


def print_table(columns: Sequence[str | Column], rows: Iterable[Iterable[str]], **options: Any) -> None:
    """Print texts in columns; options are those of rich's tables."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, **options)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def print_list(title: str, texts: Sequence[str], *, to_errors: bool = False, all_by: str = "--json") -> None:
    """Print the first of some texts under their number; nothing where there is none."""
    if texts:
        typer.echo(f"{len(texts)} {title}:", err=to_errors)
    for text in texts[:_MOST_LISTED]:
        typer.echo(f"  {text}", err=to_errors)
    if len(texts) > _MOST_LISTED:
        typer.echo(f"  ... and {len(texts) - _MOST_LISTED} more (all of them with {all_by})", err=to_errors)


def run_and_report(
    run: Callable[[BatchObserver], Summary], noun: str, verb: str, *, as_json: bool, quiet: bool, debug: bool
) -> Summary:
    """Do a run with progress on the terminal; then results on standard output, and failures on standard error.

    Args:
        run: Does it, telling an observer how it goes.
        noun: What an input is called.
        verb: What was done with it.
        as_json: Whether to print one JSON document.
        quiet: Whether to print nothing but failures.
        debug: Whether to show the traceback of each failure.

    Raises:
        typer.Exit: If Ctrl-C ended the run.
    """
    from upseg.commands.progress import ProgressDisplay

    warnings.filterwarnings("ignore", module="PIL")  # what Pillow could put right about an odd file
    with ProgressDisplay(visible=not quiet, noun=noun) as display:
        try:
            summary = run(display)
        except KeyboardInterrupt:
            done = f"{display.complete} of {display.total} {noun}s are done" if display.total else "nothing was begun"
            typer.echo(f"upseg: stopped; {done}, the same command does the rest", err=True)
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(summary.as_json(), indent=2))
    elif not quiet:
        _print_results(summary, noun, verb)
    if summary.stale:
        from upseg.files import printable

        shown = ", ".join(printable(path) for path in summary.stale[:_FEW])
        more = f" and {len(summary.stale) - _FEW} more" if len(summary.stale) > _FEW else ""
        typer.echo(f"stale, because these {noun}s' results have other names now; remove: {shown}{more}", err=True)
    for result in summary.failures:
        typer.echo(f"failed: {result.error}", err=True)
        if debug and result.details:
            typer.echo(result.details, err=True)
    return summary


def _print_results(summary: BatchSummary, noun: str, verb: str) -> None:
    from upseg.files import printable

    total = len(summary.results)
    for result in summary.results if total <= _FEW else ():
        if result.status != "failed":
            files = ", ".join(printable(path) for path in result.outputs)
            typer.echo(f"{printable(result.input)}: {result.segments} segments ({result.status}) -> {files}")
    said = {"done": verb, "replaced": f"{verb} again (older results replaced)", "skipped": "already done"}
    counts = ", ".join(f"{count} {said.get(status, status)}" for status, count in summary.counts().items() if count)
    noun = noun if total == 1 else f"{noun}s"
    typer.echo(f"{total} {noun}: {counts}, in {summary.seconds:.1f} s; results in {printable(summary.output)}")
