"""Which code a recipe may name: recipes come from elsewhere, and naming a callable with arguments is running it.

Nor may it look around: `${oc.env:HOME}` would take an environment variable over into the run's folder.

jsonargparse, which resolves every class and every function that a configuration names, is told what it may import; it
looks both at the name and at where the object is defined, so that `upseg.files.os.system` is `posix.system`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from jsonargparse import set_parsing_settings
from jsonargparse._common import parsing_settings
from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from upseg.errors import UpsegError

ALLOWED = (
    "upseg.data",
    "upseg.functional",
    "upseg.layers",
    "upseg.methods",
    "upseg.metrics",
    "upseg.segmentation",
    "upseg.training",
    "torch.optim",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
)
"""What a recipe may name without `--trust`, each with everything below it. Of upseg not what acts on the system."""

_POLICY = ("import_path_verdicts", "import_paths_enforced")
_DENIED = re.compile(r"Importing '([^']+)' is not allowed")
_ENVIRONMENT = "oc.env"
_NAMED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_allowed(name: str) -> bool:
    """Whether a recipe may name this class or function."""
    return any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED)


def check_names(value: Any, place: str) -> None:
    """Look at every `class_path` and `${...}` in a configuration before anything is imported; `place` is for messages.

    Raises:
        UpsegError: If one is not allowed.
    """
    if isinstance(value, str) and (function := _function_in(value)) is not None:
        raise UpsegError(f"{place}: {_refusal_of_function(function)}")
    if isinstance(value, dict):
        named = value.get("class_path")
        if isinstance(named, str) and _NAMED.fullmatch(named.strip()) and not is_allowed(named.strip()):
            raise UpsegError(f"{place}: {refusal(named)}")
    if isinstance(value, dict | list):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            check_names(inner, place)


def _function_in(text: str) -> str | None:
    """The first `${function: ...}` of a text, which computes a value instead of taking one over; None without one."""
    for match in re.finditer(r"\$\{", text):
        level, inside = 1, ""
        for character in text[match.end() :]:
            level += (character == "{") - (character == "}")
            if level == 0 or character == ":":
                break
            inside += character
        if level and text[match.end() + len(inside) :].startswith(":"):
            return inside.strip()
    return None


def _refusal_of_function(name: str) -> str:
    return (
        f"a recipe may not compute ${{{name}:...}}, which can read environment variables: without --trust it takes "
        "over its own values alone, ${name}; give --trust if you know where the recipe comes from"
    )


def _resolve_environment(with_function: Callable[..., Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions call the same by another name
        OmegaConf.register_new_resolver(_ENVIRONMENT, with_function, replace=True)


def _refuse_environment(*_: Any) -> NoReturn:
    raise ValueError(_refusal_of_function(_ENVIRONMENT))


def refusal(name: str) -> str:
    """What is said of a name that is not allowed."""
    return (
        f"a recipe may not run {name!r}: without --trust it names only what is in upseg's data, methods and training, "
        "torch.optim, and Lightning's callbacks and loggers; give --trust if you know where the recipe and the code "
        "come from"
    )


def refused_in(message: str) -> str | None:
    """The refusal that jsonargparse's message is about; None if it is about something else."""
    match = _DENIED.search(message)
    return refusal(match[1]) if match else None


@contextmanager
def only_allowed(*, trust: bool) -> Iterator[None]:
    """Within it jsonargparse imports nothing else that a configuration or an option names, nor reads the environment.

    Args:
        trust: Whether to let it import everything.
    """
    if trust:
        yield
        return
    before = {name: parsing_settings[name] for name in _POLICY}
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=list(ALLOWED))
    _resolve_environment(_refuse_environment)
    try:
        yield
    finally:
        parsing_settings.update(before)
        _resolve_environment(oc.env)
