"""Images and results in object stores (S3, Google Cloud Storage, whatever fsspec knows): names, listing, bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from glob import has_magic
from os import PathLike, fspath
from pathlib import Path, PosixPath
from typing import Any

from upseg.errors import UpsegError
from upseg.files import printable

_PROTOCOL = re.compile(r"^([a-z][a-z0-9+.-]+):/+(?=.)")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_MARKS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "updated", "created")
"""What stores call that which changes with an object, the surest first."""


class Uri(PosixPath):
    """The name of something in a store, such as `s3://bucket/photos/a.jpg`: joined and taken apart like a path.

    It is a name only: what it stands for is read and written by the functions of this module.
    """

    def __str__(self) -> str:
        return _PROTOCOL.sub(r"\1://", super().__str__(), count=1)

    def __fspath__(self) -> str:
        return str(self)

    def resolve(self, strict: bool = False) -> Uri:  # noqa: ARG002 - as every path has it
        """Itself: stores have no links."""
        return self


def place_of(name: str | PathLike[str]) -> Path:
    """The path that people mean: a `Uri` for `PROTOCOL://...`, but a local one for `file://...`."""
    text = fspath(name)
    match = re.match(r"([a-z][a-z0-9+.-]+)://", text)
    if isinstance(name, Uri) or match is None:
        return Path(text) if match is None else Uri(text)
    return Path(text.removeprefix("file://")) if match[1] == "file" else Uri(text)


def file_system(uri: Path) -> Any:
    """What reads and writes the store that a name is in.

    Raises:
        UpsegError: If a package for it is missing, or there is no such kind of store, or it is the web.
    """
    protocol = str(uri).partition("://")[0]
    if protocol in ("http", "https"):
        raise UpsegError(f"{uri}: pages of the web are no store with folders; download the image first")
    needed = _PACKAGES.get(protocol, "fsspec")
    try:
        import fsspec

        with explained(uri):
            return fsspec.filesystem(protocol)
    except ImportError as error:
        raise UpsegError(f'{uri}: this needs {needed}: pip install "upseg[batch]"') from error
    except ValueError as error:
        raise UpsegError(f"{uri}: there is no store of the kind {protocol}:// ({error})") from error


@contextmanager
def explained(uri: Path) -> Iterator[None]:
    """Say in one line what a store refuses.

    Raises:
        UpsegError: In place of what libraries of stores raise.
    """
    try:
        yield
    except (UpsegError, ImportError, ValueError):
        raise
    except FileNotFoundError as error:
        raise UpsegError(f"{printable(uri)}: there is no such bucket, folder or file") from error
    except PermissionError as error:
        raise UpsegError(
            f"{printable(uri)}: the store refuses access ({_line(error)}); check what these credentials may do there"
        ) from error
    except Exception as error:
        if "credentials" in type(error).__name__.lower() + str(error).lower():
            reason = "no credentials were found; give them the way the store's own tools take them"
            raise UpsegError(f"{printable(uri)}: {reason} ({_line(error)})") from error
        raise UpsegError(f"{printable(uri)}: the store does not answer as it should ({_line(error)})") from error


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}"


def read(uri: Uri) -> bytes:
    """The content of a file.

    Raises:
        UpsegError: If it cannot be read.
    """
    store = file_system(uri)
    with explained(uri):
        content: bytes = store.cat_file(str(uri))
    return content


def write(uri: Uri, content: bytes) -> None:
    """Write a file, whole or not at all, as stores do.

    Raises:
        UpsegError: If it cannot be written.
    """
    store = file_system(uri)
    with explained(uri):
        store.pipe_file(str(uri), content)


def read_all(uris: Sequence[Path]) -> Iterator[bytes]:
    """The contents of many files of one store, in their order, read side by side a thousand at a time."""
    for start in range(0, len(uris), 1000):
        part = [str(uri) for uri in uris[start : start + 1000]]
        store = file_system(uris[start])
        with explained(uris[start].parent):
            found = store.cat(part)
        yield from ([found] if isinstance(found, bytes) else (found[store._strip_protocol(name)] for name in part))


Stamp = tuple[int, int]
"""Of a file in a store: its number of bytes, and a number that changes with its content."""


def listing(place: Uri) -> dict[Uri, Stamp]:
    """Every file below a folder, that of this name, or, with `*`, `?` or `[...]`, those that match and what is in them.

    Where there is none, none: stores have no folders, only names with slashes. Those that no path can have (`//`, `..`)
    are left out.

    Raises:
        UpsegError: If the store cannot be looked at.
    """
    store = file_system(place)
    with explained(place):
        store.invalidate_cache()
        try:
            found = (
                store.glob(str(place), detail=True) if has_magic(str(place)) else {str(place): {"type": "directory"}}
            )
            for folder in [name for name, facts in found.items() if facts["type"] == "directory"]:
                del found[folder]
                found |= store.find(folder, detail=True)
        except FileNotFoundError:
            return {}
        files = {store._strip_protocol(name): facts for name, facts in found.items() if facts["type"] == "file"}
    head = f"{str(place).partition('://')[0]}://"  # of several names of one kind of store the one that was used
    return {Uri(head + name): _mark(facts) for name, facts in sorted(files.items()) if _is_path(name)}


def _is_path(name: str) -> bool:
    return "\0" not in name and not {"", ".", ".."} & set(name.lstrip("/").split("/"))


def _mark(facts: Mapping[str, Any]) -> Stamp:
    value = next((facts[name] for name in _MARKS if facts.get(name)), "")
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return int(facts.get("size") or 0), int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)
