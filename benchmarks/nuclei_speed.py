"""What an image of 512 x 512 takes the model `nuclei`, where that goes, and what the processor cannot do without.

Each image is segmented by the sources of two checkouts in turns, each time in a process of its own; of its times the
least counts. The floor is that of the same passes of the network: its multiplications and additions at the rate of the
processor's matrix products, and beside it what its convolutions read and write at the rate at which memory is copied.

    UPSEG_DATA=... python benchmarks/nuclei_speed.py [--before OTHER_CHECKOUT] [--images 8] [--threads 1]
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.report import markdown_table, write_report
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from upseg.images.reading import read_image
from upseg.models.registry import load_model

ROOT = Path(__file__).resolve().parents[1]
SIDE, GOAL = 512, 0.5
SETS = {"BBBC039": "bbbc039-train", "DSB 2018": "dsb2018"}
ROUNDS = 3
PARTS = (
    ("seconds", "segment", 1),
    ("processor_seconds", "segment", 0),
    ("network_seconds", "_look", 0),
    ("grouping_seconds", "_group", 0),
)
"""What is told, the function that it is of, and whether it is the time of the processor (0) or of the clock (1)."""
RUN = """
import json, sys, time
import numpy as np, torch
from upseg.batch import jobs
from upseg.models.registry import load_model
images, threads = np.load(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
if hasattr(jobs, "SMALL_KEPT"):
    jobs.reuse_freed_memory(jobs.SMALL_KEPT)
model = load_model("nuclei", "cpu")
kind, spent = type(model), {}
def timed(name):
    plain = getattr(kind, name)
    def run(*arguments, **options):
        begun = time.process_time(), time.perf_counter()
        try:
            return plain(*arguments, **options)
        finally:
            part = spent.setdefault(name, [0.0, 0.0, []])
            part[0] += time.process_time() - begun[0]
            part[1] += time.perf_counter() - begun[1]
            part[2] += [list(arguments[1].shape[-2:])] if name == "_look" else []
    setattr(kind, name, run)
for name in ("segment", "_look", "_group"):
    timed(name)
model.segment(images[0])
found = []
for image in images:
    spent.clear()
    count = len(model.segment(image))
    found.append({"objects": count, **{name: part[:2] for name, part in spent.items()}, "passes": spent["_look"][2]})
print(json.dumps(found))
"""


def squares(folder: Path, count: int) -> list[np.ndarray]:
    """The upper left 512 x 512 pixels of the first images that have as many."""
    found = []
    for path in sorted(folder.iterdir()):
        image = read_image(path)
        if min(image.shape[:2]) >= SIDE:
            found.append(image[:SIDE, :SIDE].copy())
        if len(found) == count:
            break
    return found


def run(checkout: Path, images: Path, threads: int) -> list[dict[str, Any]]:
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", RUN, str(images), str(threads)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def least(runs: Sequence[Sequence[dict[str, Any]]], name: str, clock: int) -> list[float]:
    """Of each image."""
    return [min(found[name][clock] for found in same) for same in zip(*runs, strict=True)]


def fastest(do: Callable[[], object], repeats: int = 10) -> float:
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        do()
        taken.append(time.process_time() - started)
    return min(taken)


def rates() -> tuple[float, float]:
    """Operations of products of matrices and bytes of copies, in a second of one core."""
    torch.set_num_threads(1)
    square, block = torch.rand(2048, 2048), torch.rand(1 << 24)
    other = torch.empty_like(block)
    multiplied = fastest(lambda: square @ square)
    return 2 * 2048**3 / multiplied, 8 * block.numel() / fastest(lambda: other.copy_(block))


def work_of(network: nn.Module) -> tuple[float, float]:
    """For each pixel of a pass: multiplications and additions, and bytes that its convolutions read and write."""
    moved, image = 0, torch.rand(1, 3, SIDE, SIDE)

    def note(_: nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        nonlocal moved
        moved += 4 * (given[0].numel() + made.numel())

    hooks = [part.register_forward_hook(note) for part in network.modules() if isinstance(part, nn.Conv2d)]
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        network(image)
    for hook in hooks:
        hook.remove()
    return counted.get_total_flops() / SIDE**2, moved / SIDE**2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--images", type=int, default=8, help="of each set; default: 8")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if "UPSEG_DATA" not in os.environ:
        sys.exit(f"set UPSEG_DATA to a folder with {' and '.join(SETS.values())}")
    operations, moved = work_of(load_model("nuclei", "cpu").computed_network)
    rate, bandwidth = rates()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for title, folder in SETS.items():
            images = Path(place, "images.npy")
            np.save(images, np.stack(squares(Path(os.environ["UPSEG_DATA"], folder, "images"), options.images)))
            checkouts = {"before": options.before, "now": ROOT}
            runs: dict[str, list[list[dict[str, Any]]]] = {name: [] for name, path in checkouts.items() if path}
            for _ in range(ROUNDS):
                for name, found in runs.items():
                    found.append(run(checkouts[name].resolve(), images, options.threads))
            for name, found in runs.items():
                pixels = [sum(h * w for h, w in image["passes"]) for image in found[0]]
                row = {"images": title, "sources": name, "objects": sum(image["objects"] for image in found[0])}
                for key, part, clock in PARTS:
                    row[key] = statistics.mean(least(found, part, clock))
                floors = {"floor_seconds": operations / rate, "memory_seconds": moved / bandwidth}
                row |= {key: statistics.mean(pixels) * value for key, value in floors.items()}
                row["median_seconds"] = statistics.median(least(found, "segment", 1))
                rows.append(row)
                print(row, file=sys.stderr, flush=True)
    headings = ("images", "sources", "s", "median", "s of CPU", "network", "grouping", "floor", "memory", "ratio")
    first = {row["images"]: row["processor_seconds"] for row in reversed(rows)}
    keys = ("seconds", "median_seconds", *(key for key, *_ in PARTS[1:]), "floor_seconds", "memory_seconds")
    ratios = [row["processor_seconds"] / first[row["images"]] for row in rows]
    cells = [(r["images"], r["sources"], *(r[k] for k in keys), ratio) for r, ratio in zip(rows, ratios, strict=True)]
    sizes = f"{options.images} images of each set, {SIDE} x {SIDE}, threads: {options.threads}; seconds for an image, "
    floors = (
        f"Floor: {operations * SIDE**2 / 1e9:.1f} billion operations for a pass over {SIDE} x {SIDE}, at the "
        f"{rate / 1e9:.0f} billion a second of matrix products on one core; memory: {moved * SIDE**2 / 1e6:.0f} MB, at "
        f"{bandwidth / 1e9:.0f} GB a second. The passes are those that the images take."
    )
    least_of = f"mean of the least of {ROUNDS}; network, grouping and ratio: of the processor."
    notes = [sizes + least_of, floors, f"Goal: {GOAL} s."]
    table = markdown_table(headings, cells)
    facts = {"rows": rows, "operations": operations * SIDE**2, "bytes": moved * SIDE**2, "rate": rate}
    write_report(options.output, "nuclei_speed", "nuclei on 512 x 512", [table], facts, notes)
    return int(any(row["sources"] == "now" and row["seconds"] > GOAL for row in rows))


if __name__ == "__main__":
    sys.exit(main())
