"""Which way to the dominant eigenvector: eigh or iteration, and is it cheaper than the network's forward pass?

K matrices of 128 x 128, the second moments of features around K lines, with three amounts of noise: a trained
network's, one's in training, and one's that has learnt next to nothing, where the second eigenvalue comes close to the
first.
Errors are the largest of the K: 1 - |cosine| to eigh's vector in float64, and the share of the largest eigenvalue that
is not reached. The forward pass is that of one image of 384 x 384; its moments are those of K entities that tile it.

    python benchmarks/entity_lines.py [--device cpu] [--threads 1] [--repeats 5] [--output benchmarks/results]

On a CPU with one thread, times are processor time, so that other work on the machine hardly changes them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness.report import markdown_table, write_report
from torch import Tensor
from torch.nn.functional import normalize

from upseg.methods.entity.linear_algebra import dominant_eigenvectors
from upseg.methods.entity.network import EntityNetwork
from upseg.methods.entity.pixels import entity_moments

SIZE, DIMENSIONS, COUNTS = 384, 128, (10, 60, 200)
NOISES = {"trained": 0.5, "in training": 6.0, "untrained": 20.0}
PIXELS = 400  # of each entity whose moments are decomposed
BACKBONES = ("convnext_base", "convnext_atto")


def by_eigh(moments: torch.Tensor) -> torch.Tensor:
    """The last of all eigenvectors."""
    return torch.linalg.eigh(moments).eigenvectors[..., -1]


METHODS = {"eigh": by_eigh, "iteration": dominant_eigenvectors}


def noisy_moments(count: int, noise: float, device: str) -> tuple[Tensor, Tensor]:
    """Moments (K, d, d) of unit features, and their eigenvalues."""
    generator = torch.Generator().manual_seed(count)
    lines = normalize(torch.randn(count, 1, DIMENSIONS, generator=generator), dim=2)
    noises = torch.randn(count, PIXELS, DIMENSIONS, generator=generator) / DIMENSIONS**0.5
    features = normalize(lines + noise * noises, dim=2).to(device)
    moments = features.mT @ features
    return moments, torch.linalg.eigvalsh(moments.double())


def tiled_image(count: int, device: str) -> tuple[Tensor, Tensor]:
    """Features (1, d, H, W) and labels of K stripes."""
    features = torch.randn(1, DIMENSIONS, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    pixel = torch.arange(SIZE * SIZE, device=device)
    return normalize(features, dim=1), (pixel * count // (SIZE * SIZE) + 1).view(1, SIZE, SIZE)


def seconds(function: Callable[[], object], repeats: int, device: str) -> float:
    """The median of several calls, after one that does not count."""
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    found = []
    for _ in range(repeats + 1):
        if device != "cpu":
            torch.accelerator.synchronize()
        start = clock()
        function()
        if device != "cpu":
            torch.accelerator.synchronize()
        found.append(clock() - start)
    return statistics.median(found[1:])


def measure_eigenvectors(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for count in COUNTS:
        for name, noise in NOISES.items():
            moments, values = noisy_moments(count, noise, options.device)
            truth = by_eigh(moments.double())
            row: dict[str, Any] = {"K": count, "features": name, "ratio": (values[:, -2] / values[:, -1]).max().item()}
            for method, solve in METHODS.items():
                found = solve(moments)
                reached = (found[:, None] @ moments @ found[..., None]).flatten() / values[:, -1]
                row[f"{method}_ms"] = 1000 * seconds(
                    lambda moments=moments, solve=solve: solve(moments),
                    options.repeats,
                    options.device,
                )
                row[f"{method}_error"] = (1 - (found * truth).sum(1).abs()).max().item()
                row[f"{method}_missing"] = max(0.0, (1 - reached).max().item())
            rows.append(row)
    return rows


@torch.no_grad()
def measure_forward_passes(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for count in COUNTS:
        features, labels = tiled_image(count, options.device)
        work = seconds(lambda: entity_moments(features, labels, count), options.repeats, options.device)  # noqa: B023
        rows.append({"what": f"moments of {count} entities", "ms": 1000 * work})
    image = torch.rand(1, 3, SIZE, SIZE, device=options.device)
    for backbone in BACKBONES:
        network = EntityNetwork(backbone, dimensions=DIMENSIONS).to(options.device).eval()
        work = seconds(lambda: network(image), min(2, options.repeats), options.device)  # noqa: B023
        rows.append({"what": f"forward pass of {backbone}", "ms": 1000 * work})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    vectors, passes = measure_eigenvectors(options), measure_forward_passes(options)
    headings = ("K", "features", "λ2/λ1", "eigh ms", "iteration ms", "faster", "error eigh", "iteration", "λ missing")
    cells = [
        (
            row["K"],
            row["features"],
            row["ratio"],
            row["eigh_ms"],
            row["iteration_ms"],
            row["eigh_ms"] / row["iteration_ms"],
            *(f"{row[name]:.0e}" for name in ("eigh_error", "iteration_error", "iteration_missing")),
        )
        for row in vectors
    ]
    write_report(
        options.output,
        "entity_lines" if options.device == "cpu" else f"entity_lines_{options.device.partition(':')[0]}",
        "Dominant eigenvectors: eigh against iteration, and against the forward pass",
        [markdown_table(headings, cells), markdown_table(("besides", "ms"), [tuple(row.values()) for row in passes])],
        {"eigenvectors": vectors, "besides": passes},
        [f"Device {options.device}, {options.threads} threads, one image of {SIZE} x {SIZE}, d = {DIMENSIONS}."],
    )


if __name__ == "__main__":
    main()
