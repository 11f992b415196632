"""How fast annotation of COCO's size opens, and how much memory it takes: in one process, and in each worker.

    python benchmarks/coco_startup.py [--images 118287] [--annotations 860001] [--workers 2] [--keep FILE]

Draws an instances file of the size of COCO's `instances_train2017.json` (about half a gigabyte: polygons of the usual
length, the images' addresses and all) and opens it with upseg and with `json.load`, which is where other readers
begin. Each is measured in a process of its own: processor time, and how much more memory is resident at the peak and
afterwards than before. Workers are started afresh (spawn) and get the open data set pickled, as a DataLoader's
workers do; their time is until the first sample. The table goes to `benchmarks/results` as well.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from harness.report import markdown_table, write_report
from PIL import Image

RESULTS = Path(__file__).parent / "results"
HEIGHT, WIDTH, CATEGORIES = 480, 640, 80
POLYGONS = 500  # different ones; a file of COCO's has that many in the first 70 images
CORNERS = (8, 60)
SAMPLES = 200  # read to find the time that one takes
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Figures:
    """What one process measured: processor seconds, and bytes of resident memory on top of what it began with."""

    seconds: float
    peak: int
    resident: int
    detail: str = ""


def write_annotations(file: TextIO, images: int, annotations: int) -> None:
    """Write an instances file row by row."""
    rng = np.random.default_rng(0)
    file.write('{"info": {"description": "drawn"}, "licenses": [{"id": 1}], "images": [')
    for number in range(images):
        name = f"{number:012d}.jpg"
        row = {
            "license": 3,
            "file_name": name,
            "coco_url": f"http://images.cocodataset.org/train2017/{name}",
            "height": HEIGHT,
            "width": WIDTH,
            "date_captured": "2013-11-14 11:18:45",
            "flickr_url": f"http://farm9.staticflickr.com/8186/{number}_4e622c8349_z.jpg",
            "id": number,
        }
        file.write((", " if number else "") + json.dumps(row))
    file.write('], "annotations": [')
    polygons = [json.dumps([draw_polygon(rng)]) for _ in range(POLYGONS)]
    owners = rng.integers(0, images, annotations).tolist()
    classes = rng.integers(1, CATEGORIES + 1, annotations).tolist()
    for number, (owner, category) in enumerate(zip(owners, classes, strict=True)):
        file.write(
            f'{", " if number else ""}{{"segmentation": {polygons[number % POLYGONS]}, "area": 702.1057499999998, '
            f'"iscrowd": 0, "image_id": {owner}, "bbox": [473.07, 395.93, 38.65, 28.67], "category_id": {category}, '
            f'"id": {number}}}'
        )
    table = [{"supercategory": "thing", "id": n, "name": f"class {n}"} for n in range(1, CATEGORIES + 1)]
    file.write(f'], "categories": {json.dumps(table)}}}')


def draw_polygon(rng: np.random.Generator) -> list[float]:
    """A star-shaped polygon, as x0, y0, x1, y1, ..."""
    corners = int(rng.integers(*CORNERS))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(0.5, 1, corners) * rng.uniform(5, 120)
    x = np.clip(rng.uniform(0, WIDTH) + radii * np.cos(angles), 0, WIDTH)
    y = np.clip(rng.uniform(0, HEIGHT) + radii * np.sin(angles), 0, HEIGHT)
    return [round(value, 2) for pair in zip(x.tolist(), y.tolist(), strict=True) for value in pair]


def resident(what: str) -> int:
    """Bytes of resident memory of this process, now (VmRSS) or at the highest so far (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise OSError(f"this system does not tell {what}")


def measured(work: Callable[[], tuple[object, str]]) -> Figures:
    """Do some work and measure it; what it returns stays in memory meanwhile."""
    before, start = resident("VmRSS"), time.process_time()
    kept, detail = work()
    figures = Figures(time.process_time() - start, resident("VmHWM") - before, resident("VmRSS") - before, detail)
    del kept
    return figures


def open_with_upseg(root: Path) -> Figures:
    from upseg.data.sources import open_dataset
    from upseg.data.sources.coco_layouts import CocoInstances  # imported before the clock runs

    assert CocoInstances.__name__

    def work() -> tuple[object, str]:
        dataset = open_dataset("coco-instances", root, split="train")
        return dataset, f"{len(pickle.dumps(dataset)) / MEGABYTE:.0f} MB pickled"

    return measured(work)


def parse_with_json(root: Path) -> Figures:
    def work() -> tuple[object, str]:
        with (root / "annotations" / "instances_train2017.json").open() as file:
            return json.load(file), ""

    return measured(work)


def start_worker(root: Path) -> Figures:
    """What a worker of a DataLoader does first; the pickled data set lies in a file, as if it came through a pipe."""
    from upseg.data.sources.coco_layouts import CocoInstances

    assert CocoInstances.__name__

    def work() -> tuple[object, str]:
        dataset = pickle.loads((root / "dataset.pickle").read_bytes())
        dataset.load(0)
        return dataset, ""

    return measured(work)


def read_samples(root: Path) -> Figures:
    """The time that ground truth takes, images not decoded."""
    dataset: Any = pickle.loads((root / "dataset.pickle").read_bytes())
    chosen = np.random.default_rng(0).permutation(len(dataset))[:SAMPLES].tolist()
    (root / "train2017").mkdir(exist_ok=True)
    names = dataset.names
    for index in chosen:
        draw_image(root / "train2017" / f"{names[index]}.jpg")

    def work() -> tuple[object, str]:
        for index in chosen:
            dataset.load(index)
        return None, ""

    figures = measured(work)
    seconds = figures.seconds / SAMPLES
    return Figures(seconds, figures.peak, figures.resident, f"{1 / seconds:.0f}/s")


def draw_image(path: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)


def run(function: Callable[[Path], Figures], root: Path) -> Figures:
    """Call a function in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, (root,))


def prepare(root: Path, images: int, annotations: int, keep: Path | None) -> Path:
    """The annotation file, drawn unless it is kept from an earlier run, and one image."""
    path = root / "annotations" / "instances_train2017.json"
    path.parent.mkdir(parents=True)
    (root / "train2017").mkdir()
    draw_image(root / "train2017" / "000000000000.jpg")
    if keep is not None and keep.is_file():
        path.symlink_to(keep.resolve())
        return path
    target = keep or path
    with target.open("w") as file:
        write_annotations(file, images, annotations)
    if keep is not None:
        path.symlink_to(keep.resolve())
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--annotations", type=int, default=860_001)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    parser.add_argument("--keep", type=Path, help="keep the drawn file here, and use it if it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = prepare(root, options.images, options.annotations, options.keep).stat().st_size
        figures = {"open_dataset": run(open_with_upseg, root), "json.load": run(parse_with_json, root)}
        (root / "dataset.pickle").write_bytes(pickled(root))
        with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
            started = pool.map(start_worker, [root] * options.workers, chunksize=1)
        figures |= {f"worker {number}, first sample": found for number, found in enumerate(started, start=1)}
        figures["ground truth of one sample"] = run(read_samples, root)
    report(figures, options.images, size, options.output)
    return 0


def pickled(root: Path) -> bytes:
    from upseg.data.sources import open_dataset

    return pickle.dumps(open_dataset("coco-instances", root, split="train"))


def report(figures: dict[str, Figures], images: int, size: int, output: Path) -> None:
    ours, theirs = figures["open_dataset"], figures["json.load"]
    rows: list[list[object]] = [
        [name, f"{f.seconds:.3f}", f"{f.peak / MEGABYTE:.0f}", f"{f.resident / MEGABYTE:.0f}", f.detail]
        for name, f in figures.items()
    ]
    ratios = (theirs.seconds / ours.seconds, theirs.peak / ours.peak, theirs.resident / ours.resident)
    rows.append(["json.load / open_dataset", *(f"{ratio:.0f}" for ratio in ratios), ""])
    table = markdown_table(("", "processor s", "peak MB", "resident MB", "remarks"), rows)
    write_report(
        output,
        "coco_startup",
        f"Opening annotation of COCO's size: {images:,} images, {size / 1e6:.0f} MB of JSON",
        [table],
        {"images": images, "bytes": size, "figures": {name: asdict(f) for name, f in figures.items()}},
        ["megabytes: resident memory on top of what the process had after its imports"],
    )


if __name__ == "__main__":
    sys.exit(main())
