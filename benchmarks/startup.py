"""How long the command line takes for one small photo, from nothing, and when there is nothing to do.

Each command runs in a process of its own, with the sources of two checkouts in turns, so that other work on the machine
slows both. Beside it stands what nothing of ours can be faster than: Python, and `import torch`, by itself and as the
commands import it.

    python benchmarks/startup.py --before OTHER_CHECKOUT [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from harness.report import markdown_table, write_report
from PIL import Image

from upseg.data.shapes import draw_scene

ROOT = Path(__file__).resolve().parents[1]
SIZE = (321, 481)
MAIN = "from upseg.cli import main; main()"
# a checkout that has no such module imports torch as it comes
IMPORTED = """
from contextlib import suppress
with suppress(ImportError):
    from upseg.commands.quick_start import start_quickly
    start_quickly()
import torch
"""
GOALS = {"first": 2.0, "nothing to do": 0.5}
"""Seconds."""


@dataclass(frozen=True)
class Row:
    """One command, medians.

    Attributes:
        command: What was run.
        before_seconds: From start to end, with the sources before.
        seconds: The same now.
        before_processor_seconds: Of the processor, likewise.
        processor_seconds: The same now.
        ratio: Of the processor seconds, now to before, the median of neighbours.
    """

    command: str
    before_seconds: float
    seconds: float
    before_processor_seconds: float
    processor_seconds: float
    ratio: float


def run(code: str, arguments: Sequence[str], checkout: Path) -> tuple[float, float]:
    """Seconds, and processor seconds, of a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "HF_HUB_OFFLINE": "1"}
    used, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, capture_output=True)
    seconds, now = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def measure(name: str, code: str, commands: Mapping[Path, Sequence[Sequence[str]]], repeats: int) -> Row:
    """A command in turns; `commands` are for each checkout those of each turn, the first of which is not counted."""
    before, after = commands
    taken: dict[Path, list[tuple[float, float]]] = {before: [], after: []}
    for turn in range(repeats + 1):
        for checkout, turns in commands.items():
            found = run(code, turns[turn], checkout)
            if turn:
                taken[checkout].append(found)
    before_wall, wall, before_used, used = (statistics.median(t[i] for t in taken[c]) for i in (0, 1) for c in commands)
    ratio = statistics.median(a[1] / b[1] for b, a in zip(taken[before], taken[after], strict=True))
    return Row(name, before_wall, wall, before_used, used, ratio)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="another checkout of upseg")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    checkouts, turns = (options.before.resolve(), ROOT), range(options.repeats + 1)
    rows = [
        measure(name, code, {checkout: [()] * len(turns) for checkout in checkouts}, options.repeats)
        for name, code in (("pass",) * 2, ("import torch",) * 2, ("import torch, as the commands do", IMPORTED))
    ]
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        scene = draw_scene((0, 0), SIZE, 0.5)
        Image.fromarray((255 * scene.image).astype(np.uint8)).save(photo)

        def segment(model: str, output: str) -> list[str]:
            return ["segment", str(photo), "-o", f"{folder}/{output}", *(["-m", model] if model else []), "-q"]

        masks = Path(folder) / "masks" / photo.name
        masks.parent.mkdir()
        Image.fromarray((scene.segment_map > 0).astype(np.uint8)).save(masks)
        splits = {
            c: [["split", str(masks), "--images", folder, "-o", f"{folder}/split{i}{t}", "-q"] for t in turns]
            for i, c in enumerate(checkouts)
        }
        rows.append(measure("upseg split --images, first", MAIN, splits, options.repeats))
        for model in ("dynaseg", "", "nuclei"):
            called = f"upseg segment -m {model}" if model else "upseg segment"
            first = {c: [segment(model, f"{model}{i}{t}") for t in turns] for i, c in enumerate(checkouts)}
            again = {c: [segment(model, f"{model}{i}0") for _ in turns] for i, c in enumerate(checkouts)}
            rows.append(measure(f"{called}, first", MAIN, first, options.repeats))
            rows.append(measure(f"{called}, nothing to do", MAIN, again, options.repeats))
    headings = ("command", "before (s)", "now (s)", "before, CPU (s)", "now, CPU (s)", "now / before, CPU")
    table = markdown_table(headings, [tuple(asdict(row).values()) for row in rows])
    goal = ", ".join(f"{name} {seconds:g} s" for name, seconds in GOALS.items())
    notes = [f"A made-up scene of {SIZE[1]} x {SIZE[0]} pixels. Medians of {options.repeats}, in turns. Goal: {goal}."]
    write_report(
        options.output, "startup", "From the command to the files", [table], {"rows": [*map(asdict, rows)]}, notes
    )
    return int(any(row.seconds > GOALS.get(row.command.rpartition(", ")[2], 1e9) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
