"""What a folder of results remembers, and the one rule by which a second run does only what is missing."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path, PurePosixPath
from threading import Lock
from types import TracebackType
from typing import Any

from upseg.errors import UpsegError
from upseg.files import parse_json, printable, read_plain, remove_partials

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
    def of(cls, path: Path, name: PurePosixPath, settings: str, stamp: tuple[int, int] | None = None) -> InputState:
        """The state of an existing file; of a folder, such as a Zarr, that of its newest entry.

        Args:
            path: The file.
            name: What it is called among the inputs.
            settings: A digest of all that the result depends on beside the image.
            stamp: Its size and when it was changed, where that is known already, as of files in stores.

        Raises:
            OSError: If there is none.
        """
        if stamp is None:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                status = max((entry.stat() for entry in path.iterdir()), key=lambda s: s.st_mtime_ns, default=status)
            stamp = status.st_size, status.st_mtime_ns
        source = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
        return cls(str(name), source, *stamp, settings)

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
        self._lock, self._synced = Lock(), 0.0
        self._held_back: list[bytes] | None = None
        content = self._read()
        self._cut = not content.endswith(b"\n") and bool(content)
        for line in content.splitlines():
            self._replay(line)

    def _read(self) -> bytes:
        try:
            self._set_aside_other_things()
            return read_plain(self.path) if self.path.exists() else b""
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UpsegError(f"{printable(self.path)}: cannot be read ({reason})") from error

    def holds(self, output: PurePosixPath | str) -> bool:
        """Whether there is such a file in the folder, whoever wrote it."""
        return os.path.lexists(self.folder / output)

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
            try:
                os.fsync(self._descriptor)
            except OSError as failure:
                raise self._unwritable(failure) from failure
            finally:
                os.close(self._descriptor)
                self._descriptor = None

    def _unwritable(self, error: OSError) -> UpsegError:
        return UpsegError(f"{printable(self.path)}: cannot be written ({error.strerror or error})")

    def _set_aside_other_things(self) -> None:
        """Take a link, pipe or the like away: reading it may never end, and writing may change what lies elsewhere."""
        if not os.path.lexists(self.path):
            return
        mode = self.path.lstat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            return
        aside = self.path.with_name(f"{JOURNAL_NAME}.{secrets.token_hex(4)}.set-aside")
        self.path.rename(aside)
        warnings.warn(
            f"{printable(self.path)} was a {'link' if stat.S_ISLNK(mode) else 'pipe or device'} and no journal of "
            f"upseg; it is now called {aside.name}, and what is in the folder counts as other people's",
            stacklevel=3,
        )

    def knows(self, output: str) -> bool:
        """Whether a path relative to the folder (with slashes) was written by a run."""
        return output in self._entries

    def state_of(self, output: PurePosixPath, state: InputState) -> OutputState:
        """What a file in the folder is to an image in its present state."""
        if not self.holds(output):
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

    def results_beside(self, outputs: Set[str]) -> dict[str, set[str]]:
        """The files beside some that are there and that runs wrote, by the name of the image they are of."""
        found: dict[str, set[str]] = {}
        for output in self._entries.keys() - outputs:
            if self.holds(output):
                found.setdefault(self._entries[output].state.name, set()).add(output)
        return found

    def begin(self, state: InputState, outputs: Sequence[PurePosixPath]) -> None:
        """Note that these outputs of an image are about to be written."""
        self._append({"event": "begun"}, state, outputs)

    def finish(self, state: InputState, outputs: Sequence[PurePosixPath], *, seconds: float, segments: int) -> None:
        """Note that these outputs of an image are complete; if the power is cut within a second, it is done again."""
        self._append({"event": "finished", "seconds": round(seconds, 3), "segments": segments}, state, outputs)

    def _append(self, facts: dict[str, Any], state: InputState, outputs: Sequence[PurePosixPath]) -> None:
        record = facts | {
            "version": _VERSION,
            "input": state.name,
            "source": state.source,
            "size": state.size,
            "mtime_ns": state.mtime_ns,
            "settings": state.settings,
            "outputs": [str(output) for output in outputs],
        }
        line = json.dumps(record).encode("ascii") + b"\n"
        with self._lock:
            if self._held_back is None:
                self._write(line)
            else:
                self._held_back.append(line)
            self._remember(record)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Write all lines of the block together at its end: of many images one by one takes long."""
        self._held_back = []
        try:
            yield
        finally:
            lines, self._held_back = b"".join(self._held_back), None
            if lines:
                self._write(lines)

    def _write(self, lines: bytes) -> None:
        if self._descriptor is None:
            raise RuntimeError("the journal is not open; use it in a with statement")
        line = (b"\n" if self._cut else b"") + lines
        self._cut = True  # until all of it is written
        try:
            written = os.write(self._descriptor, line)  # one write, so that two runs never mix their lines
            if written == len(line) and (b'"begun"' in lines or time.monotonic() - self._synced > _PATIENCE):
                os.fsync(self._descriptor)
                self._synced = time.monotonic()
        except OSError as error:
            raise self._unwritable(error) from error
        if written < len(line):
            raise UpsegError(f"{printable(self.path)}: cannot be written (the disk is full)")
        self._cut = False

    def _replay(self, line: bytes) -> None:
        try:
            record = parse_json(line)
            if record["version"] == _VERSION and _is_whole(record):
                self._remember(record)
        except (ValueError, KeyError, TypeError):
            return  # cut by what stopped the run, or damaged: what it was about counts as not done

    def _remember(self, record: Mapping[str, Any]) -> None:
        state = InputState(record["input"], record["source"], record["size"], record["mtime_ns"], record["settings"])
        entry = _Entry(state, record["event"] == "finished", record.get("segments"))
        self._entries.update(dict.fromkeys(map(str, record["outputs"]), entry))


