"""Files that appear whole or not at all, and names of files as people read them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 1 << 30
"""Of a file that is read whole: what is larger would not fit into memory once it is parsed."""

_PARTIAL = ".partial"
_SHOWN_NAME = 40  # characters of the target's name that start the temporary one: file systems allow 255 bytes in all


def printable(path: str | os.PathLike[str]) -> str:
    """A path as it can be shown on one line: quoted and escaped where it has line breaks or undecodable bytes."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def check_openable(path: str | os.PathLike[str]) -> None:
    """Refuse pipes, sockets and devices, which may keep who opens them waiting for ever.

    Raises:
        ValueError: If it is one.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - of a name of any kind
    except (OSError, ValueError):
        return  # opening it will say why
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError("this is not a regular file")


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is changed: its size, and when that was."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file or a folder; of names that none can have, such as too long ones, there is not."""
    try:
        os.stat(path)  # noqa: PTH116 - of a name of any kind
    except (OSError, ValueError):
        return False
    return True


def read_plain(path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a regular file, or of what a link to one leads to; nothing else is opened, since a pipe may hang.

    Args:
        path: The file.
        most_bytes: Refuse files with more.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file, or too large.
    """
    status = os.stat(path)  # noqa: PTH116 - of a name of any kind
    check_openable(path)
    if status.st_size > most_bytes:
        raise ValueError(f"it has {status.st_size:,} bytes, more than the {most_bytes:,} that it can have")
    with open(path, "rb") as file:  # noqa: PTH123
        content = file.read(status.st_size + 1)  # reading so many bytes as may be takes the memory for them at once
        content += file.read(most_bytes) if len(content) > status.st_size else b""
    if len(content) > most_bytes:
        raise ValueError(f"it has more than the {most_bytes:,} bytes that it can have")
    return content


def read_json(path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> Any:
    """What a JSON file holds; errors as for `read_plain`, and a ValueError where it is no JSON or nested too deep."""
    return parse_json(read_plain(path, most_bytes=most_bytes))


def parse_json(text: str | bytes) -> Any:
    """What JSON says; numbers that are none (`NaN`) are refused.

    Raises:
        ValueError: If it is no JSON, or nested deeper than anything that is read here.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _no_number(text: str) -> None:
    raise ValueError(f"it holds {text}, which is no number of JSON")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place once the block has written it without an exception.

    The file is flushed to the disk before it is renamed, so not even a power cut leaves half a file under the final
    name. After any exception, `KeyboardInterrupt` included, the temporary file is gone and `path` is as it was. Parent
    folders are made.

    Yields:
        A path in the same folder whose name starts with a dot and ends with `.partial`.

    Raises:
        OSError: If the folder cannot be made or the file cannot be written.
    """
    with _replacing(Path(path)) as partial:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())


@contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """As `atomic_path`, but give the file, open for writing bytes: of small files opening takes most of the time."""
    with _replacing(Path(path)) as partial, partial.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Give a path that takes the place of another after the block, and is gone after an exception."""
    if not target.parent.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{_partial_prefix(target)}{secrets.token_hex(4)}{_PARTIAL}")
    try:
        yield partial
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> Path:
    """Write a text in UTF-8, whole or not at all; returns the path."""
    with atomic_file(path) as file:
        file.write(text.encode("utf-8"))
    return path


def write_picture(path: Path, pixels: Any, **options: Any) -> Path:
    """Write integers, (H, W) or (H, W, 3), whole or not at all: JPEG where the name ends so, else PNG.

    `options` are those of Pillow's writer; returns the path.
    """
    from PIL import Image

    with atomic_file(path) as file:
        kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
        Image.fromarray(pixels).save(file, format=kind, **options)
    return path


def remove_partials(path: str | Path) -> int:
    """Delete what killed runs left of `atomic_path(path)`; only for callers that no other process writes beside.

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
