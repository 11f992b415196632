"""What takes longer than a request: progress, how it ended, and stopping it."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from upseg.app.workers import Cancelled
from upseg.errors import UpsegError

_LOGGER = logging.getLogger(__name__)
_REMEMBERED = 200
_LOOK_SECONDS = 0.1
_KEEP_ALIVE_SECONDS = 15.0
Status = Literal["waiting", "running", "done", "failed", "cancelled"]
Work = Callable[["Job"], Any]


@dataclass(eq=False)
class Job:
    """One of them.

    Attributes:
        id: What the API calls it.
        kind: `segment`, `folder`, `train`, ...
        about: What it is about, for the page.
        status: How it stands.
        done: Steps done.
        total: Steps there are; 0 while nobody knows.
        note: What it is at, in words.
        result: What came of it, as JSON has it.
        error: Why it failed, in one line.
        cancelled: Set to stop it.
        version: Counts up with every change.
    """

    kind: str
    about: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    status: Status = "waiting"
    done: int = 0
    total: int = 0
    note: str = ""
    result: Any = None
    error: str | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    version: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ("done", "failed", "cancelled")

    def step(self, done: int, total: int) -> None:
        """Note progress."""
        self.done, self.total = done, total
        self.version += 1

    def tell(self, **changes: Any) -> None:
        """Note anything."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.version += 1

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        names = ("id", "kind", "about", "status", "done", "total", "note", "result", "error")
        return {name: getattr(self, name) for name in names}


class Jobs:
    """The jobs of one server, each in a thread that waits for a worker process."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, kind: str, work: Work, **about: Any) -> Job:
        """Begin one of a kind: what `work` returns is the result, and `about` is for the page."""
        job = Job(kind, about)
        with self._lock:
            self._jobs[job.id] = job
            for old in [j for j in self._jobs.values() if j.is_over][: max(0, len(self._jobs) - _REMEMBERED)]:
                del self._jobs[old.id]
        threading.Thread(target=_do, args=(job, work), daemon=True).start()
        return job

    def get(self, job_id: str) -> Job | None:
        """One by its id; None if there is none, or it was long ago."""
        return self._jobs.get(job_id)

    def running(self, kind: str) -> Job | None:
        """The one of a kind that is not over."""
        with self._lock:
            return next((job for job in self._jobs.values() if job.kind == kind and not job.is_over), None)

    def all(self) -> list[Job]:
        """Those that are remembered."""
        with self._lock:
            return list(self._jobs.values())

    def stop(self) -> None:
        """Cancel all that are not over."""
        for job in self.all():
            job.cancelled.set()


def _do(job: Job, work: Work) -> None:
    job.tell(status="running")
    try:
        result = work(job)
    except Cancelled:
        job.tell(status="cancelled")
    except UpsegError as error:
        job.tell(error=str(error), status="failed")
    except Exception:
        _LOGGER.exception("a job of the kind %s failed", job.kind)
        job.tell(error="something went wrong; the terminal that runs upseg app says what", status="failed")
    else:
        job.tell(result=result, status="done")


async def events(job: Job) -> AsyncIterator[bytes]:
    """A job's changes as server-sent events, until it is over."""
    seen, quiet = -1, 0.0
    while True:
        if job.version != seen:
            seen, quiet = job.version, 0.0
            yield b"data: " + json.dumps(job.as_json()).encode() + b"\n\n"
            if job.is_over and job.version == seen:
                return
        elif quiet > _KEEP_ALIVE_SECONDS:
            quiet = 0.0
            yield b": still here\n\n"
        await asyncio.sleep(_LOOK_SECONDS)
        quiet += _LOOK_SECONDS
