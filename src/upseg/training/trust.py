"""Which code a recipe may name: recipes come from elsewhere, and naming a callable with arguments is running it.

jsonargparse, which resolves every class and every function that a configuration names, is told what it may import; it
looks both at the name and at where the object is defined, so that `upseg.files.os.system` is `posix.system`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import set_parsing_settings
from jsonargparse._common import parsing_settings

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
_NAMED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_allowed(name: str) -> bool:
    """Whether a recipe may name this class or function."""
    return any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED)


def check_names(value: Any, place: str) -> None:
    """Look at every `class_path` in a configuration before anything is imported.

    Args:
        value: The configuration, as YAML has it.
        place: Where it is from, for the message.

    Raises:
        UpsegError: If one is not allowed.
    """
    if isinstance(value, dict):
        named = value.get("class_path")
        if isinstance(named, str) and _NAMED.fullmatch(named.strip()) and not is_allowed(named.strip()):
            raise UpsegError(f"{place}: {refusal(named)}")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            check_names(inner, place)


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
    """Within it jsonargparse imports nothing else that a configuration or an option names.

    Args:
        trust: Whether to let it import everything.
    """
    if trust:
        yield
        return
    before = {name: parsing_settings[name] for name in _POLICY}
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=list(ALLOWED))
    try:
        yield
    finally:
        parsing_settings.update(before)
