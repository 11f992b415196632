"""Files between `nuclei_peers.py` and the tools of others, each in an environment of its own: needs NumPy and Pillow.

FOLDER/train/{images,labels}/NAME.png are 8-bit RGB and 16-bit label maps; FOLDER/test/SET/NAME.png are to be segmented,
into FOLDER/found/TOOL/SET/NAME.png; FOLDER/found/TOOL/cost.json has what that took.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def options(tool: str) -> argparse.Namespace:
    """What every tool's script is asked: to train for some minutes, or to segment with what it trained."""
    parser = argparse.ArgumentParser(description=f"{tool}, for nuclei_peers.py")
    parser.add_argument("action", choices=("train", "segment"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=8)
    return parser.parse_args()


def training_images(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The (H, W, 3) uint8 images and their (H, W) label maps."""
    paths = sorted((folder / "train" / "images").glob("*.png"))
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return images, [np.asarray(Image.open(folder / "train" / "labels" / p.name)).astype(np.int32) for p in paths]


def segment_all(folder: Path, tool: str, segment: Callable[[np.ndarray], np.ndarray]) -> None:
    """Segment every test image, one after the other; the seconds of each and the peak of memory are written too."""
    before, seconds = _peak(), {}
    paths = sorted((folder / "test").glob("*/*.png"))
    segment(np.asarray(Image.open(paths[0]).convert("RGB")))  # what is loaded or compiled once does not count
    for path in paths:
        image = np.asarray(Image.open(path).convert("RGB"))
        start = time.perf_counter()
        labels = segment(image)
        seconds[f"{path.parent.name}/{path.stem}"] = time.perf_counter() - start
        target = folder / "found" / tool / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels.astype(np.uint16)).save(target)
    cost = {"seconds": seconds, "peak_mb": _peak(), "peak_mb_before": before}
    (folder / "found" / tool / "cost.json").write_text(json.dumps(cost))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
