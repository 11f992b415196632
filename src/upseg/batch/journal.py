"""What a folder of results remembers, so that a second run does only what is missing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from upseg.errors import UpsegError
from upseg.files import printable

JOURNAL_NAME = ".upseg-journal.jsonl"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class InputState:
    """Which file an image is, and with which settings it is segmented.

    Attributes:
        name: The image's name among the inputs, with slashes.
        source: A digest of where the file is.
        size: Its number of bytes.
        mtime_ns: When it was last changed.
        settings: A digest of all that the result depends on beside the image.
    """

    name: str
    source: str
    size: int
    mtime_ns: int
    settings: str

    @classmethod
    def of(cls, path: Path, name: PurePosixPath, settings: str) -> InputState:
        """The state of an existing file.

        Raises:
            OSError: If there is none.
        """
        status = path.stat()
        source = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
        return cls(str(name), source, status.st_size, status.st_mtime_ns, settings)

    def has_content_of(self, other: InputState) -> bool:
        """Whether both are one file that was not changed in between, be it moved with its folder."""
        return (self.name, self.size, self.mtime_ns) == (other.name, other.size, other.mtime_ns)

    def is_same_input(self, other: InputState) -> bool:
        """Whether both are one file, changed or not."""
        return self.has_content_of(other) or (self.name, self.source) == (other.name, other.source)


class OutputState(Enum):
    """What a file in the folder of results is to one image."""

    ABSENT = auto()
    """There is no such file."""
    CURRENT = auto()
    """It is the finished result of this image with these settings."""
    UNFINISHED = auto()
    """A run that was stopped may have written it for this image."""
    OUTDATED = auto()
    """It is the result of this image, but with other settings, or from before the image was changed."""
    FOREIGN = auto()
    """It belongs to another image, or upseg did not write it."""


@dataclass(frozen=True, slots=True)
class _Entry:
    state: InputState
    finished: bool
    segments: int | None


class Journal:
    """The record of a folder of results: a file with one line of JSON for each image begun and each image finished.

    Lines are only ever appended, so whatever stops a run, at worst the last line is cut; a cut line is ignored. The
    line that says an image was begun comes before its results, so that a later run can tell them from other people's
    files.
    """

    def __init__(self, folder: Path) -> None:
        """Read the journal of `folder`, if it has one.

        Raises:
            UpsegError: If the journal cannot be read.
        """
        self.folder, self.path = folder, folder / JOURNAL_NAME
        self._entries: dict[str, _Entry] = {}
        self._descriptor: int | None = None
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise UpsegError(f"{printable(self.path)}: cannot be read ({error.strerror or error})") from error
        self._cut = not content.endswith(b"\n") and bool(content)
        for line in content.splitlines():
            self._replay(line)

    def __enter__(self) -> Journal:
        """Make the folder and open the journal for writing.

        Raises:
            UpsegError: If that is not possible.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _BINARY, 0o666)
        except OSError as error:
            reason = error.strerror or error
            raise UpsegError(
                f"cannot write to the folder {printable(self.folder)} ({reason}); choose another with -o"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def knows(self, output: str) -> bool:
        """Whether a path relative to the folder (with slashes) was written by a run."""
        return output in self._entries

    def state_of(self, output: PurePosixPath, state: InputState) -> OutputState:
        """What a file in the folder is to an image in its present state."""
        if not os.path.lexists(self.folder / output):
            return OutputState.ABSENT
        entry = self._entries.get(str(output))
        if entry is None or not entry.state.is_same_input(state):
            return OutputState.FOREIGN
        if not entry.finished:
            return OutputState.UNFINISHED
        current = entry.state.has_content_of(state) and entry.state.settings == state.settings
        return OutputState.CURRENT if current else OutputState.OUTDATED

    def was_stopped(self, output: PurePosixPath) -> bool:
        """Whether a run began to write this file and did not come to the end."""
        entry = self._entries.get(str(output))
        return entry is not None and not entry.finished

    def segments_in(self, output: PurePosixPath) -> int | None:
        """How many segments a finished result has, where that is known."""
        entry = self._entries.get(str(output))
        return entry.segments if entry is not None else None

    def begin(self, state: InputState, outputs: Sequence[PurePosixPath]) -> None:
        """Note that these outputs of an image are about to be written."""
        self._append({"event": "begun"}, state, outputs)

    def finish(self, state: InputState, outputs: Sequence[PurePosixPath], *, seconds: float, segments: int) -> None:
        """Note that these outputs of an image are complete."""
        self._append({"event": "finished", "seconds": round(seconds, 3), "segments": segments}, state, outputs)

    def _append(self, facts: dict[str, Any], state: InputState, outputs: Sequence[PurePosixPath]) -> None:
        if self._descriptor is None:
            raise RuntimeError("the journal is not open; use it in a with statement")
        record = facts | {
            "version": _VERSION,
            "input": state.name,
            "source": state.source,
            "size": state.size,
            "mtime_ns": state.mtime_ns,
            "settings": state.settings,
            "outputs": [str(output) for output in outputs],
        }
        line = (b"\n" if self._cut else b"") + json.dumps(record).encode("ascii") + b"\n"
        self._cut = True  # until all of it is written
        try:
            written = os.write(self._descriptor, line)  # one write, so that two runs never mix their lines
            if written == len(line):
                os.fsync(self._descriptor)
        except OSError as error:
            raise UpsegError(f"{printable(self.path)}: cannot be written ({error.strerror or error})") from error
        if written < len(line):
            raise UpsegError(f"{printable(self.path)}: cannot be written (the disk is full)")
        self._cut = False
        self._remember(record)

    def _replay(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            if record["version"] == _VERSION:
                self._remember(record)
        except (ValueError, KeyError, TypeError):
            return  # cut by what stopped the run

    def _remember(self, record: Mapping[str, Any]) -> None:
        state = InputState(record["input"], record["source"], record["size"], record["mtime_ns"], record["settings"])
        entry = _Entry(state, record["event"] == "finished", record.get("segments"))
        self._entries.update(dict.fromkeys(map(str, record["outputs"]), entry))


_BINARY = getattr(os, "O_BINARY", 0)  # Windows would otherwise write \r\n
