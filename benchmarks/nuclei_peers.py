"""Nuclei: upseg beside StarDist, Cellpose's network and Mask R-CNN, trained on the same images for the same minutes.

Each tool runs in an environment of its own (`--stardist`, `--cellpose`: the Python of each; what to install stands in
`peers/`), one after the other, with the same number of threads. They train on the images of the 2018 Data Science Bowl
that `entity/nuclei` trains on, and then segment its validation images, images of other sources, and scikit-image's own
images, of which only the number of objects is known.

    UPSEG_DATA=... OMP_NUM_THREADS=1 python benchmarks/nuclei_peers.py --stardist PYTHON --cellpose PYTHON [--minutes 8]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from harness.report import markdown_table, write_report
from nuclei import SHARE, otsu_watershed
from nuclei_elsewhere import CHANGES, skimage_images
from PIL import Image
from tqdm import tqdm

from upseg.data.holdout import HashedPart
from upseg.data.sample import Sample
from upseg.data.sources import open_dataset
from upseg.metrics.cell_matching import CellMatching

RESULTS = Path(__file__).resolve().parent / "results"
PEERS = Path(__file__).resolve().parent / "peers"
HEADINGS = ("tool", "minutes of training", "AP50", "AP75", "seconds per image", "peak MB")
OWN = ("upseg cells", "upseg cells from nothing", "Mask R-CNN")
OTHER_SETS = ("twice as large", "half as large", "negatives", "with noise", "blurred")
PER_SET = 30
Truth = dict[str, dict[str, np.ndarray]]
"""Of each test set, of each image, the (H, W) label map."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="with dsb2018/ and bbbc039-train/; default: $UPSEG_DATA")
    parser.add_argument("--minutes", type=float, default=8, help="of training, for each; default: 8")
    parser.add_argument("--stardist", help="the Python of StarDist's environment; without it, left out")
    parser.add_argument("--cellpose", help="the Python of Cellpose's environment; without it, left out")
    parser.add_argument("--work", type=Path, help="folder for models and images, kept; default: a temporary one")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    if not (options.data or os.environ.get("UPSEG_DATA")):
        sys.exit("expected a folder with dsb2018/, got none: give --data FOLDER or set UPSEG_DATA")
    data = options.data or Path(os.environ["UPSEG_DATA"])
    with tempfile.TemporaryDirectory() as temporary:
        compare(data, options.work or Path(temporary), options)


def compare(data: Path, work: Path, options: argparse.Namespace) -> None:
    truth = write_images(data, work)
    commands = {tool: (sys.executable, str(PEERS / "upseg_peer.py"), tool) for tool in OWN}
    for tool, python, script in (
        ("StarDist", options.stardist, "stardist_peer.py"),
        ("Cellpose", options.cellpose, "cellpose_peer.py"),
    ):
        if python:
            commands[tool] = (python, str(PEERS / script))
    rows: dict[str, list[list[object]]] = {name: [] for name in truth}
    counted: list[list[object]] = []
    for tool, command in {**commands, "Otsu + watershed": ()}.items():
        minutes = run_tool(tool, command, work, options.minutes)
        cost = json.loads((work / "found" / tool / "cost.json").read_text())
        for name, maps in truth.items():
            rows[name].append([tool, minutes, *scores(maps, work / "found" / tool / name), *costs(cost, name)])
        counted.append([tool, *(len(np.unique(read(path))) - 1 for path in sorted_counts(work, tool))])
    tables = [
        f"### {name}: {len(maps)} images\n\n{markdown_table(HEADINGS, rows[name])}" for name, maps in truth.items()
    ]
    names = [path.stem for path in sorted_counts(work, "Otsu + watershed")]
    tables.append("### Objects found in scikit-image's images\n\n" + markdown_table(("tool", *names), counted))
    title = f"Nuclei: tools side by side, {options.minutes:g} minutes of training each"
    write_report(options.output, "nuclei_peers", title, tables, {"rows": rows, "counts": counted}, [])


def write_images(data: Path, work: Path) -> Truth:
    """The training images and every test set, as PNG; what is annotated in the latter."""
    whole = open_dataset("folder", data / "dsb2018")
    for sample in HashedPart(whole, "train", SHARE):
        save(work / "train" / "images" / f"{sample.name}.png", as_bytes(sample.image))
        save(work / "train" / "labels" / f"{sample.name}.png", sample.segment_map.astype(np.uint16))
    (work / "train" / "index.csv").write_bytes((data / "dsb2018" / "index.csv").read_bytes())
    truth: Truth = {}
    for name, samples in test_sets(data):
        for sample in samples:
            save(work / "test" / name / f"{sample.name}.png", as_bytes(sample.image))
        truth[name] = {sample.name: sample.segment_map for sample in samples}
    for name, pixels in skimage_images():
        save(work / "test" / "counts" / f"{name}.png", as_bytes(pixels))
    return truth


def test_sets(data: Path) -> Iterator[tuple[str, list[Sample]]]:
    held = list(HashedPart(open_dataset("folder", data / "dsb2018"), "validation", SHARE))
    yield "held-out images of DSB2018", held
    for change in OTHER_SETS:
        changed = [CHANGES[change](s.image, s.segment_map) for s in held[:PER_SET]]
        yield change, [Sample.from_labels(*pair, name=s.name) for pair, s in zip(changed, held[:PER_SET], strict=True)]
    yield "BBBC039", list(open_dataset("folder", data / "bbbc039-train"))


def run_tool(tool: str, command: tuple[str, ...], work: Path, minutes: float) -> str:
    """Train and segment with a tool, unless both are done; the minutes that training took, as text."""
    taken = work / "found" / tool / "minutes.txt"
    if not command:
        segment_untrained(work, tool)
        return "0"
    if not taken.is_file():
        start = time.perf_counter()
        print(tool, file=sys.stderr, flush=True)
        subprocess.run([*command, "train", str(work), "--minutes", str(minutes)], check=True, stdout=sys.stderr)
        spent = (time.perf_counter() - start) / 60
        subprocess.run([*command, "segment", str(work)], check=True, stdout=sys.stderr)
        taken.write_text(f"{spent:.1f}")
    return taken.read_text()


def segment_untrained(work: Path, tool: str) -> None:
    sys.path.insert(0, str(PEERS))
    from exchange import segment_all

    segment_all(work, tool, lambda image: otsu_watershed(image.astype(np.float32) / 255))


def scores(truth: Mapping[str, np.ndarray], found: Path) -> list[str]:
    metric = CellMatching()
    for name, labels in tqdm(truth.items(), found.name, leave=False):
        metric.update(labels, read(found / f"{name}.png"))
    values = metric.compute()
    return [f"{values['ap50']:.3f}", f"{values['ap75']:.3f}"]


def costs(cost: Mapping[str, object], name: str) -> list[str]:
    seconds = [value for key, value in cost["seconds"].items() if key.startswith(f"{name}/")]  # type: ignore[attr-defined]
    return [f"{np.median(seconds):.2f}", f"{cost['peak_mb']:.0f}"]


def sorted_counts(work: Path, tool: str) -> list[Path]:
    return sorted((work / "found" / tool / "counts").glob("*.png"))


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(np.int32)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def as_bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
