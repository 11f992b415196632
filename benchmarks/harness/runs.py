"""Running methods over the images of BSDS500: several processes, one cached result for each image, timings apart."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from upseg.data.sources.bsds500 import BSDS500
from upseg.metrics.accumulator import Accumulator

from .cache import Cache
from .methods import Method

Measure = Callable[[Method, np.ndarray, Sequence[np.ndarray]], Any]
RESULTS = Path(__file__).resolve().parents[1] / "results"
WARM_UP_SIDE = 64
"""Of the corner of an image that a method segments before it is timed, so that imports do not count."""


@dataclass(frozen=True)
class Photos:
    """The first images of one split."""

    dataset: BSDS500
    names: tuple[str, ...]

    def read(self, index: int) -> tuple[np.ndarray, Sequence[np.ndarray]]:
        """The (H, W, 3) image in [0, 1] and the (H, W) maps of its annotators."""
        sample = self.dataset[index]
        return sample.image, sample.annotations


def argument_parser(docstring: str | None, *, split: str, images: int | None = None) -> argparse.ArgumentParser:
    """The options that every script on BSDS500 has."""
    parser = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="BSDS500 or the folder above it; default: $UPSEG_DATA")
    parser.add_argument("--split", choices=("train", "val", "test"), default=split, help=f"default: {split}")
    parser.add_argument("--images", type=int, default=images, help=f"the first so many; default: {images or 'all'}")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each; default: 2")
    parser.add_argument("--timed", type=int, default=10, help="images to take seconds on, one process; default: 10")
    parser.add_argument("--threads", type=int, default=2, help="threads of that process; default: 2")
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="only these rows of the table, by their names")
    parser.add_argument("--fresh", action="store_true", help="compute everything anew, whatever is cached")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    parser.set_defaults(usual_images=images)
    return parser


def asked_for(methods: Sequence[Method], options: argparse.Namespace) -> list[Method]:
    """The methods that `--only` names, or all."""
    names = [method.name for method in methods]
    if unknown := set(options.only or ()) - set(names):
        sys.exit(f"--only takes {', '.join(names)}; got {', '.join(sorted(unknown))}")
    return [method for method in methods if not options.only or method.name in options.only]


def open_photos(options: argparse.Namespace) -> Photos:
    """The images that the options ask for."""
    named = options.data or os.environ.get("UPSEG_DATA")
    if not named:
        sys.exit("expected the folder of BSDS500, got none: give --data FOLDER or set UPSEG_DATA")
    root = Path(named)
    dataset = BSDS500(root / "bsds500" if (root / "bsds500").is_dir() else root, options.split)
    return Photos(dataset, tuple(dataset.names[: options.images]))


def report_name(name: str, photos: Photos, options: argparse.Namespace) -> str:
    """The name of a report's files: a trial on fewer images than usual does not overwrite the full report."""
    usual = options.usual_images or len(photos.dataset)
    return name if len(photos.names) == usual else f"{name}_{len(photos.names)}_images"


def measure_images(
    methods: Sequence[Method], measure: Measure, photos: Photos, options: argparse.Namespace
) -> list[list[Any]]:
    """For each method the results of all images, in their order; those in the cache are not computed again."""
    caches = [Cache(options.output, method, measure) for method in methods]
    todo = [
        (row, index)
        for row, cache in enumerate(caches)
        for index, name in enumerate(photos.names)
        if options.fresh or name not in cache
    ]
    total = len(methods) * len(photos.names)
    say(f"{len(methods)} methods on {len(photos.names)} images: {total - len(todo)} of {total} results are cached")
    if todo:
        work = partial(_measure_one, tuple(methods), measure, photos)
        with multiprocessing.get_context("spawn").Pool(options.workers, _one_thread) as pool:
            start = time.perf_counter()
            for done, (row, index, result) in enumerate(pool.imap_unordered(work, todo), start=1):
                caches[row].write(photos.names[index], result)
                left = (time.perf_counter() - start) / done * (len(todo) - done)
                say(f"{done}/{len(todo)}, about {left:.0f} s left: {methods[row].name}, {photos.names[index]}")
    return [[cache.read(name) for name in photos.names] for cache in caches]


def seconds_per_image(
    methods: Iterable[Method], photos: Photos, options: argparse.Namespace, limits: Mapping[str, int] | None = None
) -> list[list[float]]:
    """Seconds that each method takes for each of the first images, from pixels in memory to label map.

    One process with `--threads` threads (DynaSeg too, whatever its settings say) and nothing beside it; several
    methods take turns image by image, so that what else the machine does meets all of them.

    Args:
        methods: To be timed.
        photos: The images; the first `--timed` count.
        options: Of the script.
        limits: Fewer images for some methods, by name.
    """
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)
    rows = [_with_threads(method, options.threads) for method in methods]
    caches = [Cache(options.output, method, _time_one, f"{options.threads} threads") for method in rows]
    taken: list[list[float]] = [[] for _ in rows]
    warm: set[int] = set()
    for index, name in enumerate(photos.names[: options.timed]):
        image, _ = photos.read(index)
        for row, (method, cache) in enumerate(zip(rows, caches, strict=True)):
            if index >= (limits or {}).get(method.name, options.timed):
                continue
            if options.fresh or name not in cache:
                if row not in warm:
                    method.label_maps(image[:WARM_UP_SIDE, :WARM_UP_SIDE].copy())
                    warm.add(row)
                cache.write(name, _time_one(method, image))
            taken[row].append(cache.read(name))
            say(f"timed: {method.name}, {name}: {taken[row][-1]:.2f} s")
    return taken


def seconds_note(photos: Photos, options: argparse.Namespace) -> str:
    """What the reports say about `seconds_per_image`."""
    images = min(options.timed, len(photos.names))
    return f"seconds: median over {images} images, from pixels to label map; one process, {options.threads} threads"


def sums_of(metric: Accumulator) -> dict[str, Any]:
    """An accumulator's sums as JSON can hold them."""
    return {name: np.asarray(total).tolist() for name, total in metric.sums.items()}


def add_sums(metric: Accumulator, images: Iterable[Mapping[str, Any]]) -> None:
    """Add the sums of single images to an accumulator."""
    for sums in images:
        metric.add(**sums)


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def _one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


def _with_threads(method: Method, threads: int) -> Method:
    settings = method.settings
    return replace(method, settings={**settings, "threads": threads}) if "threads" in settings else method


def _measure_one(
    methods: Sequence[Method], measure: Measure, photos: Photos, item: tuple[int, int]
) -> tuple[int, int, Any]:
    row, index = item
    return row, index, measure(methods[row], *photos.read(index))


def _time_one(method: Method, image: np.ndarray) -> float:
    start = time.perf_counter()
    method.label_maps(image)
    return time.perf_counter() - start
