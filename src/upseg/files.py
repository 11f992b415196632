"""Files that appear whole or not at all, and names of files as people read them."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PARTIAL = ".partial"
_SHOWN_NAME = 40  # characters of the target's name that start the temporary one: file systems allow 255 bytes in all


def printable(path: str | os.PathLike[str]) -> str:
    """A path as it can be shown on one line: quoted and escaped where it has line breaks or undecodable bytes."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place once the block has written it without an exception.

    The file is flushed to the disk before it is renamed, so not even a power cut leaves half a file under the final
    name. After any exception, `KeyboardInterrupt` included, the temporary file is gone and `path` is as it was. Parent
    folders are made.

    Args:
        path: The file to write or to replace.

    Yields:
        A path in the same folder whose name starts with a dot and ends with `.partial`.

    Raises:
        OSError: If the folder cannot be made or the file cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{_partial_prefix(target)}{secrets.token_hex(4)}{_PARTIAL}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(path: str | Path) -> int:
    """Delete what killed runs left half-written for `path`; only for callers that no other process writes beside.

    Args:
        path: A target of `atomic_path`.

    Returns:
        The number of files deleted.
    """
    target = Path(path)
    if not target.parent.is_dir():
        return 0
    prefix = _partial_prefix(target)
    with os.scandir(target.parent) as entries:
        leftovers = [e.path for e in entries if e.name.startswith(prefix) and e.name.endswith(_PARTIAL)]
    for leftover in leftovers:
        Path(leftover).unlink(missing_ok=True)
    return len(leftovers)


def _partial_prefix(target: Path) -> str:
    """How the temporary files of this target, and of no other, begin."""
    name = target.name
    checksum = hashlib.blake2s(os.fsencode(name), digest_size=6).hexdigest()
    return f".{name[:_SHOWN_NAME]}.{checksum}."
