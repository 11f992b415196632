"""Tables that the pages take from the code, so that they cannot fall behind it: `{{ name }}` in Markdown."""

import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import typer

from upseg.cli import app
from upseg.data.sources import SOURCES
from upseg.exchange import LAYOUTS
from upseg.formats import FORMATS
from upseg.methods.baiseg import BaisegSettings
from upseg.methods.dynaseg import PRESETS
from upseg.methods.entity import EntitySettings
from upseg.methods.entity.extensions.cells import CellSettings
from upseg.methods.panoptic import PanopticSettings

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def all_tables() -> dict[str, str]:
    """The Markdown of each table, by the name that the pages use."""
    return {
        "dynaseg_settings": _settings(PRESETS),
        "entity_settings": _settings({"default": EntitySettings()}),
        "cells_settings": _settings({"default": CellSettings()}),
        "baiseg_settings": _settings({"default": BaisegSettings()}),
        "panoptic_settings": _settings({"default": PanopticSettings()}),
        "formats": _formats(),
        "segment_options": _options("segment"),
        "app_options": _options("app"),
        "compare_options": _options("compare"),
        "split_options": _options("split"),
        "convert_options": _options("convert"),
        "layouts": _layouts(),
        "models_options": _options("models"),
        "train_options": _options("train"),
        "export_model_options": _options("export-model"),
        "evaluate_options": _options("evaluate"),
        "data_sources": _sources(),
    }


def _settings(named: Mapping[str, Any]) -> str:
    presets = {name: asdict(settings) for name, settings in named.items()}
    documentation = inspect.getdoc(type(named["default"]))
    meanings = {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(documentation)}
    rows = (
        [f"`{setting}`", *(_as_typed(preset[setting]) for preset in presets.values()), meanings[setting]]
        for setting in presets["default"]
    )
    return _table(["setting", *(f"`{name}`" for name in presets), "meaning"], rows)


def _formats() -> str:
    rows = (
        [f"`{form.name}`", f"`{form.suffix}`", form.description, "yes" if form.read else "no"]
        for form in FORMATS.values()
    )
    return _table(["`--format`", "files end in", "what it is", "can be read back"], rows)


def _layouts() -> str:
    rows = (
        [f"`{layout.name}`", layout.description, f"`{layout.layout}`", f"`{layout.source}`" if layout.source else ""]
        for layout in LAYOUTS.values()
    )
    return _table(["`--to`", "what it is", "what is written", "data set that reads it"], rows)


def _sources() -> str:
    rows = ([f"`{source.name}`", source.description, f"`{source.layout}`"] for source in SOURCES.values())
    return _table(["name", "what it is", "what the folder holds"], rows)


def _options(command: str) -> str:
    parameters = typer.main.get_command(app).commands[command].params
    options = [parameter for parameter in parameters if parameter.param_type_name == "option"]
    rows = (
        [
            ", ".join(f"`{name}`" for name in option.opts),
            _as_typed(option.default) if option.default else "",
            option.help,
        ]
        for option in options
    )
    return _table(["option", "default", "meaning"], rows)


def _as_typed(value: object) -> str:
    """A value as the command line takes it."""
    return f"`{value if isinstance(value, str) else json.dumps(value, default=str)}`"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
