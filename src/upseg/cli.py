"""The command line: `upseg segment photo.jpg`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from upseg import __version__
from upseg.commands.app import app as page
from upseg.commands.compare import compare
from upseg.commands.convert import convert
from upseg.commands.data import data_app
from upseg.commands.evaluate import evaluate
from upseg.commands.export_model import export_model
from upseg.commands.models import models
from upseg.commands.segment import SegmentCommand, segment
from upseg.commands.split import split
from upseg.commands.train import EXTRA_ARGUMENTS, train
from upseg.errors import UpsegError
from upseg.files import printable

app = typer.Typer(
    help="Image segmentation from the pixels up.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=SegmentCommand)(segment)
app.command()(split)
app.command()(models)
app.command("app")(page)
app.command()(compare)
app.command()(convert)
app.command("evaluate")(evaluate)
app.command(context_settings=EXTRA_ARGUMENTS)(train)
app.command("export-model")(export_model)
app.add_typer(data_app, name="data")


def _show_version(wanted: bool | None) -> None:
    if wanted:
        typer.echo(f"upseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = None,
) -> None:
    """Image segmentation from the pixels up."""


def main() -> None:
    """Run the command line and end the process: 0 all done, 1 some images failed, 2 wrong usage, 130 interrupted."""
    try:
        app(prog_name="upseg")
    except UpsegError as error:
        typer.echo(f"upseg: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        # what the system refuses of a place that was named: a name too long, no permission, a full disk
        if error.strerror is None:
            raise
        place = f"{printable(str(error.filename))}: " if error.filename is not None else ""
        typer.echo(f"upseg: {place}{error.strerror}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
