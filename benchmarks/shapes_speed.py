"""How many made-up scenes are drawn in a minute.

    python benchmarks/shapes_speed.py [--processes 2] [--seconds 5]

Times are processor time while all processes run, so that other work on the machine does not change them. Exit code 1 if
all processes together draw fewer scenes of 128 x 128 than the goal, at any difficulty.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

from upseg.data.shapes import draw_scene

SCENES_PER_MINUTE, GOAL_SIDE = 2000, 128
SIDES = (64, 128, 256, 512)
LEVELS = (0.0, 0.5, 1.0)


def measure(process: int, side: int, level: float, seconds: float) -> tuple[float, float]:
    """Processor seconds for a scene, and its mean number of segments."""
    draw_scene((process, 0), (side, side), level)
    segments: list[int] = []
    start = time.process_time()
    while time.process_time() - start < seconds:
        segments.append(len(draw_scene((process, 1, len(segments)), (side, side), level).segments))
    return (time.process_time() - start) / len(segments), float(np.mean(segments))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each figure is measured")
    options = parser.parse_args()
    goal = f"goal: {SCENES_PER_MINUTE} a minute at {GOAL_SIDE} x {GOAL_SIDE}"
    title = f"made-up scenes, {options.processes} processes ({goal})"
    table = Table("side", "difficulty", "segments", "ms/scene", "scenes/minute", title=title)
    slowest = float("inf")
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for side in SIDES:
            for level in LEVELS:
                one = partial(measure, side=side, level=level, seconds=options.seconds)
                found = np.mean(pool.map(one, range(options.processes), chunksize=1), axis=0)
                rate = 60 * options.processes / found[0]
                table.add_row(str(side), str(level), f"{found[1]:.0f}", f"{1e3 * found[0]:.1f}", f"{rate:.0f}")
                slowest = min(slowest, rate) if side == GOAL_SIDE else slowest
    Console().print(table)
    return int(slowest < SCENES_PER_MINUTE)


if __name__ == "__main__":
    sys.exit(main())
