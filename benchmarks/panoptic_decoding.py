"""How fast does `panoptic` decode and group, against looking at every cell, and against reading the map once?

First the nearest cell of an 80 x 80 grid, or void, for a 480 x 480 map: by a search along rows and one along columns,
as upseg does it; by matrix products with the codes of all 6,400 cells, and the same passes to find the smallest; and by
`torch.cdist`, as one would write it down. All go through the pixels in blocks that suit a processor's cache. The floor
is the time in which the machine reads the channels and writes a cell and a cost for each pixel, at the rate at which it
reads memory in the same rounds.

Then everything that follows the network, from its maps to the label map at the image's size: for made-up maps of a
photo of 640 x 480 without and with noise on their channels; for maps that are nothing but noise, as of a network before
its training; and for a photo of 24 megapixels, with the memory that this took at most.

    python benchmarks/panoptic_decoding.py [--threads 2] [--repeats 7] [--device cpu] [--output benchmarks/results]

With one thread on a CPU, times are processor time, so that other work on the machine hardly changes them.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from harness.report import markdown_table, write_report
from torch import Tensor

from upseg.methods.panoptic.encodings import PositionalEncoding, first_smallest, grid_coordinates
from upseg.methods.panoptic.equations import positional_embedding
from upseg.methods.panoptic.grouping import VOID, decode_pixels, group_panoptic
from upseg.methods.panoptic.settings import PanopticSettings

SIDE, GRID, FREQUENCIES = 480, 80, 4
PHOTO, PHOTO_MAP, CLASSES, THINGS = (480, 640), (360, 480), 133, 80
LARGE_PHOTO = (4000, 6000)
BRUTE_BLOCK = 128
"""Pixels that are compared with all cells at once, 3 MiB of distances: the fastest of the powers of 2."""
COPY = 2**28
GOAL_RATIO, GOAL_SECONDS = 30, 0.25
BYTES_OF_PIXEL = 4 * 4 * FREQUENCIES + 4 + 4


def seconds(work: Callable[[], object], options: argparse.Namespace, repeats: int | None = None) -> float:
    """The shortest of several calls, after one that does not count."""
    on_one = options.device == "cpu" and options.threads == 1
    clock, found = time.process_time if on_one else time.perf_counter, []
    for _ in range((repeats or options.repeats) + 1):
        start = clock()
        work()
        if options.device != "cpu":
            torch.accelerator.synchronize()
        found.append(clock() - start)
    return min(found[1:])


def codes_of_cells(device: str) -> Tensor:
    """(6400, 4L), row by row."""
    axis = positional_embedding(grid_coordinates(GRID, torch.zeros(0, device=device)), FREQUENCIES)
    return torch.cat((axis.repeat_interleave(GRID, dim=0), axis.repeat(GRID, 1)), dim=1)


def by_products(predicted: Tensor, codes: Tensor) -> Tensor:
    """The nearest of all cells, by squared distances from products of codes and predictions."""
    numbers = torch.empty(predicted.shape[1], dtype=torch.int32, device=predicted.device)
    step = BRUTE_BLOCK if predicted.device.type == "cpu" else predicted.shape[1] // 16
    for start in range(0, predicted.shape[1], step):
        part = predicted[:, start : start + step]
        void = part.square().sum(0)
        nearest, costs = first_smallest((-2 * codes @ part).add_(void + 2 * FREQUENCIES))
        numbers[start : start + step] = torch.where(void < costs, VOID, nearest)
    return numbers


def by_cdist(predicted: Tensor, codes: Tensor) -> Tensor:
    """The nearest of all cells and void, by the distances themselves."""
    codes = torch.cat((codes, torch.zeros_like(codes[:1])))
    found = [torch.cdist(part.T, codes).argmin(1) for part in predicted.split(BRUTE_BLOCK * 8, dim=1)]
    numbers = torch.cat(found).int()
    return torch.where(numbers == GRID**2, VOID, numbers)


def made_up_maps(size: tuple[int, int], noise: float, device: str) -> tuple[Tensor, Tensor]:
    """(16, h, w) and (133, h, w) of a chequerboard with instances in two squares of three; smooth noise is added."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.arange(side) // 48 for side in size)
    squares = rows[:, None] * 16 + columns
    centres = torch.rand(squares.max() + 1, 2, generator=generator) * 1.9 - 0.95
    inside = squares % 3 != 0
    instance = PositionalEncoding(frequencies=FREQUENCIES).targets(
        centres[squares].permute(2, 0, 1)[None], inside[None]
    )[0]
    classes = torch.where(inside, squares % THINGS, THINGS + squares % (CLASSES - THINGS))
    semantic = 5.0 * F.one_hot(classes, CLASSES).permute(2, 0, 1).float().contiguous()
    maps = []
    for values in (instance, semantic):
        coarse = torch.randn(1, len(values), size[0] // 8, size[1] // 8, generator=generator)
        maps.append((values + noise * F.interpolate(coarse, size=size, mode="bilinear")[0]).to(device))
    return maps[0], maps[1]


def random_maps(size: tuple[int, int], device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    instance, semantic = (torch.randn(n, *size, generator=generator) for n in (4 * FREQUENCIES, CLASSES))
    return instance.to(device), semantic.to(device)


def measure_search(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each way to decode the same map."""
    predicted = made_up_maps((SIDE, SIDE), 0.3, options.device)[0].flatten(1)
    codes, encoding = codes_of_cells(options.device), PositionalEncoding((GRID, GRID), FREQUENCIES)
    ways: dict[str, tuple[Callable[[], Tensor], int]] = {
        "rows, then columns": (lambda: decode_pixels(predicted, encoding).numbers, options.repeats),
        "every cell, matrix products": (partial(by_products, predicted, codes), 2),
        "every cell, torch.cdist": (partial(by_cdist, predicted, codes), 1),
    }
    source = torch.ones(COPY // 4, device=options.device)
    floor = BYTES_OF_PIXEL * SIDE**2 / (COPY / seconds(source.sum, options))
    rows: list[dict[str, Any]] = []
    for name, (way, repeats) in ways.items():
        found, taken = way(), seconds(way, options, repeats)
        rows.append(
            {
                "way": name,
                "seconds": taken,
                "ratio": taken / (rows[0]["seconds"] if rows else taken),
                "floor": floor,
                "differ": int((found != rows[0]["found"]).sum()) if rows else 0,
                "found": found,
            }
        )
        print(f"{name}: {taken:.4f} s", file=sys.stderr, flush=True)
    return [{key: value for key, value in row.items() if key != "found"} for row in rows]


def measure_grouping(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each pair of maps."""
    settings, is_thing = PanopticSettings(), np.arange(CLASSES) < THINGS
    cases = {
        "made-up scene": (made_up_maps(PHOTO_MAP, 0.0, options.device), PHOTO),
        "the same with noise": (made_up_maps(PHOTO_MAP, 0.3, options.device), PHOTO),
        "nothing but noise": (random_maps(PHOTO_MAP, options.device), PHOTO),
        "the noisy scene, 24 megapixels": (made_up_maps((320, 480), 0.3, options.device), LARGE_PHOTO),
    }
    rows = []
    for name, ((instance, semantic), size) in cases.items():
        work = partial(group_panoptic, instance, semantic, is_thing, settings, size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        segments = len(work().scores)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        taken = seconds(work, options, options.repeats if segments < 1000 and size == PHOTO else 1)
        rows.append({"maps": name, "size": size, "seconds": taken, "segments": segments, "memory": grown / 2**10})
        print(f"{name}: {taken:.4f} s", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument("--repeats", type=int, default=7, help="default: 7")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    search, grouping = measure_search(options), measure_grouping(options)
    search_cells = [
        (r["way"], f"{1000 * r['seconds']:.1f}", r["ratio"], r["differ"], f"{r['seconds'] / r['floor']:.1f}")
        for r in search
    ]
    grouping_cells = [
        (r["maps"], "{1} x {0}".format(*r["size"]), f"{r['seconds']:.3f}", r["segments"], f"{r['memory']:.0f}")
        for r in grouping
    ]
    slowest = max(row["seconds"] for row in grouping[:2])
    notes = [
        f"device {options.device}, {options.threads} threads, the shortest of up to {options.repeats} runs",
        f"goal: {GOAL_RATIO} times faster than looking at every cell; it is {search[1]['ratio']:.0f} times",
        f"floor: {1000 * search[0]['floor']:.2f} ms for {BYTES_OF_PIXEL} bytes a pixel",
        f"goal: {GOAL_SECONDS:g} s for a photo of 640 x 480; it takes {slowest:.3f} s",
        f"{CLASSES} classes, maps of 480 x 360 (480 x 320 for the large photo); memory is what the process grew by",
    ]
    name = "panoptic_decoding" if options.device == "cpu" else f"panoptic_decoding_{options.device.partition(':')[0]}"
    write_report(
        options.output,
        name,
        "Decoding and grouping of panoptic maps",
        [
            f"## The nearest of {GRID} x {GRID} cells, {SIDE} x {SIDE} pixels",
            markdown_table(("way", "ms", "this / upseg's", "cells that differ", "this / floor"), search_cells),
            "## From maps to segments",
            markdown_table(("maps", "image", "seconds", "segments", "memory (MiB)"), grouping_cells),
        ],
        {"search": search, "grouping": grouping},
        notes,
    )


if __name__ == "__main__":
    main()
