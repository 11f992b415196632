"""Several processes that segment images side by side."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from upseg.batch.jobs import ImageJob, ImageResult, discard_partials, lacks_memory
from upseg.batch.remote_jobs import run_anywhere
from upseg.errors import ModelError, UpsegError
from upseg.models.registry import Model

_LOG = "upseg"  # the logger of everything here
_GOODBYE_SECONDS = 5.0
_MOST_FAILED_STARTS = 3  # of processes that die while they load the model
_MOST_THREADS = 4  # of an image: more bring little, and processes side by side have as many each


@dataclass
class _Worker:
    """One process and what it is at: the number of a job, or None; before it is ready it loads the model."""

    process: SpawnProcess
    connection: Connection
    ready: bool = False
    job: int | None = None


def run_in_workers(
    jobs: Sequence[ImageJob],
    model: Model,
    *,
    device: str,
    workers: int,
    on_begin: Callable[[int], ImageResult | None],
) -> Generator[tuple[int, ImageResult], None, None]:
    """Do jobs in several processes.

    A process that dies takes only its image with it; another takes its place. All of them die with this process,
    however it ends. Programs that call this need the usual `if __name__ == "__main__":`.

    Args:
        jobs: What to do.
        model: What to segment with; each process loads it.
        device: As `upseg.load_model` takes it.
        workers: How many processes.
        on_begin: Called with a job's number before it is given to a process; returns the job's failure if it is not
            to be begun.

    Yields:
        A job's number and how it went, in the order of completion.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    waiting = deque(range(len(jobs)))
    pool = [_start(model, device) for _ in range(min(workers, len(jobs)))]
    starts = _Starts()
    finished = False
    try:
        while waiting or any(worker.job is not None for worker in pool):
            yield from _hand_out(waiting, pool, jobs, on_begin)
            for connection in wait([worker.connection for worker in pool]):
                worker = next(worker for worker in pool if worker.connection is connection)
                begun = worker.job
                result = _receive(worker, jobs, starts)
                if not worker.process.is_alive():
                    pool.remove(worker)
                    if waiting and starts.may_go_on():
                        pool.append(_start(model, device))
                if begun is not None and result is not None:
                    yield begun, result
            if not pool:
                starts.give_up()
                while waiting:
                    number = waiting.popleft()
                    yield number, ImageResult.failure(jobs[number].path, starts.reason)
        finished = True
    finally:
        _stop(pool, jobs, gently=finished)


class Helper:
    """One process that does one job after the other; where it dies, its job fails, and another takes its place.

    Args:
        model: What to segment with.
        device: As `upseg.load_model` takes it.
    """

    def __init__(self, model: Model, device: str) -> None:
        self._model, self._device, self._starts = model, device, _Starts()
        self._worker: _Worker | None = None

    def do(self, job: ImageJob) -> ImageResult:
        """Do one job.

        Raises:
            ModelError: If the model cannot be loaded.
        """
        while True:
            if self._worker is None and not self._starts.may_go_on():
                self._starts.give_up()
                return ImageResult.failure(job.path, self._starts.reason)
            worker = self._worker = self._worker or _start(self._model, self._device)
            if worker.ready and worker.job is None:
                worker.job = 0
                _send(worker, job)
            result = _receive(worker, [job], self._starts)
            if not worker.process.is_alive():
                self._worker = None
            if result is not None:
                return result


def _hand_out(
    waiting: deque[int],
    pool: Sequence[_Worker],
    jobs: Sequence[ImageJob],
    on_begin: Callable[[int], ImageResult | None],
) -> Iterator[tuple[int, ImageResult]]:
    """Give each idle worker a job; yields those that must not be begun."""
    for worker in pool:
        while waiting and worker.ready and worker.job is None:
            number = waiting.popleft()
            failure = on_begin(number)
            if failure is not None:
                yield number, failure
                continue
            worker.job = number
            _send(worker, jobs[number])


