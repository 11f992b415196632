"""Configurations from before the weights of losses were called `loss_weights`: they were the `weights` of a method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from upseg.yaml_files import configuration_text

_OPTION = re.compile(r"^(--model\.(?:init_args\.)?)weights\b")
_METHODS = "upseg.methods."


def arguments_of_today(configurations: Sequence[Path], options: Sequence[str]) -> list[str]:
    """What a training's parser is given.

    Args:
        configurations: YAML files that can be read.
        options: Of the command line.

    Returns:
        One `--config=` for each file, of its path, or of its text where that has an old name, and the options; of
        models that are not upseg's all is left as it is.
    """
    texts = [configuration_text(path) for path in configurations]
    new = [_renamed(text) for text in texts]
    files = [
        f"--config={path if now == text else now}" for path, text, now in zip(configurations, texts, new, strict=True)
    ]
    ours = any(_METHODS in text for text in texts)
    return [*files, *(_OPTION.sub(r"\1loss_weights", option) if ours else option for option in options)]


def _renamed(text: str) -> str:
    """The text, with nothing changed but the name."""
    model = _entry(yaml.compose(text, yaml.SafeLoader), "model")
    path, arguments = (_entry(model and model[1], name) for name in ("class_path", "init_args"))
    found = _entry(arguments and arguments[1], "weights")
    if found is None or path is None or not path[1].value.startswith(_METHODS):
        return text
    start = found[0].start_mark.index
    return f"{text[:start]}loss_{text[start:]}"


def _entry(node: yaml.Node | None, name: str) -> tuple[yaml.ScalarNode, yaml.Node] | None:
    """The key and the value of a name in a mapping; None where there is none."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((pair for pair in node.value if pair[0].value == name), None)
