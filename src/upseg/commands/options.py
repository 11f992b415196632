"""Options that several commands have, and what `upseg segment` and `upseg split` have in common."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from upseg.errors import UpsegError

if TYPE_CHECKING:
    from upseg.batch.run import BatchObserver, BatchSummary

    Summary = TypeVar("Summary", bound=BatchSummary)


DEFAULT_OUTPUT = Path("upseg-out")

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="auto|torch|onnxruntime|openvino",
        help="What computes a model's network on the CPU; auto: the fastest that is installed, if the model has it.",
    ),
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
_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


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
            raise typer.Exit(_INTERRUPTED) from None
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
