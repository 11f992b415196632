"""A batch on a cluster: a Ray Data pipeline that reads, segments with one model per actor, and writes."""

from __future__ import annotations

import logging
import os
import pickle
import re
import secrets
import socket
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from upseg import __version__
from upseg.batch.jobs import ImageJob, ImageResult
from upseg.batch.remote_jobs import collect, deliver, fetch, is_remote, renamed, staged
from upseg.batch.workers import Helper
from upseg.errors import ModelError, UpsegError
from upseg.models.registry import Model

AUTO, LOCAL = "auto", "local"
_PASSES = 3  # of an image whose machine died under it
_MOST_TOGETHER, _BLOCKS_OF_AN_ACTOR = 16, 64
_ANSWER_SECONDS = 5.0
_HOST = re.compile(r"(?:ray://)?\[?([^\[\]/]+?)\]?:(\d{1,5})")
_Row = dict[str, Any]


def is_address(text: str) -> bool:
    """Whether a text says where Ray is: `auto`, `local`, `HOST:PORT` or `ray://HOST:PORT`."""
    return text in (AUTO, LOCAL) or _HOST.fullmatch(text) is not None


def run_on_ray(
    jobs: Sequence[ImageJob], model: Model, *, device: str, workers: int | None, address: str
) -> Generator[tuple[int, ImageResult], None, None]:
    """Do jobs on the machines of a cluster.

    Each actor has a process of its own for the model, as `run_in_workers` has, so an image whose process dies takes
    nothing else with it. Where a whole machine dies, what it had not handed over is done again by others.

    Args:
        jobs: What to do.
        model: What to segment with; its files must be where every machine can read them.
        device: As `upseg.load_model` takes it; an actor has a GPU where it says `cuda`, or `auto` and there are some.
        workers: How many actors; None for as many as there are CPUs, or GPUs.
        address: `local` to start Ray on this machine, for the time of the call; `auto` for the cluster that runs here
            or that `RAY_ADDRESS` names, else as `local`; or `HOST:PORT`, or `ray://HOST:PORT`.

    Yields:
        A job's number and how it went, in the order of completion.

    Raises:
        ModelError: If the model cannot be loaded.
        UpsegError: If Ray is not installed, does not answer, or stops.
    """
    with connected(address) as ray:
        pending = dict(enumerate(jobs))
        for _ in range(_PASSES):
            for number, result in _one_pass(ray, pending, model, device, workers):
                if pending.pop(number, None) is not None:
                    yield number, result
            if not pending:
                return
    for number, job in pending.items():
        yield number, ImageResult.failure(job.path, f"the machine or actor that worked on it died, {_PASSES} times")