@dataclass
class _Starts:
    """How the processes fared that were started: one that dies while it loads the model may be replaced."""

    succeeded: bool = False
    failed: int = 0
    reason: str = ""
    error: BaseException | None = None

    def note(self, reason: str, error: BaseException | None = None) -> None:
        """One more has failed; an error that it sent is that of the model, unless others could load it."""
        if error is not None and not self.succeeded:
            raise error
        self.failed, self.reason, self.error = self.failed + 1, f"the model cannot be loaded: {reason}", error

    def may_go_on(self) -> bool:
        """Whether another one may be tried."""
        return self.failed < _MOST_FAILED_STARTS

    def give_up(self) -> None:
        """There is no process left; if none ever loaded the model, there is no use in going on.

        Raises:
            ModelError: If none did.
        """
        if self.failed and not self.succeeded:
            raise ModelError(self.reason)


@contextmanager
def threads_of_an_image() -> Iterator[None]:
    """Within it torch computes with as many threads as in every process of a batch, however many there are.

    The order of sums, and with it the last digits of scores, depends on the number of threads. Models whose setting
    `threads` is a number keep to that.
    """
    if "torch" not in sys.modules:
        yield
        return
    import torch

    from upseg.models.calling import torch_threads

    with torch_threads(min(_MOST_THREADS, torch.get_num_threads())):
        yield


def _start(model: Model, device: str) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    level = logging.getLogger(_LOG).getEffectiveLevel()
    process = context.Process(target=_serve, args=(theirs, model, device, level), daemon=True)
    with _interrupts_held_back(), _patient_threads():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _patient_threads() -> Iterator[None]:
    """Start processes whose threads leave the cores to others while they wait: there may be more than cores."""
    if "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        yield
    finally:
        del os.environ["OMP_WAIT_POLICY"]


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: it goes to this one, which then stops the others."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # on its own start it would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(worker: _Worker, job: ImageJob) -> None:
    try:
        worker.connection.send(job)
    except OSError:
        return  # it is dead, which `_receive` will notice


def _receive(worker: _Worker, jobs: Sequence[ImageJob], starts: _Starts) -> ImageResult | None:
    """Take what a worker has to say; its last word may be that it died."""
    try:
        message = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        worker.connection.close()
        reason = f"its process died ({_exit_reason(worker.process.exitcode)})"
        if not worker.ready:
            starts.note(reason)
            return None
        if worker.job is None:
            return None
        job, worker.job = jobs[worker.job], None
        discard_partials(job)
        return ImageResult.failure(job.path, reason)
    if isinstance(message, logging.LogRecord):
        logging.getLogger(message.name).handle(message)
        return None
    if isinstance(message, BaseException):
        starts.note(str(message), message)
        worker.process.join()
        worker.connection.close()
        return None
    worker.ready = starts.succeeded = True
    worker.job = None
    return message if isinstance(message, ImageResult) else None


def _exit_reason(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{name}, most likely for lack of memory; try fewer workers" if name == "SIGKILL" else name


def _stop(pool: Sequence[_Worker], jobs: Sequence[ImageJob], *, gently: bool) -> None:
    for worker in pool:
        if gently and worker.ready:
            try:
                worker.connection.send(None)
            except OSError:
                continue
        else:
            worker.process.kill()
    for worker in pool:
        worker.process.join(_GOODBYE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.connection.close()
        if worker.job is not None:
            discard_partials(jobs[worker.job])


class _ToParent(logging.Handler):
    """Sends what is logged to the process that started this one, which logs it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send its text: what it was made of need not be what can be sent."""
        facts = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
        self._connection.send(logging.makeLogRecord({**facts, "msg": record.getMessage()}))


def _serve(connection: Connection, model: Model, device: str, level: int) -> None:
    """What each process does: load the model, then one job after the other until there is none."""
    logger = logging.getLogger(_LOG)
    logger.setLevel(level)
    logger.addHandler(_ToParent(connection))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    try:
        segmenter = model.load(device)
    except UpsegError as error:
        connection.send(type(error)(str(error)))
        return
    except Exception as error:  # noqa: BLE001 - shown by the parent, whose terminal it is
        if lacks_memory(error):
            connection.send(ModelError("there is not enough memory to load the model; use fewer workers"))
            return
        connection.send(RuntimeError(f"the model cannot be loaded:\n{traceback.format_exc()}"))
        return
    connection.send(None)
    try:
        with threads_of_an_image():
            while (job := connection.recv()) is not None:
                connection.send(run_anywhere(job, segmenter))
    except (EOFError, OSError):
        return  # the parent is gone


def die_with_parent() -> None:
    """Wait for the process that started this one to end, and end with it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
