"""Is a photo too large for memory segmented in blocks as it is in one piece, in how much memory, and how fast?

Photos of BSDS500 (or any folder) are enlarged and set side by side, drawn block by block into tiled TIFFs. Every run of
`upseg segment` is a process of its own; memory is the most that it had in main memory at once. One run of the largest
is killed (SIGKILL) and run again.

    python benchmarks/large_photos.py FOLDER [--megapixels 24 100 400] [--whole 24] [--model dynaseg] [--memory 4GB]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from harness.report import markdown_table, write_report
from slides import BENCHMARKS, TILE, labels_of, run, run_with_a_kill

ACROSS = 4  # photos a side
HEADINGS = (
    "MP", "segments", "s of CPU", "s per MP", "GB", "GB, one piece", "pixels equal (%)", "borders at seams / near them",
    "s after the kill",
)  # fmt: skip


@cache
def photo(path: Path) -> Any:
    from PIL import Image

    return Image.open(path).convert("RGB")


def draw(photos: Sequence[Path], side: int, top: int, left: int, shape: tuple[int, int]) -> np.ndarray:
    """A region of the picture, with a little noise, RGB, 8 bits."""
    image, each = np.zeros((*shape, 3), np.float32), math.ceil(side / ACROSS)
    for row in range(top // each, (top + shape[0] - 1) // each + 1):
        for column in range(left // each, (left + shape[1] - 1) // each + 1):
            source = photo(photos[(row * ACROSS + column) % len(photos)])
            inner = [(max(top, row * each), min(top + shape[0], (row + 1) * each)),
                     (max(left, column * each), min(left + shape[1], (column + 1) * each))]  # fmt: skip
            # with a rim: an enlarged part sees nothing beyond its own edges
            rim = math.ceil(4 * each / min(source.size))
            (first, stop), (start, end) = (
                (max(a - rim, n * each), min(b + rim, (n + 1) * each))
                for (a, b), n in zip(inner, (row, column), strict=True)
            )
            x, y = source.width / each, source.height / each
            box = ((start - column * each) * x, (first - row * each) * y,
                   (end - column * each) * x, (stop - row * each) * y)  # fmt: skip
            part = np.asarray(source.resize((end - start, stop - first), 3, box))
            (above, below), (before, behind) = inner
            part = part[above - first : below - first, before - start : behind - start]
            image[above - top : below - top, before - left : behind - left] = part
    noise = np.random.default_rng((top, left)).normal(0, 3, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def write_photo(path: Path, photos: Sequence[Path], side: int) -> None:
    import tifffile

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, side, TILE):
            for left in range(0, side, TILE):
                yield draw(photos, side, top, left, (min(TILE, side - top), min(TILE, side - left)))

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(
            tiles(), shape=(side, side, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="rgb", compression="zlib"
        )


def equal_pixels(whole: Path, blocks: Path, counts: tuple[int, int]) -> float:
    """The share of pixels in the segment of the other map with which their own shares most."""
    table = np.zeros((counts[0] + 1) * (counts[1] + 1), np.int64)
    for (_, first), (_, second) in zip(labels_of(whole), labels_of(blocks), strict=True):
        table += np.bincount((first * (counts[1] + 1) + second).ravel(), minlength=len(table))
    shared = table.reshape(counts[0] + 1, -1)
    mutual = shared * (shared == shared.max(0)) * (shared == shared.max(1)[:, None])
    return float(mutual.sum() / shared.sum())


def borders_at_seams(path: Path, block: int) -> float:
    """How many neighbouring rows' pixels differ where blocks meet, by how many do within 32 rows of there."""
    differ: list[float] = []
    last = None
    for _, labels in labels_of(path):
        stretch = labels if last is None else np.concatenate([last, labels])
        differ += (stretch[1:] != stretch[:-1]).mean(1).tolist()
        last = labels[-1:]
    rows = np.array(differ)
    at = np.arange(block - 1, len(rows), block)
    near = np.unique((at[:, None] + np.delete(np.arange(-32, 33), 32)).clip(0, len(rows) - 1))
    return float(rows[at].mean() / max(rows[near].mean(), 1e-12))


def measure(megapixels: float, photos: Sequence[Path], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    side = round(math.sqrt(megapixels * 1e6))
    path = folder / "photo.tif"
    write_photo(path, photos, side)
    row: dict[str, Any] = {"megapixels": megapixels, "blocks": run(path, folder / "blocks", options, in_blocks=True)}
    result = folder / "blocks" / path.name
    row["seams"] = borders_at_seams(result, options.block) if side > options.block else None
    print(json.dumps(row), file=sys.stderr, flush=True)
    if megapixels <= options.whole:
        row["whole"] = run(path, folder / "whole", options, in_blocks=False)
        counts = row["whole"]["segments"], row["blocks"]["segments"]
        row["equal"] = equal_pixels(folder / "whole" / path.name, result, counts)
    if megapixels <= options.killed:
        row["killed"] = run_with_a_kill(path, folder / "killed", options, row["blocks"]["seconds"] / 2)
        row["same"] = (folder / "killed" / path.name).read_bytes() == result.read_bytes()
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def cells(row: dict[str, Any]) -> list[object]:
    blocks, whole, killed = row["blocks"], row.get("whole"), row.get("killed")
    seams = row["seams"]
    return [
        f"{row['megapixels']:g}", blocks["segments"], f"{blocks['cpu']:.0f}",
        f"{blocks['cpu'] / row['megapixels']:.2f}", f"{blocks['bytes'] / 1e9:.2f}",
        None if whole is None else f"{whole['bytes'] / 1e9:.2f}",
        None if whole is None else f"{100 * row['equal']:.3f}", None if seams is None else f"{seams:.2f}",
        None if killed is None else f"{killed['cpu']:.0f}, {'same' if row['same'] else 'OTHER'} file",
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with photos, at any depth")
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="reports (.json) of other sizes")
    parser.add_argument("--megapixels", type=float, nargs="*", default=[24, 100, 400])
    parser.add_argument("--whole", type=float, default=24, help="megapixels of the largest also run in one piece")
    parser.add_argument("--killed", type=float, default=24, help="megapixels of the largest also killed and run again")
    parser.add_argument("--model", default="dynaseg")
    parser.add_argument("--memory", default="4GB", help="as upseg segment takes it")
    parser.add_argument("--block", type=int, default=3072, help="side of the blocks that this memory leads to")
    parser.add_argument("--set", nargs="*", default=[], help="further settings of the model, KEY=VALUE")
    parser.add_argument("--output", type=Path, default=BENCHMARKS / "results", help="default: benchmarks/results")
    options = parser.parse_args(arguments)
    photos = sorted(options.folder.rglob("*.jpg"))[:: max(1, len(list(options.folder.rglob("*.jpg"))) // ACROSS**2)]
    rows = [row for path in options.add for row in json.loads(path.read_text())["rows"]]
    for megapixels in options.megapixels:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(megapixels, photos, Path(folder), options))
    notes = [
        f"`upseg segment -m {options.model} --memory {options.memory} {' '.join(options.set)}`",
        f"{ACROSS**2} photos enlarged and set side by side, with noise of 3 levels of 255",
        "pixels equal: in one piece and in blocks in segments that share most with each other",
        "borders at seams: vertical neighbours in different segments where blocks meet, by those within 32 rows",
        "s of CPU: one thread, from start-up to the label TIFF",
    ]
    table = markdown_table(HEADINGS, map(cells, rows))
    write_report(options.output, "large_photos", "Photos in blocks", [table], {"rows": rows}, notes)


if __name__ == "__main__":
    main()
