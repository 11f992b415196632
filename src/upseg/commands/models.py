"""`upseg models`: what `--model` takes."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """List the models that can be used by name."""
    from upseg.inference.models import METHODS

    rows = [
        {
            "name": name,
            "method": name,
            "description": method.description,
            "location": f"built in ({method.segmenter.partition(':')[0]})",
        }
        for name, method in METHODS.items()
        if not method.learned
    ]
    if as_json:
        typer.echo(json.dumps({"models": rows}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "method", "description", "location")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
    typer.echo("A model folder, or owner/name of a model on the Hugging Face hub, can be given as well.")
