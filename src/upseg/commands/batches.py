"""What `upseg segment` and `upseg split` have in common: progress, Ctrl-C, and saying how it went."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from upseg.batch.run import BatchObserver, BatchSummary

    Summary = TypeVar("Summary", bound=BatchSummary)

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
