"""Folders for what is computed of one large image, so that what is stopped goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from upseg.files import atomic_path


def claim_folder(folder: Path, key: str) -> None:
    """Make a folder for what belongs to a key; what lies there of another is deleted."""
    path = folder / "key"
    if path.exists() and path.read_text() == key:
        return
    if folder.exists():
        shutil.rmtree(folder)
    with atomic_path(path) as partial:
        partial.write_text(key)


def kept_array(path: Path, make: Callable[[], Any]) -> Any:
    """What an earlier run has written there; else what is made now, written whole or not at all."""
    if not path.exists():
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.save(file, make())
    return np.load(path)
