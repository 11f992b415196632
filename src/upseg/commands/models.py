"""`upseg models`: what `--model` takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upseg.commands.options import print_table

if TYPE_CHECKING:
    from upseg.models.registry import Method


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """List the models that can be used by name."""
    from upseg.models.folders import packaged_models
    from upseg.models.registry import METHODS

    rows = [_method_facts(name, method) for name, method in METHODS.items() if not method.learned]
    rows += [_model_facts(name, folder) for name, folder in packaged_models().items()]
    if as_json:
        typer.echo(json.dumps({"models": rows}, indent=2))
        return
    from rich import box

    print_table(("name", "method", "description", "trained on", "size"), map(_cells, rows), box=box.SIMPLE_HEAD)
    typer.echo("A model folder, or owner/name of a model on the Hugging Face hub, can be given as well.")


def _method_facts(name: str, method: Method) -> dict[str, Any]:
    """A method that needs no weights, for machines."""
    return {
        "name": name,
        "method": name,
        "description": method.description,
        "location": f"built in ({method.segmenter.partition(':')[0]})",
        "bytes": None,
        "classes": [],
        "training": {},
    }


def _model_facts(name: str, folder: Path) -> dict[str, Any]:
    """A model that comes with upseg, for machines; it is not loaded, which would take seconds."""
    from upseg.models.folders import WEIGHTS_NAME, read_config
    from upseg.models.registry import METHODS

    config, weights = read_config(folder), folder / WEIGHTS_NAME
    return {
        "name": name,
        "method": config.method,
        "description": config.description or METHODS[config.method].description,
        "location": str(folder),
        "bytes": weights.stat().st_size if weights.exists() else None,
        "classes": [category.name for category in config.categories],
        "training": dict(config.training),
    }


def _cells(row: dict[str, Any]) -> Iterator[str]:
    """For people."""
    data = row["training"].get("data", "" if row["bytes"] else "nothing")
    yield from (row["name"], row["method"], row["description"])
    yield ", ".join(map(str, data)) if isinstance(data, list) else str(data)
    yield "no weights of its own" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f} MB"
