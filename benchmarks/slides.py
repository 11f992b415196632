"""Is a slide segmented in blocks as it is in one piece, in how much memory, and how long does a megapixel take?

Made-up slides of touching nuclei are drawn block by block into tiled TIFFs; where each nucleus is, is known. Every run
is a process of its own, from start-up to the label TIFF on disk; memory is the most that it had in main memory at once.
One run of each size is killed (SIGKILL) when a third of its time is over, and run again.

    python benchmarks/slides.py [--sizes 2000 5000] [--whole 5000] [--undisturbed 10000] [--memory 4GB] [--set tile=512]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# the parent imports nothing large: a new process counts the memory of the one it was started from as its own
from harness.report import markdown_table, write_report

TILE = 512
CELL = 36  # pixels: side of the squares that have one nucleus or none
DIAMETER = 18.0
BENCHMARKS = Path(__file__).resolve().parent
HEADINGS = (
    "side", "nuclei", "found", "at a seam", "s of CPU", "s per MP", "GB", "GB, one piece", "objects equal (%)",
    "s after the kill",
)  # fmt: skip


def nucleus(row: int, column: int) -> tuple[float, float, float, float, float] | None:
    """Centre, two radii and brightness of the nucleus of a square, if it has one; more of them where it is crowded."""
    rng = np.random.default_rng((row, column))
    crowded = 0.5 + 0.5 * np.sin(row / 9) * np.cos(column / 7)
    if rng.random() > 0.1 + 0.6 * crowded:
        return None
    y, x = (np.array((row, column)) + rng.uniform(0.2, 0.8, 2)) * CELL
    return float(y), float(x), *rng.uniform(7, 12, 2).tolist(), float(rng.uniform(0.5, 0.9))


def draw(top: int, left: int, shape: tuple[int, int]) -> np.ndarray:
    """A region of the endless slide, grey, 8 bits."""
    rows, columns = np.mgrid[top : top + shape[0], left : left + shape[1]].astype(np.float32)
    image = np.full(shape, 0.08, np.float32)
    for row in range(top // CELL - 1, (top + shape[0]) // CELL + 2):
        for column in range(left // CELL - 1, (left + shape[1]) // CELL + 2):
            found = nucleus(row, column) if row >= 0 and column >= 0 else None
            if found is None:
                continue
            y, x, tall, wide, bright = found
            near = (
                slice(max(0, int(y - top - 14)), max(0, int(y - top + 15))),
                slice(max(0, int(x - left - 14)), max(0, int(x - left + 15))),
            )
            inside = 1 - ((rows[near] - y) / tall) ** 2 - ((columns[near] - x) / wide) ** 2
            image[near] = np.maximum(image[near], bright * np.clip(3 * inside, 0, 1))
    noise = np.random.default_rng((top, left, 7)).normal(0, 0.02, shape)
    return (255 * np.clip(image + noise, 0, 1)).astype(np.uint8)


def write_slide(path: Path, side: int) -> None:
    import tifffile

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, side, TILE):
            for left in range(0, side, TILE):
                yield draw(top, left, (min(TILE, side - top), min(TILE, side - left)))

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(tiles(), shape=(side, side), dtype=np.uint8, tile=(TILE, TILE), photometric="minisblack")


def start(slide: Path, output: Path, options: argparse.Namespace, *, in_blocks: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "upseg", "segment", str(slide), "-o", str(output), "-m", options.model]
    command += ["-f", "tif"]
    command += ["--json", *(part for text in options.set for part in ("--set", text))]
    command += ["--memory", options.memory] if in_blocks else ["--max-pixels", "10000000000"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], started: float) -> dict[str, Any]:
    """Seconds by the clock and of the processor, bytes and number of segments of a run.

    Raises:
        RuntimeError: If it fails.
    """
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"a run ended with exit code {process.returncode}: {printed}")
    (image,) = json.loads(printed)["images"]
    used = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    took = {"seconds": time.perf_counter() - started, "cpu": usage.ru_utime + usage.ru_stime}
    return {**took, "bytes": used, "segments": image["segments"]}


def run(slide: Path, output: Path, options: argparse.Namespace, *, in_blocks: bool) -> dict[str, Any]:
    started = time.perf_counter()
    return finish(start(slide, output, options, in_blocks=in_blocks), started)


def run_with_a_kill(slide: Path, output: Path, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    process = start(slide, output, options, in_blocks=True)
    assert process.stdout is not None
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = -signal.SIGKILL
    process.stdout.close()
    resumed = run(slide, output, options, in_blocks=True)
    return {**resumed, "cpu_before": usage.ru_utime + usage.ru_stime}


def labels_of(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """A label TIFF in bands: the first row of each, and its pixels."""
    from upseg.images.regions import open_regions

    regions = open_regions(path)
    height, width = regions.levels[0]
    for top in range(0, height, TILE):
        yield top, regions.read(slice(top, min(top + TILE, height)), slice(0, width)).values[..., 0].astype(np.int64)


def equal_objects(whole: Path, blocks: Path, counts: tuple[int, int]) -> float:
    """The share of the objects of either run that are the same set of pixels in the other."""
    shared: dict[tuple[int, int], int] = {}
    areas = [np.zeros(count + 1, np.int64) for count in counts]
    for (_, first), (_, second) in zip(labels_of(whole), labels_of(blocks), strict=True):
        for number, labels in enumerate((first, second)):
            areas[number] += np.bincount(labels.ravel(), minlength=counts[number] + 1)
        pairs, sizes = np.unique(first * (counts[1] + 1) + second, return_counts=True)
        for pair, size in zip(pairs.tolist(), sizes.tolist(), strict=True):
            key = divmod(pair, counts[1] + 1)
            shared[key] = shared.get(key, 0) + size
    same = sum(a > 0 and b > 0 and size == areas[0][a] == areas[1][b] for (a, b), size in shared.items())
    return same / max(1, *counts)


def found_nuclei(path: Path, side: int, block: int) -> tuple[int, int, float | None]:
    """How many nuclei there are, how many centres have an object of their own, the share at seams by that elsewhere."""
    centres = [
        (int(found[0]), int(found[1]))
        for row in range(side // CELL + 1)
        for column in range(side // CELL + 1)
        if (found := nucleus(row, column)) and found[0] < side and found[1] < side
    ]
    places = np.array(centres)
    values = np.zeros(len(places), np.int64)
    for top, labels in labels_of(path):
        here = np.flatnonzero((places[:, 0] >= top) & (places[:, 0] < top + len(labels)))
        values[here] = labels[places[here, 0] - top, places[here, 1]]
    numbers, counts = np.unique(values, return_counts=True)
    alone = np.isin(values, numbers[(counts == 1) & (numbers > 0)])
    from_seam = np.abs((places + block // 2) % block - block // 2).min(1)
    seam = (from_seam < DIAMETER) & (places.min(1) > 2 * DIAMETER) & (places.max(1) < side - 2 * DIAMETER)
    share = float(alone[seam].mean() / max(alone[~seam].mean(), 1e-9)) if seam.any() else None  # one block: no seam
    return len(places), int(alone.sum()), share


def measure(side: int, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    slide = folder / f"slide-{side}.tif"
    write_slide(slide, side)
    row: dict[str, Any] = {"side": side}
    if undisturbed := side <= options.undisturbed:
        row["blocks"] = run(slide, folder / "blocks", options, in_blocks=True)
    seconds = row["blocks"]["seconds"] / 3 if undisturbed else options.kill_after * side**2 / 1e6
    row["killed"] = run_with_a_kill(slide, folder / "killed", options, seconds)
    results = [folder / name / slide.name for name in ("blocks", "killed", "whole")]
    row["same_after_kill"] = results[0].read_bytes() == results[1].read_bytes() if undisturbed else None
    row["nuclei"], row["found"], row["seam"] = found_nuclei(results[1], side, options.block)
    print(json.dumps(row), file=sys.stderr, flush=True)
    if side <= options.whole:
        row["whole"] = run(slide, folder / "whole", options, in_blocks=False)
        counts = row["whole"]["segments"], row["killed"]["segments"]
        row["equal"] = equal_objects(results[2], results[1], counts)
        print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def cells(row: dict[str, Any]) -> list[object]:
    whole, killed = row.get("whole"), row["killed"]
    same = {True: ", same file", False: ", OTHER file", None: ""}[row["same_after_kill"]]
    seconds, most = taken(row)
    return [
        str(row["side"]), row["nuclei"], killed["segments"],
        None if row["seam"] is None else f"{row['seam']:.3f}",
        f"{seconds:.0f}", f"{seconds / row['side'] ** 2 * 1e6:.2f}",
        f"{most / 1e9:.2f}", None if whole is None else f"{whole['bytes'] / 1e9:.2f}",
        None if whole is None else f"{100 * row['equal']:.3f}",
        f"{killed['cpu']:.0f}{same}",
    ]  # fmt: skip


def taken(row: dict[str, Any]) -> tuple[float, int]:
    """Seconds of the processor for a slide, those before and after the kill where there is no other run, and bytes."""
    killed = row["killed"]
    alone = row.get("blocks", {"cpu": killed["cpu_before"] + killed["cpu"], "bytes": 0})
    return alone["cpu"], max(alone["bytes"], killed["bytes"])


def draw_plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Time of a megapixel and memory over the size, both from nothing."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    megapixels = [row["side"] ** 2 / 1e6 for row in rows]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    seconds, gigabytes = zip(*((taken(row)[0], taken(row)[1] / 1e9) for row in rows), strict=True)
    panels = {
        "seconds of one core for a megapixel": [s / mp for s, mp in zip(seconds, megapixels, strict=True)],
        "most memory at once (GB)": list(gigabytes),
    }
    for axis, (label, values) in zip(axes, panels.items(), strict=True):
        axis.plot(megapixels, values, "o-", color="#0072b2", linewidth=2)
        axis.set(xscale="log", xlabel="image size (megapixels)", ylabel=label, ylim=(0, 1.3 * max(values)))
        axis.set_xticks(megapixels, [f"{value:g}" for value in megapixels])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[2000, 5000], help="sides in pixels")
    parser.add_argument("--whole", type=int, default=5000, help="largest side that is also run in one piece")
    parser.add_argument("--undisturbed", type=int, default=10_000, help="largest side also run without a kill")
    parser.add_argument("--kill-after", type=float, default=1.0, help="s per MP, of slides that are only run killed")
    parser.add_argument("--memory", default="4GB", help="as upseg segment takes it")
    parser.add_argument("--block", type=int, default=2048, help="side of the blocks that this memory leads to")
    parser.add_argument("--set", nargs="*", default=[], help="further settings of the model, KEY=VALUE")
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="reports (.json) of other sizes")
    parser.add_argument("--plot", type=Path, help="also draw time and memory over the size")
    parser.add_argument("--output", type=Path, default=BENCHMARKS / "results", help="default: benchmarks/results")
    options = parser.parse_args(arguments)
    options.model, options.set = "nuclei", [f"diameter={DIAMETER}", *options.set]
    rows = [row for path in options.add for row in json.loads(path.read_text())["rows"]]
    for side in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(side, Path(folder), options))
    notes = [
        f"`upseg segment -m nuclei --memory {options.memory}`, {' '.join(options.set)}",
        "objects equal: the same pixels as in one piece, of all objects of either run",
        "at a seam: share of nuclei there that are an object of their own, divided by that elsewhere",
        f"s of CPU: one thread; of slides above {options.undisturbed} pixels a side those before and after the kill",
        "s after the kill: of CPU, of the run that goes on after SIGKILL, in others at a third of the time",
    ]
    rows.sort(key=lambda row: row["side"])
    if options.plot:
        draw_plot(rows, options.plot)
    table = markdown_table(HEADINGS, map(cells, rows))
    write_report(options.output, "slides", "Slides in blocks and in one piece", [table], {"rows": rows}, notes)


if __name__ == "__main__":
    main()
