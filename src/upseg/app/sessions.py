"""Work on disk: one folder for each image that somebody opened."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upseg.app.document import PIECES, Document
from upseg.errors import UpsegError
from upseg.files import read_json, write_text

_ID = re.compile(r"[0-9a-f]{24}")
_META = "session.json"
_SECONDS_PER_DAY = 86400.0
_MOST_OPEN = 8
"""Documents whose tables are kept in memory; their pixels are on disk."""
_LONGEST_NAME = 120


class NoSession(UpsegError):  # noqa: N818 - what is not there
    """There is no session of that name, or it has expired."""


class Session:
    """One image, in a folder that holds everything, and what was done with it, as its `session.json` says."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder, self.facts = folder, facts
        self.lock = threading.RLock()
        self._document: Document | None = None

    @property
    def id(self) -> str:
        """What the API calls it."""
        return self.folder.name

    @property
    def name(self) -> str:
        """What the user calls the image."""
        return str(self.facts["name"])

    @property
    def stem(self) -> str:
        """The name without the suffix of an image."""
        return Path(self.name).stem or "image"

    @property
    def source(self) -> Path:
        """The image's file: that which was sent, or that of the folder that is gone through."""
        return Path(self.facts["source"]) if self.facts.get("source") else self.folder / "image"

    @property
    def is_segmented(self) -> bool:
        """Whether there is a document."""
        return (self.folder / PIECES).is_file() and (self.folder / "facts.json").is_file()

    def document(self) -> Document:
        """What is on the page; call it with `lock` held.

        Raises:
            UpsegError: If the image was not segmented yet.
        """
        if self._document is None:
            if not self.is_segmented:
                raise UpsegError("this image has not been segmented yet")
            self._document = Document(self.folder)
        return self._document

    def forget_document(self) -> None:
        """Read it from the disk the next time."""
        self._document = None

    def update(self, **facts: Any) -> None:
        """Note facts about it."""
        with self.lock:
            self.facts.update(facts)
            write_text(self.folder / _META, json.dumps(self.facts))

    def as_json(self) -> dict[str, Any]:
        """For the page, without paths."""
        shown = {key: value for key, value in self.facts.items() if key != "source"}
        return {"id": self.id, **shown, "segmented": self.is_segmented}


class Sessions:
    """All sessions of a folder.

    Args:
        folder: Made if need be.
        max_stored: Bytes that all may take together.
        days: After how many days without use one is removed.
    """

    def __init__(self, folder: Path, *, max_stored: int, days: float) -> None:
        self.folder, self.max_stored, self.days = folder, max_stored, days
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UpsegError(f"work cannot be kept in {folder} ({error.strerror or error})") from error

    def create(self, name: str, source: Path | None = None, **facts: Any) -> Session:
        """Begin one.

        Args:
            name: Of the image, as the user calls it.
            source: Its file; None for one that is sent to `folder / "image"`.
            facts: Anything else that JSON can hold.
        """
        plain = Path(name.replace("\\", "/")).name
        shown = "".join(c for c in plain if c.isprintable() and c not in '/:*?"<>|')[:_LONGEST_NAME] or "image"
        folder = self.folder / secrets.token_hex(12)
        folder.mkdir(mode=0o700)
        now = time.time()
        session = Session(
            folder,
            {"name": shown, "created": now, "used": now, "source": source and str(source), "truth": False, **facts},
        )
        session.update()
        with self._lock:
            self._keep(session)
        return session

    def get(self, session_id: str) -> Session:
        """One by its id.

        Raises:
            NoSession: If there is none.
        """
        if not _ID.fullmatch(session_id):
            raise NoSession("there is no such session")
        with self._lock:
            session = self._open.get(session_id) or self._read(self.folder / session_id)
            self._keep(session)
        if time.time() - float(session.facts["used"]) > 60:
            session.update(used=time.time())
        return session

    def all(self) -> list[Session]:
        """Those that there are, the last used first."""
        found = []
        for folder in self.folder.iterdir():
            if _ID.fullmatch(folder.name):
                try:
                    found.append(self._open.get(folder.name) or self._read(folder))
                except NoSession:
                    continue
        return sorted(found, key=lambda session: -float(session.facts["used"]))

    def delete(self, session_id: str) -> None:
        """Remove one, with all its files."""
        session = self.get(session_id)
        with session.lock, self._lock:
            self._open.pop(session_id, None)
            shutil.rmtree(session.folder, ignore_errors=True)

    def tidy(self) -> int:
        """Remove what expired, and the oldest while all take too much; returns how many went."""
        now, removed, total, found = time.time(), 0, 0, self.all()
        for session in found:
            size = sum(path.stat().st_size for path in session.folder.iterdir() if path.is_file())
            total += size
            old = now - float(session.facts["used"]) > self.days * _SECONDS_PER_DAY
            if old or (total > self.max_stored and session is not found[0]):
                total -= size
                removed += 1
                self.delete(session.id)
        return removed

    def _keep(self, session: Session) -> None:
        self._open[session.id] = session
        self._open.move_to_end(session.id)
        while len(self._open) > _MOST_OPEN:
            for other in list(self._open.values())[:-1]:
                if other.lock.acquire(blocking=False):
                    other.lock.release()
                    del self._open[other.id]
                    break
            else:
                return

    def _read(self, folder: Path) -> Session:
        try:
            facts = read_json(folder / _META)
        except (OSError, ValueError) as error:
            raise NoSession("there is no such session") from error
        if not isinstance(facts, Mapping):
            raise NoSession("there is no such session")
        return Session(folder, dict(facts))
