"""What a second run may skip: the one rule for every file in a folder of results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import PurePosixPath
from typing import Any

from upseg.batch.journal import InputState, Journal, OutputState
from upseg.errors import UpsegError
from upseg.files import printable, remove_partials


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
