"""What is wrong with a configuration, in one line, with the name that was probably meant."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from upseg.errors import UpsegError
from upseg.training.trust import check_names, refused_in
from upseg.yaml_files import configuration_text, read_configuration

_DATA_ROOT = "${data_root}"
_MOST_LISTED = 20
_MOST_SHOWN = 60  # characters of a value

_UNKNOWN = re.compile(r"Option '(.+?)' is not accepted|does not accept option '(.+?)'|arguments: --([^\s=]+)")
_GROUP = re.compile(r"Group '(.+?)' does not accept")
_CLASS = re.compile(r"Problem with given class_path '(.+?)'")
_NO_ATTRIBUTE = re.compile(r"module '(.+?)' has no attribute '(.+?)'")
_KEY = re.compile(r'Parser key "(.+?)":?')
_GIVEN = re.compile(r"Given value: (.*)")
# lines of jsonargparse that say nothing to somebody who looks for a mistake
_NOISE = re.compile(
    r"Does not validate against any of the Union subtypes|Subtypes: |Errors:|Given value|"
    r"Expected a <class 'NoneType'>|Expected a path but"
)


def check_configurations(configurations: Sequence[Path], options: Sequence[str], *, trust: bool = False) -> None:
    """Find what would be silently replaced or misunderstood when configurations are read, before anything is imported.

    Args:
        configurations: YAML files.
        options: Of the command line, which win over them.
        trust: Whether they may name any code.

    Raises:
        UpsegError: If the data has a seed of its own, or a recipe needs the place of the data and there is none, or it
            names code that is not allowed.
    """
    given = {option.partition("=")[0] for option in options}
    if given & {"--data.seed", "--data.init_args.seed"}:
        raise UpsegError("the seed of the data is --seed_everything")
    contents = {path: read_configuration(path) for path in configurations}
    for path, content in contents.items():
        if not trust:
            check_names(content, str(path))
        data = content.get("data")
        arguments = data.get("init_args") if isinstance(data, dict) else None
        if isinstance(arguments, dict) and "seed" in arguments:
            raise UpsegError(f"{path}: the seed of the data is seed_everything; leave data.init_args.seed out")
    needing = [path for path in configurations if _DATA_ROOT in configuration_text(path)]
    if needing and "--data_root" not in given and all(c.get("data_root") is None for c in contents.values()):
        raise UpsegError(f"{needing[0]} needs the place of the data: --data_root FOLDER")


def one_line(message: str, options: Iterable[str] = ()) -> str:
    """Make one line of what jsonargparse says about a configuration.

    Args:
        message: Many lines, nested as the configuration is.
        options: All names that there are outside of classes, such as `trainer.max_epochs`.

    Returns:
        Where it is, what is wrong, and for an unknown name the nearest one and all that there are.
    """
    refused = refused_in(message)
    if refused is not None:
        return refused
    lines = [line.strip().removeprefix("- ").strip() for line in message.splitlines()]
    place: list[str] = []
    classes: list[str] = []
    said: list[str] = []
    for line in lines:
        if match := _KEY.fullmatch(line):
            place.append(match[1])
        elif match := _CLASS.match(line):
            classes.append(match[1])
        elif line and not _NOISE.match(line):
            said.append(_plain(line.rstrip(".")))
    where = " > ".join(place) + (f" ({classes[-1]})" if classes else "")
    unknown = _UNKNOWN.search(message)
    if unknown is not None:
        name = next(filter(None, unknown.groups()))
        group = _GROUP.search(message)
        text = _about_unknown(f"{group[1]}.{name}" if group else name, classes, list(options))
    else:
        text = "; ".join(dict.fromkeys(said)) or "does not fit"
        text += _about_value(message) + _about_class(message)
    return f"{where}: {text}" if where else text


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)` for the name that is nearest, or nothing if none is near."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _about_unknown(name: str, classes: Sequence[str], options: Sequence[str]) -> str:
    if classes:
        known: Sequence[str] = _parameters(classes[-1])
    else:
        first, dot, rest = name.partition(".")
        sections = sorted({option.partition(".")[0] for option in options})
        known = options if dot and first in sections else [f"{section}{dot}{rest}" for section in sections]
    listed = f"; there are {', '.join(known)}" if classes and len(known) <= _MOST_LISTED else ""
    return f"there is no option {name!r}{nearest(name, known)}{listed}"


def _about_value(message: str) -> str:
    """What was given, where that is short and not said already."""
    given = _GIVEN.search(message)
    text = given[1] if given else ""
    simple = text and len(text) <= _MOST_SHOWN and not text.startswith(("{", "[", "Namespace(", "NestedArg("))
    return f", got {text}" if simple and "Got value" not in message else ""


def _about_class(message: str) -> str:
    """Help with a class that is not there, or that is taken for another."""
    if missing := _NO_ATTRIBUTE.search(message):
        return nearest(missing[2], vars(sys.modules.get(missing[1])) if missing[1] in sys.modules else ())
    return "; options of a class belong under its init_args" if "is abstract" in message else ""


def _plain(text: str) -> str:
    """Types without Python's way of writing them."""
    text = re.sub(r"(?:an? )?<class '(?:[\w.]*\.)?(\w+)'>", r"\1", text)
    return re.sub(r"a typing\.Literal\[(.*?)\]", r"one of \1", text)


def _parameters(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)  # nothing is imported to explain a mistake
    if not callable(found):
        return []
    parameters = inspect.signature(found).parameters
    return [p.name for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