def pipeline(ray: Any, jobs: Mapping[int, ImageJob], model: Model, *, device: str, workers: int | None) -> Any:
    """The `ray.data.Dataset` that does jobs as it is read: one row for each, with `number` and `result` (pickled).

    Raises:
        UpsegError: If the cluster has no CPU, or no GPU where that is the device, and nobody says how many workers.
    """
    resources = ray.cluster_resources()
    gpus = int(device.startswith("cuda") or (device == "auto" and resources.get("GPU", 0) > 0))
    kind = "GPU" if gpus else "CPU"
    if workers is None and resources.get(kind, 0) < 1:  # it would wait for one for ever
        raise UpsegError(f"the Ray cluster has no {kind}; where it starts machines as needed, say how many --workers")
    count = min(workers or int(resources[kind]), len(jobs))
    files = ray.data.TaskPoolStrategy(size=count + 1)  # what waits for disks and networks needs no CPU
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=count, initial_size=count, max_tasks_in_flight_per_actor=2)
    rows = [{"number": number, "job": pickle.dumps(job)} for number, job in jobs.items()]
    remote = any(is_remote(job) for job in jobs.values())
    dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // images_together(len(rows), count)))
    if remote:
        dataset = dataset.map(_read, num_cpus=0, compute=files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `ray_remote_args_fn` goes with Ray 2.64; there is nothing yet in its place
        dataset = dataset.map(
            _Segment,
            fn_constructor_args=(pickle.dumps(model), device, __version__),
            compute=pool,
            num_cpus=1,
            num_gpus=gpus,
            ray_remote_args_fn=_not_again,
        )
    return dataset.map(_write, num_cpus=0, compute=files) if remote else dataset


def images_together(images: int, actors: int) -> int:
    """How many images go through the pipeline as one block.

    Few, because what a machine that dies had in hand is done again; but a block takes Ray some 15 ms of a processor.
    """
    return max(1, min(_MOST_TOGETHER, images // (_BLOCKS_OF_AN_ACTOR * actors)))


def _not_again() -> dict[str, int]:
    """What an actor had in hand when it died is not put in line for its successor, which may never come."""
    return {"max_task_retries": 0}


def _one_pass(
    ray: Any, jobs: Mapping[int, ImageJob], model: Model, device: str, workers: int | None
) -> Iterator[tuple[int, ImageResult]]:
    loaded = False
    try:
        for row in pipeline(ray, jobs, model, device=device, workers=workers).iter_rows():
            result = pickle.loads(row["result"])  # noqa: S301 - written by our own actor
            if isinstance(result, UpsegError):
                if not loaded:
                    raise result
                continue
            loaded = True
            yield row["number"], result
    except (ray.exceptions.RayError, ConnectionError) as error:
        reason = " ".join(str(error).split())
        raise UpsegError(f"Ray stopped ({reason:.300}); the same command does the rest") from error


def _read(row: _Row) -> _Row:
    """First stage: the bytes of an image that is in a store."""
    job: ImageJob = pickle.loads(row["job"])  # noqa: S301 - written by the process that asks
    try:
        return {**row, "content": fetch(job), "error": ""}
    except UpsegError as error:
        return {**row, "content": b"", "error": str(error)}


class _Segment:
    """Second stage, one in each actor: decode, segment, and encode the results."""

    def __init__(self, model: bytes, device: str, version: str) -> None:
        self._version = version
        self._helper = Helper(pickle.loads(model), device)  # noqa: S301 - written by the process that asks

    def __call__(self, row: _Row) -> _Row:
        job: ImageJob = pickle.loads(row["job"])  # noqa: S301 - written by the process that asks
        outcome: ImageResult | UpsegError
        files: list[Any] = []
        try:
            if self._version != __version__:
                raise ModelError(f"upseg {self._version} asks, but upseg {__version__} is installed on the cluster")
            if row.get("error"):
                outcome = ImageResult.failure(job.path, row["error"])
            else:
                with staged(job, row.get("content", b"")) as local:
                    result = self._helper.do(local)
                    outcome, files = renamed(result, job, local), collect(job, local, result)
        except OSError as error:  # of the temporary folder: a full disk
            outcome = ImageResult.failure(job.path, str(error))
        except (UpsegError, RuntimeError) as error:  # the model cannot be loaded
            outcome = ModelError(str(error))
        return {
            "number": row["number"],
            "job": row["job"],
            "result": pickle.dumps(outcome),
            "files": pickle.dumps(files),
        }


def _write(row: _Row) -> _Row:
    """Third stage: results into their store."""
    job: ImageJob = pickle.loads(row["job"])  # noqa: S301 - written by the process that asks
    result = row["result"]
    try:
        deliver(job, pickle.loads(row["files"]))  # noqa: S301 - written by our own actor
    except UpsegError as error:
        result = pickle.dumps(ImageResult.failure(job.path, str(error)))
    return {"number": row["number"], "result": result}


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected for the time of the block; where this process is connected already, as it is.

    Raises:
        UpsegError: If Ray is not installed, or does not answer.
    """
    _check_answers(address)
    ray = _import_ray()
    with _quiet(ray):
        if ray.is_initialized():
            yield ray
            return
        with ExitStack() as after:
            try:
                _connect(ray, address, after)
            except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
                reason = " ".join(str(error).split())
                raise UpsegError(f"Ray at {address} does not answer ({reason:.300})") from error
            yield ray


def _connect(ray: Any, address: str, after: ExitStack) -> None:
    """Connect, and say what is to be done after all."""
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address != LOCAL:
        try:
            ray.init(address=address, **options)
        except ConnectionError:
            if address != AUTO or "RAY_ADDRESS" in os.environ:
                raise
    if not ray.is_initialized():
        after.enter_context(_for_us_alone(ray))
        ray.init(address=LOCAL, include_dashboard=False, **options)
    after.callback(ray.shutdown)


@contextmanager
def _for_us_alone(ray: Any) -> Iterator[None]:
    """A Ray that is started in the block listens on this machine only, and writes down no token."""
    before, constants = dict(os.environ), ray._private.ray_constants
    cluster = constants.ENABLE_RAY_CLUSTER
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # their way to say: loopback
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    constants.ENABLE_RAY_CLUSTER = False  # it has been read already
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = cluster
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _import_ray() -> Any:
    """Ray, told what it must know on import: no reports to its makers, no chatter."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UpsegError(f'a run on Ray needs ray[data]: pip install "upseg[batch]" ({error})') from error
    return ray


def _check_answers(address: str) -> None:
    """Ask at once what Ray would ask for minutes.

    Raises:
        UpsegError: If nothing listens at the address.
    """
    if not is_address(address):
        raise UpsegError(f"Ray's address must be auto, local, HOST:PORT or ray://HOST:PORT, got {address!r}")
    match = _HOST.fullmatch(address)
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UpsegError(
            f"Ray at {address} does not answer ({getattr(error, 'strerror', None) or error}); is the cluster up, and "
            "may this machine connect to it?"
        ) from error


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Leave to `ImageResult` what went wrong: Ray would print a page for each image that a dead machine had in hand."""
    context = ray.data.DataContext.get_current()
    before = context.max_errored_blocks, context.enable_progress_bars
    context.max_errored_blocks, context.enable_progress_bars = -1, False
    loggers = {name: logging.getLogger(name) for name in ("ray", "ray.data")}
    levels = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.CRITICAL)
    ray._private.worker._worker_logs_enabled = False  # else it goes to standard output, among our results
    try:
        yield
    finally:
        context.max_errored_blocks, context.enable_progress_bars = before
        ray._private.worker._worker_logs_enabled = True
        for name, level in levels.items():
            loggers[name].setLevel(level)
