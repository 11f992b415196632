"""Settings by name: text and JSON values become the typed fields of a method's settings dataclass.

A class whose settings got new names says so by `renamed: ClassVar[Mapping[str, str]]`, from old to new: models and
commands that have the old ones go on working. Where the values changed too, `renamed_values` says for an old name what
each of its old values, as text in lower case, is now.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin

from upseg.errors import ModelError
from upseg.functional.ranges import check_most


def parse_assignments(pairs: Iterable[str], settings_class: type) -> dict[str, Any]:
    """Turn texts of the form `key=value` into values of the types that the settings have.

    Args:
        pairs: For instance `["seed=3", "weighting=scf"]`; numbers, `true`, `false`, `null` and lists as in JSON,
            anything else is a text.
        settings_class: A dataclass.

    Raises:
        ModelError: If a text has another form, or `settings_class` has no such field, or the value does not fit it.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ModelError(f"a setting is given as key=value, got {pair!r}")
        values[key.strip()] = text.strip()
    named = current_names(values, settings_class)
    return check_settings({k: _value(text, _type_of(settings_class, k)) for k, text in named.items()}, settings_class)


def current_names(values: Mapping[str, Any], settings_class: type) -> dict[str, Any]:
    """Settings by the names that they have now, for those of before; that there are such settings is not checked.

    Raises:
        ModelError: If one is given by both of its names.
    """
    renamed: Mapping[str, str] = getattr(settings_class, "renamed", {})
    twice = [f"{old} is now called {new}" for old, new in renamed.items() if old in values and new in values]
    if twice:
        raise ModelError(f"the setting {twice[0]}, but both are given; leave the old name out")
    changed: Mapping[str, Mapping[str, Any]] = getattr(settings_class, "renamed_values", {})
    return {renamed.get(k, k): changed.get(k, {}).get(str(v).lower(), v) for k, v in values.items()}


def check_settings(values: Mapping[str, Any], settings_class: type) -> dict[str, Any]:
    """Check names and types against the fields of a dataclass, and turn JSON's lists into tuples where it has tuples.

    Raises:
        ModelError: If there is no such field, or a value has another type.
    """
    checked = {}
    for key, value in current_names(values, settings_class).items():
        expected = _type_of(settings_class, key)
        converted = _converted(value, expected)
        if not _fits(converted, expected):
            raise ModelError(f"the setting {key} must be {_described(expected)}, got {_shown(value)}")
        checked[key] = converted
    return checked


def build_settings(settings_class: type, values: Mapping[str, Any], *, preset: str | None = None) -> Any:
    """Make the settings of a method.

    Args:
        settings_class: A dataclass that checks its own values; one with presets has a class method
            `preset(name, **values)`.
        values: What differs from the preset.
        preset: Its name; None for `default`.

    Raises:
        ModelError: If a name, a type, a value or the preset is wrong.
    """
    checked = check_settings(values, settings_class)
    try:
        check_most(checked)
    except ValueError as error:
        raise ModelError(str(error)) from error
    required = [f.name for f in _fields(settings_class) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in required if name not in checked]
    from_preset = getattr(settings_class, "preset", None)
    if from_preset is None and preset not in (None, "default"):
        raise ModelError(f"{settings_class.__name__} has no presets, but {preset!r} was asked for")
    if from_preset is None and missing:
        raise ModelError(f"the settings {', '.join(missing)} must be given")
    try:
        return settings_class(**checked) if from_preset is None else from_preset(preset or "default", **checked)
    except ValueError as error:
        raise ModelError(str(error)) from error


def _fields(settings_class: type) -> Sequence[Field[Any]]:
    if not is_dataclass(settings_class):
        raise TypeError(f"settings must be a dataclass, got {settings_class!r}")
    return [f for f in fields(settings_class) if f.init]


def _type_of(settings_class: type, key: str) -> Any:
    names = [f.name for f in _fields(settings_class)]
    if key not in names:
        close = difflib.get_close_matches(key, names, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ModelError(f"there is no setting {key!r}{hint}; the settings are {', '.join(names)}")
    return typing.get_type_hints(settings_class)[key]


def _value(text: str, expected: Any) -> Any:
    if _fits(text, expected):
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:  # people write .5 and 1., which JSON does not have
        return float(text) if float in _alternatives(expected) else text
    except ValueError:
        return text


def _converted(value: Any, expected: Any) -> Any:
    """JSON has no tuples, and writes whole floats like integers: give the value the type that was meant."""
    if _fits(value, expected):
        return value
    for alternative in _alternatives(expected):
        converted = value
        if alternative is float and type(value) is int:
            converted = float(value)
        elif get_origin(alternative) is tuple and isinstance(value, list | tuple):
            inner = _element_types(alternative, len(value))
            converted = tuple(map(_converted, value, inner)) if len(inner) == len(value) else value
        if _fits(converted, expected):
            return converted
    return value


def _element_types(expected: Any, count: int) -> tuple[Any, ...]:
    """What the elements of a tuple of some length must be."""
    arguments = get_args(expected)
    return arguments[:1] * count if arguments[1:] == (Ellipsis,) else arguments


def _alternatives(expected: Any) -> tuple[Any, ...]:
    return get_args(expected) if get_origin(expected) in (typing.Union, types.UnionType) else (expected,)


def _fits(value: Any, expected: Any) -> bool:
    return any(_fits_one(value, alternative) for alternative in _alternatives(expected))


def _fits_one(value: Any, expected: Any) -> bool:
    origin = get_origin(expected)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(expected))
    if origin is tuple:
        inner = _element_types(expected, len(value)) if isinstance(value, tuple) else ()
        return isinstance(value, tuple) and len(inner) == len(value) and all(map(_fits, value, inner))
    if expected in (None, type(None)):
        return value is None
    return type(value) is expected if expected in (bool, int, float, str) else isinstance(value, origin or expected)


def _shown(value: Any) -> str:
    """A value in an error, of whatever length it is."""
    try:
        return f"{value!r:.100}"
    except ValueError:  # Python does not write out integers of thousands of digits
        return "a number of thousands of digits"


def _described(expected: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    texts = []
    for alternative in _alternatives(expected):
        if get_origin(alternative) is Literal:
            texts.append(f"one of {', '.join(map(str, get_args(alternative)))}")
        elif alternative in (None, type(None)):
            texts.append("null")
        else:
            texts.append(names.get(alternative, str(alternative)))
    return " or ".join(texts)