def _is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a line has all that it should have, of the right types."""
    texts = [record["input"], record["source"], record["settings"], *record["outputs"]]
    numbers = [record["size"], record["mtime_ns"], record.get("segments", 0)]
    return (
        record["event"] in ("begun", "finished")
        and isinstance(record["outputs"], list)
        and all(isinstance(text, str) for text in texts)
        and all(type(number) is int for number in numbers)
    )


_PATIENCE = 1.0  # seconds that finished images may be known to nobody but the system
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would otherwise write \r\n


class Decision(Enum):
    """What there is to do about one input."""

    DO = auto()
    """Nothing is there, or only what a stopped run left."""
    REDO = auto()
    """Older results, or files that may be overwritten, are to be replaced."""
    DONE = auto()
    """Everything is there."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The files of a folder of results that are to hold what comes of one input.

    Attributes:
        journal: Of the folder.
        state: The input, and all that its results depend on.
        files: Relative to the folder.
        role: What messages call such files where an earlier run wrote them.
    """

    journal: Journal
    state: InputState
    files: tuple[PurePosixPath, ...]
    role: str = "result of this image"

    def decide(self, *, overwrite: bool) -> Decision:
        """Skip what an earlier run did, refuse to replace what is not ours, else do it.

        Args:
            overwrite: Whether files that upseg did not write, or wrote for another input, may be replaced.

        Raises:
            UpsegError: If there is such a file, and it may not.
        """
        found = {file: self.journal.state_of(file, self.state) for file in self.files}
        states = set(found.values())
        if OutputState.FOREIGN in states and not overwrite:
            foreign = next(file for file, state in found.items() if state is OutputState.FOREIGN)
            raise UpsegError(
                f"{printable(self.journal.folder / foreign)} exists and is not an earlier {self.role}; remove it, "
                "write somewhere else, or allow it to be replaced with overwrite=True (--overwrite)"
            )
        if states == {OutputState.CURRENT}:
            return Decision.DONE
        return Decision.REDO if states & {OutputState.OUTDATED, OutputState.FOREIGN} else Decision.DO

    def begin(self) -> None:
        """Clear what a stopped run left half-written, and note that the files are about to be written."""
        if any(self.journal.was_stopped(file) for file in self.files):
            for file in self.files:
                remove_partials(self.journal.folder / file)
        self.journal.begin(self.state, self.files)

    def finish(self, *, seconds: float, segments: int) -> None:
        """Note that the files are complete."""
        self.journal.finish(self.state, self.files, seconds=seconds, segments=segments)

    @property
    def segments(self) -> int | None:
        """How many segments finished results have, where that is known."""
        return self.journal.segments_in(self.files[0])


def digest_of(facts: Sequence[Any]) -> str:
    """A short text that differs where facts, which JSON can hold, differ."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
