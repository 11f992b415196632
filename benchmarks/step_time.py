"""How long is a step of the fit, against a straightforward loop of the paper's setting, and against the machine?

All variants run in turn in one process, several rounds, on a photo of 481 x 321 pixels. A step's time is the
difference between a longer and a shorter fit, so start and end do not count. Beside it the operations that its
convolutions need, the bytes that its operators read and write in main memory, and what the machine would take for
either at the rates measured in the same rounds with a large matrix product and a large copy: the floor is the larger
of the two.

    python benchmarks/step_time.py [--rounds 5] [--seconds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.report import markdown_table, write_report
from skimage.data import coffee
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.reference.dynaseg import paper_loop

from upseg.methods.dynaseg import DynaSegSegmenter, DynaSegSettings
from upseg.methods.dynaseg.fit import fit_network

HEIGHT, WIDTH = 321, 481
PAPER_STEPS = 1000
NEVER = 0  # a floor that no fit reaches
MATRIX, COPY, TRIES = 2048, 2**28, 4
IN_CACHE = 2**21
"""Bytes: smaller tensors are taken to stay in the processor's cache, and do not count as memory traffic."""
HEADINGS = (
    "variant",
    "ms per step",
    "plain / this",
    "GFLOP",
    "GFLOP/s",
    "GB",
    "floor, compute (ms)",
    "floor, memory (ms)",
    "this / floor",
)


@dataclass(frozen=True)
class Variant:
    """A way to fit; `run(steps)` does that many steps."""

    name: str
    run: Callable[[int], object]
    precision: str = "float32"


class MemoryTraffic(TorchDispatchMode):
    """Counts the bytes of all tensors that operators read and write, each once for each operator.

    Temporaries that fit in the cache do not count, parts of larger tensors do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, _types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator, and count."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view and not func.overloadpacket.__name__.startswith(("empty", "new_empty")):
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
            large = [tensor for tensor in tensors if tensor.untyped_storage().nbytes() >= IN_CACHE]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in large)
        return result


def variants(photo: np.ndarray) -> list[Variant]:
    """The paper's setting as a plain loop, and what was done about it, one thing after another."""
    tensor = torch.from_numpy(photo).permute(2, 0, 1)  # (3, H, W)
    plain = tensor.contiguous()
    batch = tensor[None]  # channels last in memory
    changes: list[tuple[str, dict[str, Any]]] = [
        ("channels last, fused loss", {}),
        ("+ bfloat16", {"precision": "bfloat16"}),
        ("+ 64 channels", {"features": 64, "clusters": 64}),
        ("+ crops of 240", {"crop": 240}),
    ]
    found = [Variant("plain loop", lambda steps: paper_loop(plain, steps=steps, floor=NEVER))]
    settings = DynaSegSettings.preset("paper")
    for name, change in changes:
        settings = replace(settings, **change)
        found.append(Variant(name, partial(_fit, batch, settings), settings.precision))
    return found


def _fit(batch: torch.Tensor, settings: DynaSegSettings, steps: int) -> None:
    fit_network(batch, replace(settings, steps=steps), NEVER)


def counts_of(variant: Variant) -> tuple[float, float]:
    """(operations of the convolutions, bytes of memory traffic) of one step: of two steps less those of one."""
    counts = []
    for steps in (1, 2):
        with FlopCounterMode(display=False) as operations, MemoryTraffic() as traffic:
            variant.run(steps)
        counts.append((operations.get_total_flops(), traffic.bytes))
    return float(counts[1][0] - counts[0][0]), float(counts[1][1] - counts[0][1])


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def seconds_per_step(variant: Variant, more: int) -> float:
    """Of a fit with `more` steps than another."""
    short = seconds_of(partial(variant.run, 1))
    return (seconds_of(partial(variant.run, 1 + more)) - short) / more


