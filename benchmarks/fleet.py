"""What does Ray cost against the local batch, and how many images does a second of a core do?

Each run is `upseg.batch.run.segment_files` in a process of its own, over a folder of JPEGs: photos of 0.15 megapixels
with the model `photos`, and tiny ones that are segmented by colour in no time, so that what remains is the batch
itself. Counted from the first image that was done to the last: the time that passed, and the processor time of all
processes that belong to the run. Every process computes with one thread. Ray is started on this machine.

    python benchmarks/fleet.py [--photos 60] [--tiny 1500]
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.report import markdown_table, write_report

BENCHMARKS = Path(__file__).resolve().parent
SIZES = {"photos": (481, 321), "tiny": (48, 32)}
SETTINGS: dict[str, dict[str, Any]] = {
    "photos": {"model": "photos", "formats": ("png",)},
    "tiny": {"model": "dynaseg", "settings": {"compare_by": "colour"}, "formats": ("png",)},
}
HEADINGS = (
    "images",
    "runner",
    "workers",
    "start, s",
    "images/s",
    "core s per image",
    "overhead, time",
    "overhead, cores",
)
_TICKS = os.sysconf("SC_CLK_TCK")


def draw(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write different pieces of a photo."""
    import numpy as np
    from PIL import Image
    from skimage.data import coffee

    photo, random = Image.fromarray(coffee()).resize((900, 600)), np.random.default_rng(0)
    for number in range(count):
        left, top = random.integers(0, 900 - size[0] + 1), random.integers(0, 600 - size[1] + 1)
        photo.crop((left, top, left + size[0], top + size[1])).save(folder / f"{number:04}.jpg", quality=92)


def processor_seconds() -> float:
    """What this process and all that descend from it have taken so far."""
    times, parents = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            parents[int(folder.name)] = int(fields[1])
            times[int(folder.name)] = sum(map(int, fields[11:15])) / _TICKS  # with children that have ended
    mine = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(times[process] for process in mine)


def one_run(photos: Path, kind: str, ray: str | None, workers: int) -> dict[str, Any]:
    """Segment a folder; called in a process of its own."""
    from upseg.batch.run import BatchObserver, segment_files

    moments: list[tuple[float, float]] = []

    class Clock(BatchObserver):
        def on_result(self, result: Any) -> None:  # noqa: ARG002
            if not moments or len(moments) + 1 == total:
                moments.append((time.perf_counter(), processor_seconds()))
            else:
                moments.append((0.0, 0.0))

    total, started = len(list(photos.iterdir())), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        summary = segment_files([photos], folder, workers=workers, ray=ray, observer=Clock(), **SETTINGS[kind])
        written = sum(path.stat().st_size for path in Path(folder).iterdir() if path.suffix != ".jsonl")
    if summary.counts()["done"] != total:
        raise RuntimeError(f"{summary.counts()} of {total}: {summary.failures[:1]}")
    (first, cores_first), (last, cores_last) = moments[0], moments[-1]
    return {
        "start": first - started,
        "seconds": (last - first) / (total - 1),
        "core_seconds": (cores_last - cores_first) / (total - 1),
        "bytes_read": sum(path.stat().st_size for path in photos.iterdir()) / total,
        "bytes_written": written / total,
    }


def measure(photos: Path, kind: str, ray: str | None, workers: int) -> dict[str, Any]:
    """The figures of one run."""
    command = [sys.executable, __file__, "--run", str(photos), kind, ray or "", str(workers)]
    printed = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    figures = json.loads(printed.stdout.splitlines()[-1])
    print(kind, "Ray" if ray else "local", workers, figures, file=sys.stderr, flush=True)
    return {"images": kind, "runner": "Ray" if ray else "local", "workers": workers, **figures}


def store_costs(size: int, count: int = 200) -> dict[str, float]:
    """Milliseconds of this process's processor to get an object and to put one; moto stands for S3, without TLS."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_s3, args=(theirs,), daemon=True)
    server.start()
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {**keys, "AWS_ENDPOINT_URL": ours.recv()}
    from upseg.batch.stores import Uri, file_system, read, write

    uris = [Uri(f"s3://lake/{number}") for number in range(count)]
    file_system(uris[0]).mkdir("s3://lake")
    write(uris[0], bytes(size))
    moments = [time.process_time()]
    for uri in uris:
        write(uri, bytes(size))
    moments.append(time.process_time())
    for uri in uris:
        read(uri)
    moments.append(time.process_time())
    server.kill()
    put, get = (1000 * (after - before) / count for before, after in itertools.pairwise(moments))
    return {"bytes": size, "put_ms": put, "get_ms": get}


def serve_s3(connection: Connection) -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    connection.send("http://{}:{}".format(*server.get_host_and_port()))
    time.sleep(3600)


def cells(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[object]:
    base = next(r for r in rows if r["runner"] == "local" and all(r[k] == row[k] for k in ("images", "workers")))
    ratios = [row[key] / base[key] - 1 for key in ("seconds", "core_seconds")] if row is not base else [None, None]
    overheads = [None if ratio is None else f"{100 * ratio:+.1f} %" for ratio in ratios]
    numbers = [f"{row['start']:.1f}", f"{1 / row['seconds']:.2f}", f"{row['core_seconds']:.4f}"]
    return [row["images"], row["runner"], row["workers"], *numbers, *overheads]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--tiny", type=int, default=1500)
    parser.add_argument("--output", type=Path, default=BENCHMARKS / "results")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        photos, kind, ray, workers = options.run
        print(json.dumps(one_run(Path(photos), kind, ray or None, int(workers))))
        return
    rows = []
    store = store_costs(40_000)
    counts = {"photos": options.photos, "tiny": options.tiny}
    for kind, count in counts.items():
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder), count, SIZES[kind])
            rows += [measure(Path(folder), kind, ray, workers) for workers in (1, 2) for ray in (None, "local")]
    stored = ", ".join(
        f"{r['images']} {r['bytes_read'] / 1e3:.1f} and {r['bytes_written'] / 1e3:.1f}" for r in rows[::4]
    )
    notes = (
        "; ".join(f"{count} of {kind}, {SIZES[kind][0]} x {SIZES[kind][1]} each" for kind, count in counts.items()),
        "start: from the call to the first image that is done; the other columns from there to the last",
        "core s: processor time of all processes of the run, Ray's own included; it does not depend on what else runs",
        f"a store: {store['get_ms']:.1f} ms of a core to get 40 kB, {store['put_ms']:.1f} to put them (moto, no TLS)",
        f"kB of an image and of its result (label map): {stored}",
    )
    table = markdown_table(HEADINGS, [cells(row, rows) for row in rows])
    write_report(
        options.output,
        "fleet",
        "A batch on Ray against the local batch",
        [table],
        {"counts": counts, "rows": rows, "store": store},
        notes,
    )


if __name__ == "__main__":
    main()
