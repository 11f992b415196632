"""`upseg export-model`: a checkpoint of a training, or another model, becomes a model folder."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from upseg.errors import ModelError


def export_model(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="A checkpoint that `upseg train` saved (.ckpt), or any model that --model takes.", metavar="CHECKPOINT"
        ),
    ],
    directory: Annotated[
        Path, typer.Argument(help="The model folder to write; a model in it is replaced.", metavar="DIRECTORY")
    ],
    half: Annotated[bool, typer.Option("--half", help="Store the weights in half precision: half the size.")] = False,
    description: Annotated[str, typer.Option(help="One line that says what the model is for.")] = "",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the method to store with the model; repeatable."),
    ] = None,
    training: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A fact to add to the provenance of the training, such as data=... or license=cc0-1.0; repeatable.",
        ),
    ] = None,
    network_format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", metavar="onnx", help="Also write the network for other engines, any image size."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Turn a checkpoint into a model folder, which `--model` takes.

    The folder gets config.json and model.safetensors, and only if the model loads from them.
    """
    from upseg.files import printable
    from upseg.models.checkpoints import read_start
    from upseg.models.folders import WEIGHTS_NAME
    from upseg.models.registry import settings_class
    from upseg.settings import parse_assignments

    if network_format not in (None, "onnx"):
        raise ModelError(f"there is no format {network_format!r} of a network; there is onnx")
    found = read_start(checkpoint)
    settings = parse_assignments(assignments or (), settings_class(found.method))
    provenance = dict(map(_fact, training or ()))
    found.save_pretrained(directory, half=half, description=description, settings=settings, training=provenance)
    size = (directory / WEIGHTS_NAME).stat().st_size
    written = None if network_format is None else _write_network(directory)
    if as_json:
        facts = {"model": str(directory), "method": found.method, "bytes": size}
        facts |= {"network": str(written)} if written else {}
        typer.echo(json.dumps(facts, indent=2))
        return
    shown = printable(directory)
    typer.echo(f"{shown}: a model of the method {found.method}, {size / 1e6:.1f} MB of weights")
    if written:
        typer.echo(f"{printable(written)}: its network, {written.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"Use it with: upseg segment PHOTO --model {shlex.quote(shown)}")


def _write_network(directory: Path) -> Path:
    from upseg.models.engines import export_network
    from upseg.models.learned import LearnedSegmenter
    from upseg.models.registry import load_model

    segmenter = load_model(directory, "cpu", engine="torch")
    assert isinstance(segmenter, LearnedSegmenter)  # noqa: S101  (it was saved with weights)
    return export_network(segmenter.network, directory)


def _fact(assignment: str) -> tuple[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise ModelError(f"a fact about the training is given as key=value, got {assignment!r}")
    try:
        return key.strip(), json.loads(text)
    except ValueError:
        return key.strip(), text.strip()
