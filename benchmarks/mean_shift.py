"""How fast is the mean shift of `entity` against scikit-learn's and a plain one, and how does its time grow?

All three get the same 128-dimensional features, around 30 lines with noise; scikit-learn, which knows no lines, gets
them with their signs made alike, and the chord of the same angle as bandwidth. Its time, unlike the others', is that of
one run. The plain one shifts every feature at once over all features with torch, as the paper describes it.

Then maps from 128 x 128 to 1024 x 1024 pixels, of four kinds: clean features; white noise; noise in patches, as
networks make it, which adds modes; and patches with more noise than line, which have no end of modes. Beside the time
stands what the machine would take for the product of pixels and modes, and for reading the map once, at the rates
measured in the same rounds. With one thread all times are processor time, so that other work on the machine hardly
changes them; with more, processor seconds tell how much of it other work can have caused.

    python benchmarks/mean_shift.py [--counts 10000 20000] [--sides 128 256 512 724 1024] [--repeats 5] [--threads 2]
        [--features MAP.npy]

The plot goes to docs/_static/mean_shift.png, and where the sides are not the usual ones beside the report.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from harness.report import markdown_table, write_report
from scipy.spatial import KDTree
from sklearn.cluster import MeanShift
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from upseg.methods.entity.mean_shift import MAXIMUM_MODES, cluster_lines

BENCHMARKS = Path(__file__).resolve().parent
SIDES = (128, 256, 512, 724, 1024)
DIMENSIONS, REGIONS, BANDWIDTH = 128, 40, 45.0
GOAL_SECONDS, GOAL_RATIO, GOAL_FEATURES = 0.5, 1000, 10_000
CLUSTERS, CLUSTER_NOISE = 30, 0.5
PATCH = 16
"""Pixels between the points among which the noise of networks is interpolated."""
KINDS = {"clean": (0.1, 1), "white noise": (0.8, 1), "noise in patches": (0.8, PATCH), "little but noise": (1.5, PATCH)}
BATCH = 512
MATRIX, COPY, TRIES = 2048, 2**28, 4
PEER_HEADINGS = ("features", "method", "seconds", "this / upseg's", "clusters", "agreement with the made-up ones")
MAP_HEADINGS = (
    "map",
    "side",
    "seconds",
    "processor seconds",
    "s per megapixel",
    "modes",
    "not within 45° of any",
    "agreement",
    "GFLOP",
    "floor, compute (s)",
    "floor, memory (s)",
    "this / floor",
)


def make_lines(count: int, seed: int = 0) -> tuple[Tensor, np.ndarray]:
    """(N, d) features around axes, and which axis."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(CLUSTERS, (count,), generator=generator)
    noise = torch.randn(count, DIMENSIONS, generator=generator) * CLUSTER_NOISE / DIMENSIONS**0.5
    features = F.normalize(torch.eye(DIMENSIONS)[numbers] + noise, dim=1)
    return features * torch.where(torch.rand(count, 1, generator=generator) < 0.5, -1.0, 1.0), numbers.numpy()


