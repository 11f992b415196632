"""How do time and memory of a whole `upseg segment` run grow with the image, from 0.1 to 24 megapixels?

Each run is a process of its own, from start-up to the label PNG on disk; memory is the most that the process had in
main memory at once, as the operating system counts it. The photo is scikit-image's `coffee`, partly enlarged and
partly repeated as mirror images until it has the size, with a camera's noise, saved as JPEG.

    python benchmarks/scaling.py [--sizes 0.1 0.4 1 4 12 24] [--repeats 3] [--threads 2]

The plot goes to docs/_static/scaling.png, and where the sizes are not the usual ones beside the report.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# the parent imports nothing large: a new process counts the memory of the one it was started from as its own
from harness.report import markdown_table, write_report

SIZES = (0.1, 0.4, 1.0, 4.0, 12.0, 24.0)
NOISE = 0.02
GOAL_MEGAPIXELS, GOAL_SECONDS, GOAL_GIGABYTES = 24.0, 60.0, 4.0
BENCHMARKS = Path(__file__).resolve().parent
HEADINGS = ("megapixels", "columns x rows", "seconds, whole run", "seconds, image", "GB", "segments", "s per megapixel")


def make_photo(megapixels: float, path: Path) -> None:
    """Write a 3:2 photo of about this many million pixels."""
    import numpy as np
    from PIL import Image
    from skimage.data import coffee

    photo = Image.fromarray(coffee())
    columns = round((megapixels * 1.5e6) ** 0.5)
    rows = round(columns / 1.5)
    factor = columns / photo.width
    enlarged = factor**0.5 if factor > 1 else factor  # the other half of the way by repetition
    photo = photo.resize((round(photo.width * enlarged), round(photo.height * enlarged)), Image.Resampling.BICUBIC)
    pixels = np.asarray(photo)
    missing = (max(0, rows - pixels.shape[0]), max(0, columns - pixels.shape[1]))
    pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")[:rows, :columns]
    noise = np.random.default_rng(0).normal(0, 255 * NOISE, pixels.shape)
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path, quality=92)


def run_once(photo: Path, threads: int | None) -> dict[str, Any]:
    """Segment a photo in a process of its own.

    Raises:
        RuntimeError: If the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "upseg.cli", "segment", str(photo), "-o", folder, "--format", "png", "--json"]
        if threads:
            command += ["--set", f"threads={threads}"]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"`{' '.join(command)}` ended with exit code {process.returncode}: {printed}")
    (image,) = json.loads(printed)["images"]
    return {
        "seconds": seconds,
        "image_seconds": image["seconds"],
        "bytes": memory_of(usage),
        "segments": image["segments"],
    }


def memory_of(usage: resource.struct_rusage) -> int:
    """The most bytes in main memory; Linux counts in units of 1,024."""
    return int(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def measure(megapixels: float, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Medians over the repeats for one size (memory: the most)."""
    photo = folder / f"{megapixels:g}.jpg"
    maker = multiprocessing.get_context("spawn").Process(target=make_photo, args=(megapixels, photo))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise RuntimeError(f"making a photo of {megapixels:g} megapixels failed")
    runs = []
    for number in range(options.repeats):
        runs.append(run_once(photo, options.threads))
        taken, used = runs[-1]["seconds"], runs[-1]["bytes"] / 1e9
        print(f"{megapixels:g} MP, run {number + 1}: {taken:.1f} s, {used:.2f} GB", file=sys.stderr, flush=True)
    columns = round((megapixels * 1.5e6) ** 0.5)
    return {
        "megapixels": megapixels,
        "size": [columns, round(columns / 1.5)],
        "seconds": statistics.median(run["seconds"] for run in runs),
        "image_seconds": statistics.median(run["image_seconds"] for run in runs),
        "bytes": max(run["bytes"] for run in runs),
        "segments": runs[0]["segments"],
        "runs": runs,
    }


def cells(row: dict[str, Any]) -> list[object]:
    columns, rows = row["size"]
    return [
        f"{row['megapixels']:g}",
        f"{columns} x {rows}",
        f"{row['seconds']:.1f}",
        f"{row['image_seconds']:.1f}",
        f"{row['bytes'] / 1e9:.2f}",
        row["segments"],
        f"{row['image_seconds'] / row['megapixels']:.2f}",
    ]


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Time and memory against size, with the goal for 24 megapixels."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    megapixels = [row["megapixels"] for row in rows]
    panels = (
        ("time of a whole run (s)", [row["seconds"] for row in rows], GOAL_SECONDS, "s"),
        ("peak memory (GB)", [row["bytes"] / 1e9 for row in rows], GOAL_GIGABYTES, "GB"),
    )
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, (label, values, goal, unit) in zip(axes, panels, strict=True):
        axis.plot(megapixels, values, "o-", color="#0072b2", linewidth=2)
        axis.plot(GOAL_MEGAPIXELS, goal, "v", color="#d55e00")
        note = f"goal: {GOAL_MEGAPIXELS:g} MP within {goal:g} {unit}"
        axis.annotate(note, (GOAL_MEGAPIXELS, goal), (-8, 0), textcoords="offset points", ha="right", va="center")
        axis.set(xscale="log", xlabel="image size (megapixels)", ylabel=label, ylim=(0, 1.15 * max(*values, goal)))
        axis.set_xticks(megapixels, [f"{value:g}" for value in megapixels])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=SIZES, help="in megapixels")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each size; default: 3")
    parser.add_argument("--threads", type=int, help="default: as a user gets it without the setting")
    parser.add_argument("--output", type=Path, default=BENCHMARKS / "results", help="default: benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(size, Path(folder), options) for size in options.sizes]
    title = f"`upseg segment` against image size: preset default, threads: {options.threads or 'as set there'}"
    largest = rows[-1]
    notes = [
        f"median of {options.repeats} runs; GB (10^9 bytes): the most of any run",
        f"goal: {GOAL_MEGAPIXELS:g} megapixels within {GOAL_SECONDS:g} s and {GOAL_GIGABYTES:g} GB",
        f"{largest['megapixels']:g} took {largest['seconds']:.1f} s and {largest['bytes'] / 1e9:.2f} GB",
        "seconds, image: without the start of Python and the imports",
    ]
    write_report(options.output, "scaling", title, [markdown_table(HEADINGS, map(cells, rows))], {"rows": rows}, notes)
    usual = tuple(options.sizes) == SIZES
    picture = (BENCHMARKS.parent / "docs" / "_static" if usual else options.output) / "scaling.png"
    plot(rows, picture)
    print(f"plotted: {picture}")


if __name__ == "__main__":
    main()