def machine_rates() -> dict[str, float]:
    """Operations per second of a matrix product in each precision, and bytes per second of a copy; best of a few."""
    rates = {}
    for precision in ("float32", "bfloat16"):
        matrix = torch.ones(MATRIX, MATRIX, dtype=getattr(torch, precision))
        rates[precision] = 2 * MATRIX**3 / min(seconds_of(partial(torch.mm, matrix, matrix)) for _ in range(TRIES))
    source, target = torch.ones(COPY, dtype=torch.uint8), torch.zeros(COPY, dtype=torch.uint8)
    rates["copy"] = 2 * COPY / min(seconds_of(partial(target.copy_, source)) for _ in range(TRIES))
    return rates


def measure(photo: np.ndarray, rounds: int, seconds: float) -> tuple[list[dict[str, Any]], dict[str, float], float]:
    """(a row for each variant, the machine's rates, seconds of a whole `default` segmentation)."""
    compared = variants(photo)
    counts = [counts_of(variant) for variant in compared]  # the first run, which warms up
    steps = [max(2, round(seconds / seconds_per_step(variant, 2))) for variant in compared]
    times = np.zeros((rounds, len(compared)))
    rates, wholes = [], []
    segmenter = DynaSegSegmenter(DynaSegSettings(threads=torch.get_num_threads()))
    for number in range(rounds):
        rates.append(machine_rates())
        times[number] = [seconds_per_step(variant, more) for variant, more in zip(compared, steps, strict=True)]
        wholes.append(seconds_of(partial(segmenter.segment, photo)))
        print(f"round {number + 1}: {np.round(1e3 * times[number], 1)} ms", file=sys.stderr, flush=True)
    rate = {name: max(one[name] for one in rates) for name in rates[0]}
    medians = np.median(times, axis=0)
    rows = [
        row_of(variant, float(medians[k]), float(medians[0]), counts[k], rate) | {"rounds": times[:, k].tolist()}
        for k, variant in enumerate(compared)
    ]
    return rows, rate, float(np.median(wholes))


def row_of(
    variant: Variant, taken: float, plain: float, counts: tuple[float, float], rate: dict[str, float]
) -> dict[str, Any]:
    operations, traffic = counts
    compute, memory = operations / rate[variant.precision], traffic / rate["copy"]
    return {
        "variant": variant.name,
        "seconds": taken,
        "speedup": plain / taken,
        "operations": operations,
        "bytes": traffic,
        "compute_floor": compute,
        "memory_floor": memory,
        "above_floor": taken / max(compute, memory),
    }


def cells(row: dict[str, Any]) -> list[object]:
    return [
        row["variant"],
        f"{1e3 * row['seconds']:.0f}",
        f"{row['speedup']:.1f}",
        f"{row['operations'] / 1e9:.0f}",
        f"{row['operations'] / row['seconds'] / 1e9:.0f}",
        f"{row['bytes'] / 1e9:.2f}",
        f"{1e3 * row['compute_floor']:.0f}",
        f"{1e3 * row['memory_floor']:.0f}",
        f"{row['above_floor']:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement; default: 3")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    photo = (coffee()[:HEIGHT, :WIDTH] / 255).astype(np.float32)
    rows, rate, whole = measure(photo, options.rounds, options.seconds)
    paper = PAPER_STEPS * rows[0]["seconds"]
    rates = ", ".join(f"{rate[name] / 1e9:.0f} GFLOP/s in {name}" for name in ("float32", "bfloat16"))
    notes = [
        f"medians of {options.rounds} rounds, {options.threads} threads",
        f"best rates of the machine: {rates} (matrix product of side {MATRIX}), {rate['copy'] / 1e9:.1f} GB/s (copy)",
        f"{PAPER_STEPS} plain steps take {paper:.0f} s",
        f"a whole segmentation with the preset `default` takes {whole:.2f} s, {paper / whole:.0f} times less",
        "each variant has all changes of those above it; GB leave out temporaries that fit in the cache",
    ]
    data = {"rows": rows, "rates": rate, "default_seconds": whole, "paper_seconds": paper}
    title = f"Step of the fit at {WIDTH} x {HEIGHT}"
    write_report(options.output, "step_time", title, [markdown_table(HEADINGS, map(cells, rows))], data, notes)


if __name__ == "__main__":
    main()
