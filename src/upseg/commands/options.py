"""Options that several commands have."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from upseg.errors import UpsegError

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
