"""Several processes that segment images side by side."""

from __future__ import annotations

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

from upseg.batch.jobs import ImageJob, ImageResult, discard_partials, run_job
from upseg.errors import ModelError, UpsegError
from upseg.models.registry import Model

_GOODBYE_SECONDS = 5.0


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
    threads = max(1, _usable_cores() // workers)
    waiting = deque(range(len(jobs)))
    pool = [_start(model, device, threads) for _ in range(min(workers, len(jobs)))]
    finished = False
    try:
        while waiting or any(worker.job is not None for worker in pool):
            for worker in pool:
                while waiting and worker.ready and worker.job is None:
                    number = waiting.popleft()
                    failure = on_begin(number)
                    if failure is not None:
                        yield number, failure
                        continue
                    worker.job = number
                    _send(worker, jobs[number])
            for connection in wait([worker.connection for worker in pool]):
                worker = next(worker for worker in pool if worker.connection is connection)
                begun = worker.job
                result = _receive(worker, jobs)
                if not worker.process.is_alive() and waiting:
                    pool[pool.index(worker)] = _start(model, device, threads)
                elif not worker.process.is_alive():
                    pool.remove(worker)
                if begun is not None and result is not None:
                    yield begun, result
        finished = True
    finally:
        _stop(pool, jobs, gently=finished)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(model: Model, device: str, threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, model, device, threads), daemon=True)
    with _interrupts_held_back():
        process.start()
    theirs.close()
    return _Worker(process, ours)


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


def _receive(worker: _Worker, jobs: Sequence[ImageJob]) -> ImageResult | None:
    """Take what a worker has to say; its last word may be that it died."""
    try:
        message = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        worker.connection.close()
        reason = f"its process died ({_exit_reason(worker.process.exitcode)})"
        if not worker.ready:
            raise ModelError(f"the model cannot be loaded: {reason}") from None
        if worker.job is None:
            return None
        job, worker.job = jobs[worker.job], None
        discard_partials(job)
        return ImageResult.failure(job.path, reason)
    if isinstance(message, BaseException):
        raise message
    worker.ready = True
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


def _serve(connection: Connection, model: Model, device: str, threads: int) -> None:
    """What each process does: load the model, then one job after the other until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        segmenter = model.load(device)
        _limit_threads(threads)
    except UpsegError as error:
        connection.send(type(error)(str(error)))
        return
    except Exception:  # noqa: BLE001 - shown by the parent, whose terminal it is
        connection.send(RuntimeError(f"the model cannot be loaded:\n{traceback.format_exc()}"))
        return
    connection.send(None)
    try:
        while (job := connection.recv()) is not None:
            connection.send(run_job(job, segmenter))
    except (EOFError, OSError):
        return  # the parent is gone


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _limit_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(min(threads, torch.get_num_threads()))
