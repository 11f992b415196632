"""The journal of a folder of results that is in a store, where nothing can be appended to a file."""

from __future__ import annotations

import secrets
import time
from pathlib import Path, PurePosixPath
from types import TracebackType

from upseg.batch.journal import Journal
from upseg.batch.stores import Uri, listing, read_all, write

PARTS = ".upseg-journal"
_PATIENCE = 5.0  # seconds that lines may wait for others to go with them


def open_journal(folder: Path) -> Journal:
    """Read the journal of a folder of results, wherever that is.

    Raises:
        UpsegError: If the journal cannot be read.
    """
    return StoreJournal(folder) if isinstance(folder, Uri) else Journal(folder)


class StoreJournal(Journal):
    """A journal in parts: one file for the images that a run begins, and then one every few seconds.

    What was finished since the last part is lost where the process is killed; the next run does those images again.
    What is in the folder is asked once, not for each image.
    """

    def __init__(self, folder: Uri) -> None:
        """Read the journal.

        Raises:
            UpsegError: If the store cannot be read.
        """
        self._waiting: list[bytes] = []
        self._written_at = time.monotonic()
        self._parts = folder / PARTS
        self._files = set(listing(folder))
        super().__init__(folder)

    def _read(self) -> bytes:
        return b"".join(read_all(sorted(file for file in self._files if file.parent == self._parts)))

    def holds(self, output: PurePosixPath | str) -> bool:
        """Whether there was such a file in the folder when the journal was read, or this run wrote it."""
        return self.folder / output in self._files

    def __enter__(self) -> StoreJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def _write(self, lines: bytes) -> None:
        self._waiting.append(lines)
        if b'"begun"' in lines or time.monotonic() - self._written_at > _PATIENCE:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl"  # so that they are read in order
            write(Uri(self._parts / name), b"".join(self._waiting))
            self._waiting, self._written_at = [], time.monotonic()
