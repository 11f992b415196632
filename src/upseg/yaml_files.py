"""YAML files of configurations, read with bounds: a few hundred bytes of aliases can stand for gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from upseg.errors import UpsegError

_MOST_BYTES = 4 << 20
_MOST_VALUES = 100_000  # counting what an alias stands for each time
_MOST_LEVELS = 100


def read_configuration(path: Path) -> dict[str, Any]:
    """The sections of a configuration.

    Raises:
        UpsegError: If the file cannot be read, is no YAML with sections, or stands for more than any configuration.
    """
    text = configuration_text(path)
    try:
        _check_levels(text)
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None and (count := _expanded(root, {})) > _MOST_VALUES:
            raise UpsegError(f"{path} stands for {count:,} values (by its aliases), more than {_MOST_VALUES:,}")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: dates that there are not
        raise UpsegError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UpsegError(f"{path} must hold sections such as model and data, got {type(content).__name__}")
    return content


def configuration_text(path: Path) -> str:
    """The text of a configuration.

    Raises:
        UpsegError: If the file cannot be read, or is larger than any configuration.
    """
    try:
        if not path.is_file():
            raise UpsegError(f"{path} is not a regular file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UpsegError(f"{path} has more than {_MOST_BYTES:,} bytes; no configuration has")
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UpsegError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error


def _check_levels(text: str) -> None:
    """Refuse deep nesting before anything follows it down."""
    level = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > _MOST_LEVELS:
            raise ValueError(f"it is nested more than {_MOST_LEVELS} levels deep")


def _expanded(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values a node stands for when each alias is written out."""
    key = id(node)
    if key not in known:
        known[key] = None  # being counted
        inner = list(node.value) if isinstance(node, yaml.CollectionNode) else []
        parts = [part for pair in inner for part in pair] if isinstance(node, yaml.MappingNode) else inner
        known[key] = 1 + sum(_expanded(part, known) for part in parts)
    count = known[key]
    if count is None:
        raise ValueError("an alias stands for what it is a part of")
    return count
