"""A folder of tiny images: how much of the time is segmentation, and what a second run takes that finds all done.

The share is that of the time in which the model works, of the time of the whole run; the rest is reading, writing,
and the journal. What the disk makes the run wait is in it: beside it stands how long one `fsync` took.

    python benchmarks/folder.py [--images 5000] [--size 24] [--model dynaseg] [--before OTHER_CHECKOUT]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness.report import markdown_table, write_report
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
GOAL_SHARE, GOAL_SECONDS = 0.95, 2.0
RUN = """
import json, sys, time
started = time.process_time()
from upseg.batch.run import segment_files
from upseg.models.registry import find_model
folder, output, model = sys.argv[1:]
inside = 0.0
if model != "nothing":
    import importlib
    module, _, name = find_model(model).implementation.segmenter.partition(":")
    segmenter = getattr(importlib.import_module(module), name)
    plain = segmenter.segment
    def timed(*arguments, **options):
        global inside
        begun = time.perf_counter()
        try:
            return plain(*arguments, **options)
        finally:
            inside += time.perf_counter() - begun
    segmenter.segment = timed
begun = time.perf_counter()
summary = segment_files([folder], output, model="dynaseg" if model == "nothing" else model)
print(json.dumps({"counts": summary.counts(), "seconds": time.perf_counter() - begun, "inside": inside,
                  "processor_seconds": time.process_time() - started}))
"""


def draw(folder: Path, count: int, side: int) -> None:
    """Noise with a square in it."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 255, (side, side, 3), dtype=np.uint8)
        pixels[side // 4 : side // 2, side // 4 : side // 2] = pixels[0, 0]
        Image.fromarray(pixels).save(folder / f"{number:05}.png")


def run(checkout: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """What `RUN` prints, with the sources of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def seconds_of_fsync(folder: Path) -> float:
    """The median of 30."""
    taken = []
    with (folder / "probe").open("wb") as file:
        for _ in range(30):
            file.write(b"x" * 500)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--size", type=int, default=24, help="side in pixels")
    parser.add_argument("--model", default="dynaseg")
    parser.add_argument("--before", type=Path, help="another checkout, run first")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        draw(Path(place) / "images", options.images, options.size)
        for name, checkout in (("before", options.before), ("now", ROOT)):
            if checkout is None:
                continue
            paths = [f"{place}/images", f"{place}/{name}"]
            first, second = (run(checkout.resolve(), [*paths, model]) for model in (options.model, "nothing"))
            rows.append(
                {
                    "sources": name,
                    "seconds": first["seconds"],
                    "share": first["inside"] / first["seconds"],
                    "ms_besides": 1e3 * (first["seconds"] - first["inside"]) / options.images,
                    "second_processor_seconds": second["processor_seconds"],
                    "fsync_ms": 1e3 * seconds_of_fsync(Path(place)),
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    headings = ("sources", "first run (s)", "segmentation", "besides (ms/image)", "second run, CPU (s)", "fsync (ms)")
    cells = [(r["sources"], r["seconds"], f"{r['share']:.1%}", *list(r.values())[3:]) for r in rows]
    notes = [
        f"{options.images} images of {options.size} x {options.size} pixels, {options.model}, png and overlay.",
        f"Goal: {GOAL_SHARE:.0%} in segmentation; a second run within {GOAL_SECONDS:g} s of the processor.",
    ]
    title, table = "A folder of tiny images", markdown_table(headings, cells)
    write_report(options.output, "folder", title, [table], {"rows": rows}, notes)
    return int(rows[-1]["share"] < GOAL_SHARE or rows[-1]["second_processor_seconds"] > GOAL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
