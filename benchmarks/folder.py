"""A folder of tiny images: how much of the time is segmentation, and what a second run takes that finds all done.

Segmentation is what the model's `segment` does: pixels in, label map and table out. Its share is that of the time of
the whole run, by the clock and by the processor; the rest is finding and reading images, drawing and writing results,
and the journal. Beside it stands what the libraries alone take for an image: decoding it, encoding a label map and a
picture, and making two files and a line of the journal that are on the disk before anything goes on.

    python benchmarks/folder.py [--images 5000] [--size 24] [--model dynaseg] [--before OTHER_CHECKOUT]
"""

from __future__ import annotations

import argparse
import io
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
FEW = 300  # images of which the libraries' time is taken
RUN = """
import json, sys, time
started = time.process_time()
from upseg.batch.run import segment_files
from upseg.models.registry import find_model
folder, output, model = sys.argv[1:]
inside = inside_processor = 0.0
if model != "nothing":
    import importlib
    module, _, name = find_model(model).implementation.segmenter.partition(":")
    segmenter = getattr(importlib.import_module(module), name)
    plain = segmenter.segment
    def timed(*arguments, **options):
        global inside, inside_processor
        begun, begun_processor = time.perf_counter(), time.thread_time()
        try:
            return plain(*arguments, **options)
        finally:
            inside += time.perf_counter() - begun
            inside_processor += time.thread_time() - begun_processor
    segmenter.segment = timed
begun, begun_processor = time.perf_counter(), time.process_time()
summary = segment_files([folder], output, model="dynaseg" if model == "nothing" else model)
print(json.dumps({"counts": summary.counts(), "seconds": time.perf_counter() - begun, "inside": inside,
                  "inside_processor": inside_processor, "run_processor": time.process_time() - begun_processor,
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


def libraries_alone(folder: Path, images: Sequence[Path]) -> dict[str, float]:
    """Milliseconds of an image, by the clock and by the processor, and the median of the `fsync` among them."""
    folder.mkdir()
    synced: list[float] = []

    def write(path: Path, content: bytes, flags: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o666)
        os.write(descriptor, content)
        begun = time.perf_counter()
        os.fsync(descriptor)
        synced.append(time.perf_counter() - begun)
        os.close(descriptor)

    begun, begun_processor = time.perf_counter(), time.process_time()
    for path in images:
        with Image.open(path) as image:
            pixels = np.asarray(image)
        write(folder / "journal", b"x" * 300 + b"\n", os.O_APPEND)
        for suffix, values in (("png", pixels[..., 0]), ("overlay.png", pixels)):
            content = io.BytesIO()
            Image.fromarray(values).save(content, format="PNG")
            write(folder / f"{path.stem}.partial", content.getvalue(), os.O_EXCL)
            (folder / f"{path.stem}.partial").rename(folder / f"{path.stem}.{suffix}")
    taken = {"ms": time.perf_counter() - begun, "processor_ms": time.process_time() - begun_processor}
    of_image = {f"libraries_{key}": 1e3 * value / len(images) for key, value in taken.items()}
    return {**of_image, "fsync_ms": 1e3 * statistics.median(synced)}


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
            besides = {
                "besides_ms": first["seconds"] - first["inside"],
                "besides_processor_ms": first["run_processor"] - first["inside_processor"],
            }
            rows.append(
                {
                    "sources": name,
                    "seconds": first["seconds"],
                    "share": first["inside"] / first["seconds"],
                    "processor_share": first["inside_processor"] / first["run_processor"],
                    **{key: 1e3 * value / options.images for key, value in besides.items()},
                    **libraries_alone(Path(place, f"{name}-alone"), sorted(Path(place, "images").iterdir())[:FEW]),
                    "second_processor_seconds": second["processor_seconds"],
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    headings = (
        "sources", "first run (s)", "segmentation", "of CPU", "besides (ms/image)", "CPU", "libraries alone", "CPU",
        "fsync (ms)", "second run, CPU (s)",
    )  # fmt: skip
    cells = [
        (r["sources"], r["seconds"], f"{r['share']:.1%}", f"{r['processor_share']:.1%}", *list(r.values())[4:])
        for r in rows
    ]
    notes = [
        f"{options.images} images of {options.size} x {options.size} pixels, {options.model}, png and overlay.",
        f"Goal: {GOAL_SHARE:.0%} in segmentation; a second run within {GOAL_SECONDS:g} s of the processor.",
    ]
    title, table = "A folder of tiny images", markdown_table(headings, cells)
    write_report(options.output, "folder", title, [table], {"rows": rows}, notes)
    return int(rows[-1]["share"] < GOAL_SHARE or rows[-1]["second_processor_seconds"] > GOAL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
