"""How long do the network of cells and the mean shift take on each device of this machine?

    python benchmarks/device_times.py [--device cuda cpu]

Times are means after three runs that do not count; images and features are random, the network's weights too, which
changes nothing about the time. Features are twenty noisy lines.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from harness.report import markdown_table, write_report

from upseg.methods.entity.extensions.cells.network import CellNetwork
from upseg.methods.entity.mean_shift import cluster_lines

RESULTS = Path(__file__).resolve().parent / "results"
CHANNELS = (128, 96, 64, 48)
SIDES = (512, 2048)
FEATURES = ((10_000, 128), (1_000_000, 32))


def milliseconds(work: Callable[[], object], device: str, repeats: int) -> float:
    for _ in range(3):
        work()
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    _wait(device)
    return (time.perf_counter() - start) / repeats * 1e3


def noisy_lines(count: int, dimensions: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, dimensions, generator=generator)
    chosen = centres[torch.randint(0, 20, (count,), generator=generator)]
    return F.normalize(chosen + 0.3 * torch.randn(count, dimensions, generator=generator), dim=1)


@torch.inference_mode()
def times(device: str) -> list[float]:
    network = CellNetwork(channels=CHANNELS).eval().to(device)
    repeats, found = 2 if device == "cpu" else 10, []
    for side in SIDES:
        image = torch.rand(1, 3, side, side, device=device)
        found.append(milliseconds(lambda image=image: network(image), device, repeats))
    for count, dimensions in FEATURES:
        lines = noisy_lines(count, dimensions).to(device)
        work = lambda lines=lines: cluster_lines(lines, 45.0, least_support=3)  # noqa: E731
        found.append(milliseconds(work, device, 2))
    return found


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
    parser.add_argument("--device", nargs="+", default=usual, help="default: all there are")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    sides = [f"network, {side} x {side}" for side in SIDES]
    headings = ("ms", *sides, *(f"mean shift, {count:,} x {dimensions}" for count, dimensions in FEATURES))
    rows = [(device, *(f"{value:.1f}" for value in times(device))) for device in options.device]
    note = f"{torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        note += f"; {torch.cuda.get_device_name(0)}"
    title = "The network of cells and the mean shift by device"
    write_report(options.output, "device_times", title, [markdown_table(headings, rows)], {"rows": rows}, [note])


if __name__ == "__main__":
    main()