def make_map(side: int, noise: float, patch: int) -> tuple[Tensor, np.ndarray]:
    """(d, H, W) features of a map of polygons, and which polygon."""
    generator, random = torch.Generator().manual_seed(0), np.random.default_rng(0)
    pixels = np.stack(np.mgrid[:side, :side], -1).reshape(-1, 2)
    numbers = KDTree(random.random((REGIONS, 2)) * side).query(pixels)[1]
    features = torch.randn(1, DIMENSIONS, side // patch, side // patch, generator=generator)
    features = F.interpolate(features, size=(side, side), mode="bilinear") if patch > 1 else features
    features *= noise / torch.linalg.vector_norm(features, dim=1).mean()
    flat = features[0].flatten(1)
    flat[torch.from_numpy(numbers), torch.arange(side * side)] += 1
    flat /= torch.linalg.vector_norm(flat, dim=0)
    return features[0], numbers


def plain_mean_shift(features: Tensor) -> np.ndarray:
    """From every feature over all features."""
    cosine = math.cos(math.radians(BANDWIDTH))
    rests = torch.cat([_shifted(part, features, cosine) for part in features.split(BATCH)])
    support = torch.cat([(part @ features.T).abs().ge(cosine).sum(1) for part in rests.split(BATCH)])
    left, modes = torch.argsort(support, descending=True), []
    while len(left):
        modes.append(rests[left[0]])
        left = left[(rests[left] @ modes[-1]).abs() <= cosine]
    return (features @ torch.stack(modes).T).abs().argmax(1).numpy()


def _shifted(here: Tensor, features: Tensor, cosine: float, steps: int = 64) -> Tensor:
    for _ in range(steps):
        products = here @ features.T
        there = F.normalize((products * (products.abs() >= cosine)) @ features, dim=1)
        if float((there - here).norm(dim=1).max()) < 1e-3:
            break
        here = there
    return there


def sklearn_mean_shift(features: Tensor, numbers: np.ndarray, threads: int) -> np.ndarray:
    """With signs made alike."""
    signs = torch.sign(features[torch.arange(len(features)), torch.from_numpy(numbers)])
    chord = 2 * math.sin(math.radians(BANDWIDTH) / 2)
    return MeanShift(bandwidth=chord, n_jobs=threads).fit_predict((features * signs[:, None]).numpy())


def seconds_of(work: Callable[[], object]) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    work()
    return clock() - start


def compare(count: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each method on the same features."""
    features, numbers = make_lines(count)
    ways: dict[str, tuple[Callable[[], np.ndarray], int]] = {
        "upseg": (lambda: cluster_lines(features, BANDWIDTH).nearest.numpy(), 3 * options.repeats),  # noqa: PLW0108
        "plain torch, all features": (partial(plain_mean_shift, features), 2),
        "scikit-learn": (partial(sklearn_mean_shift, features, numbers, options.threads), 1),
    }
    rows = []
    for name, (way, repeats) in ways.items():
        found: list[np.ndarray] = []
        seconds = min(seconds_of(lambda: found.append(way())) for _ in range(repeats))  # noqa: B023 - called here
        rows.append(
            {
                "features": count,
                "method": name,
                "seconds": seconds,
                "ratio": seconds / (rows[0]["seconds"] if rows else seconds),
                "clusters": len(np.unique(found[0])),
                "agreement": float(adjusted_rand_score(numbers, found[0])),
            }
        )
        print(f"{count} features, {name}: {seconds:.3f} s", file=sys.stderr, flush=True)
    return rows


def machine_rates() -> dict[str, float]:
    """Operations per second of a product like that of pixels and modes, bytes per second of reading; best of a few."""
    modes, pixels = torch.ones(MAXIMUM_MODES, DIMENSIONS), torch.ones(DIMENSIONS, MATRIX)
    products = torch.empty(MAXIMUM_MODES, MATRIX)
    work = partial(_repeat, partial(torch.mm, modes, pixels, out=products), 100)
    compute = 100 * 2 * modes.numel() * MATRIX / min(seconds_of(work) for _ in range(TRIES))
    source = torch.ones(COPY // 4)
    return {"compute": compute, "read": COPY / min(seconds_of(source.sum) for _ in range(TRIES))}


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def measure(kind: str, features: Tensor, numbers: np.ndarray | None, options: argparse.Namespace) -> dict[str, Any]:
    """The row of one map: the best of the repeats."""
    lines = features.flatten(1).T
    clusters = cluster_lines(lines, BANDWIDTH)  # warms up
    taken, rates = [], []
    for _ in range(options.repeats):
        rates.append(machine_rates())
        processor = time.process_time()
        seconds = seconds_of(partial(cluster_lines, lines, BANDWIDTH))
        taken.append((seconds, time.process_time() - processor))
    rate = {name: max(one[name] for one in rates) for name in rates[0]}
    modes, pixels = len(clusters.modes), len(lines)
    operations = 2 * modes * lines.numel()
    floors = operations / rate["compute"], 4 * lines.numel() / rate["read"]
    seconds = min(taken)[0]
    cosine = math.cos(math.radians(BANDWIDTH))
    row = {
        "map": kind,
        "side": math.isqrt(pixels),
        "pixels": pixels,
        "seconds": seconds,
        "processor_seconds": min(processor for _, processor in taken),
        "modes": modes,
        "uncovered": float((clusters.similarity < cosine).float().mean()),
        "agreement": None if numbers is None else float(adjusted_rand_score(numbers, clusters.nearest.numpy())),
        "operations": operations,
        "compute_floor": floors[0],
        "memory_floor": floors[1],
        "above_floor": seconds / max(floors),
        "rates": rate,
        "runs": taken,
    }
    print(f"{kind}, {pixels} pixels: {seconds:.3f} s, {modes} modes", file=sys.stderr, flush=True)
    return row


def straightness(rows: Sequence[dict[str, Any]]) -> tuple[float, float, float]:
    """(seconds at no pixels, seconds per megapixel, R²) of the straight line closest to the times."""
    megapixels, seconds = np.array([[row["pixels"] / 1e6, row["seconds"]] for row in rows]).T
    slope, start = np.polyfit(megapixels, seconds, 1)
    left = ((seconds - start - slope * megapixels) ** 2).sum() / max(((seconds - seconds.mean()) ** 2).sum(), 1e-12)
    return float(start), float(slope), float(1 - left)


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Time against pixels for each kind of map, with its straight line, and the goal."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 3.8), layout="constrained")
    for colour, kind in zip(("#0072b2", "#009e73", "#e69f00", "#cc79a7"), KINDS, strict=True):
        mine = [row for row in rows if row["map"] == kind]
        megapixels = np.array([row["pixels"] / 1e6 for row in mine])
        start, slope, straight = straightness(mine)
        axis.plot(megapixels, [row["seconds"] for row in mine], "o", color=colour, label=f"{kind}: R² {straight:.3f}")
        axis.plot(megapixels, start + slope * megapixels, "-", color=colour, linewidth=1)
    axis.plot(2**20 / 1e6, GOAL_SECONDS, "v", color="#d55e00", label=f"goal: {GOAL_SECONDS:g} s")
    axis.set(xlabel="megapixels, 128 channels", ylabel="seconds", ylim=(0, None), xlim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def peer_cells(row: dict[str, Any]) -> list[object]:
    return [
        row["features"],
        row["method"],
        f"{row['seconds']:.4f}" if row["seconds"] < 1 else f"{row['seconds']:.1f}",
        f"{row['ratio']:.0f}",
        row["clusters"],
        f"{row['agreement']:.4f}",
    ]


def map_cells(row: dict[str, Any]) -> list[object]:
    return [
        row["map"],
        row["side"],
        f"{row['seconds']:.3f}",
        f"{row['processor_seconds']:.3f}",
        f"{1e6 * row['seconds'] / row['pixels']:.2f}",
        row["modes"],
        f"{100 * row['uncovered']:.1f} %",
        None if row["agreement"] is None else f"{row['agreement']:.4f}",
        f"{row['operations'] / 1e9:.1f}",
        f"{row['compute_floor']:.3f}",
        f"{row['memory_floor']:.3f}",
        f"{row['above_floor']:.1f}",
    ]


def read_map(path: Path) -> Tensor:
    """A map of features as numpy saves it, (d, H, W), brought to unit length."""
    return F.normalize(torch.from_numpy(np.load(path, allow_pickle=False)).float(), dim=0)


def notes_on(peers: Sequence[dict[str, Any]], maps: Sequence[dict[str, Any]], options: argparse.Namespace) -> list[str]:
    clock = "1 thread, processor time" if options.threads == 1 else f"{options.threads} threads"
    lines = [f"{clock}; best of {options.repeats} runs (of 1 for scikit-learn)"]
    ratios = [row["ratio"] for row in peers if row["method"] == "scikit-learn" and row["features"] >= GOAL_FEATURES]
    if ratios:
        lines.append(
            f"goal: {GOAL_RATIO} times faster than scikit-learn from {GOAL_FEATURES} features on; "
            f"it is {min(ratios):.0f} times at the least"
        )
    slowest = max((row for row in maps if row["pixels"] >= 2**20), key=lambda row: row["seconds"], default=None)
    if slowest:
        lines.append(
            f"goal: a 1024 x 1024 map within {GOAL_SECONDS:g} s; the slowest took {slowest['seconds']:.2f} s "
            f"({slowest['map']}, {slowest['modes']} modes of at most {MAXIMUM_MODES})"
        )
    for kind in KINDS:
        mine = [row for row in maps if row["map"] == kind]
        if len(mine) > 2:
            start, slope, straight = straightness(mine)
            lines.append(f"{kind}: {start:.3f} s + {slope:.3f} s per megapixel, R² {straight:.4f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="*", default=[10_000, 20_000], help="of features; none: no peers")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="of maps, in pixels")
    parser.add_argument("--features", type=Path, help="a network's features of one image, (d, H, W), as .npy")
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument("--output", type=Path, default=BENCHMARKS / "results", help="default: benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peers = [row for count in options.counts for row in compare(count, options)]
    kinds = [(kind, side, *how) for kind, how in KINDS.items() for side in options.sides]
    made_up = [measure(kind, *make_map(side, noise, patch), options) for kind, side, noise, patch in kinds]
    maps = list(made_up)
    if options.features:
        maps.append(measure(f"network: {options.features.stem}", read_map(options.features), None, options))
    sections = ["## On maps", markdown_table(MAP_HEADINGS, map(map_cells, maps))]
    if peers:
        sections = ["## Against others", markdown_table(PEER_HEADINGS, map(peer_cells, peers)), *sections]
    data = {"peers": peers, "maps": maps}
    write_report(options.output, "mean_shift", "Mean shift on lines", sections, data, notes_on(peers, made_up, options))
    usual = tuple(options.sides) == SIDES
    picture = (BENCHMARKS.parent / "docs" / "_static" if usual else options.output) / "mean_shift.png"
    plot(made_up, picture)
    print(f"plotted: {picture}")


if __name__ == "__main__":
    main()
