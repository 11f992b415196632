"""Processes that do what is heavy: one for images and files, and one for each model in use."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from upseg.batch.jobs import lacks_memory
from upseg.batch.workers import die_with_parent
from upseg.errors import UpsegError
from upseg.models.registry import Model, find_model

Step = Callable[[int, int], None]
Task = Callable[..., Any]
"""A function that can be sent to a process: `task(place, *arguments)`."""
_LISTEN_SECONDS = 0.1


class Cancelled(Exception):  # noqa: N818 - it is what somebody wanted
    """A task was stopped by who had started it."""


class Place:
    """Where a task runs: a process, and the model that it holds.

    The server itself never imports torch: models are found and loaded here.

    Args:
        name: Of the model, as `upseg.load_model` takes it; None where no task needs one.
        device: As `upseg.load_model` takes it.
        on_step: Told of the progress of the task in hand.
    """

    def __init__(
        self, name: str | Path | None = None, device: str = "auto", on_step: Step = lambda _done, _total: None
    ) -> None:
        self.name, self.device, self.on_step = name, device, on_step
        self.memory: dict[str, Any] = {}

    @cached_property
    def model(self) -> Model:
        """The model, found when it is first needed."""
        assert self.name is not None  # noqa: S101 - tasks that need one are given to places that have one
        return find_model(self.name)

    @cached_property
    def segmenter(self) -> Any:
        """The model, loaded when it is first needed."""
        return self.model.load(self.device)


class Worker:
    """One process that does one task after the other; it starts with the first, and again after it died.

    Args:
        model: The name of what it holds, as `upseg.load_model` takes it; None for none.
        device: As `upseg.load_model` takes it.
    """

    def __init__(self, model: str | Path | None = None, device: str = "auto") -> None:
        self.model, self.device = model, device
        self._lock = threading.Lock()
        self._process: Any = None
        self._connection: Connection | None = None

    @property
    def is_busy(self) -> bool:
        """Whether it is at a task."""
        return self._lock.locked()

    def run(
        self, task: Task, *arguments: Any, on_step: Step | None = None, cancelled: threading.Event | None = None
    ) -> Any:
        """Do a task, when those before it are done.

        Args:
            task: A function of a module.
            arguments: What it takes after the place.
            on_step: Told of what the place is told, in the thread that calls this.
            cancelled: Set to stop it: the process is killed, whatever it is at.

        Raises:
            UpsegError: If the task raises one, or its process dies.
            Cancelled: If it was stopped.
        """
        while not self._lock.acquire(timeout=_LISTEN_SECONDS):
            if cancelled is not None and cancelled.is_set():
                raise Cancelled
        try:
            connection = self._started()
            connection.send((task, arguments))
            return self._outcome(connection, on_step, cancelled)
        except (EOFError, OSError) as error:
            code = self._end()
            raise UpsegError(_death(code)) from error
        finally:
            self._lock.release()

    def stop(self) -> None:
        """End the process, whatever it is at."""
        self._end()

    def _outcome(self, connection: Connection, on_step: Step | None, cancelled: threading.Event | None) -> Any:
        while True:
            if cancelled is not None and cancelled.is_set():
                self._end()
                raise Cancelled
            if not connection.poll(_LISTEN_SECONDS):
                continue
            kind, content = connection.recv()
            if kind == "step" and on_step is not None:
                on_step(*content)
            elif kind == "done":
                return content
            elif kind == "failed":
                raise UpsegError(content)
            elif kind == "broken":
                raise RuntimeError(content)

    def _started(self) -> Connection:
        if self._process is not None and self._process.is_alive() and self._connection is not None:
            return self._connection
        self._end()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.model, self.device), daemon=True)
        self._process.start()
        theirs.close()
        self._connection = ours
        return ours

    def _end(self) -> int | None:
        process, self._process = self._process, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if process is None:
            return None
        process.kill()
        process.join()
        code: int | None = process.exitcode
        return code


def _death(code: int | None) -> str:
    memory = code == -getattr(signal, "SIGKILL", 9)
    return f"the process that was at it died ({'most likely for lack of memory' if memory else f'exit code {code}'})"


def _serve(connection: Connection, model: str | Path | None, device: str) -> None:
    """What the process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    place = Place(model, device, lambda done, total: connection.send(("step", (done, total))))
    while True:
        try:
            task, arguments = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_outcome(task, place, arguments))


def _outcome(task: Task, place: Place, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "done", task(place, *arguments)
    except UpsegError as error:
        return "failed", str(error)
    except Exception as error:  # noqa: BLE001 - shown by the parent, whose terminal it is
        if lacks_memory(error):
            return "failed", "there is not enough memory for this"
        return "broken", traceback.format_exc()


class Workers:
    """The processes of one server.

    Args:
        device: As `upseg.load_model` takes it.
        most_models: How many models are kept at a time; that which rested longest goes first.
    """

    def __init__(self, device: str = "auto", most_models: int = 2) -> None:
        self.device, self.most_models = device, most_models
        self.images = Worker()
        self._models: dict[str, Worker] = {}
        self._lock = threading.Lock()

    def of_model(self, model: str | Path) -> Worker:
        """The process of a model."""
        with self._lock:
            key = str(model)
            worker = self._models.pop(key, None) or Worker(model, self.device)
            self._models[key] = worker
            for other in [k for k, w in self._models.items() if not w.is_busy and k != key]:
                if len(self._models) > self.most_models:
                    self._models.pop(other).stop()
            return worker

    def stop(self) -> None:
        """End all of them."""
        for worker in (self.images, *self._models.values()):
            worker.stop()
