"""Draws `_static/shapes.png`: thirty made-up scenes, easy ones above, hard ones below.

Right of each row are the segments and the depth of its last scene.

    python docs/make_shape_pictures.py [--seed 5] [-o docs/_static/shapes.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from upseg.data.sample import Sample
from upseg.data.shapes import draw_scene
from upseg.data.shapes.layout import FARTHEST, NEAREST

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
COLUMNS = 6
SIDE = 96
GAP = 3


def to_rgb(image: np.ndarray) -> np.ndarray:
    return np.rint(image * 255).astype(np.uint8)


def truth(scene: Sample) -> list[np.ndarray]:
    """The segments in colour, and the depth: near is bright."""
    depth = (FARTHEST - scene.depth) / (FARTHEST - NEAREST)
    return [scene.to_segmentation().overlay(scene.image, alpha=1.0), to_rgb(np.repeat(depth[..., None], 3, axis=2))]


def row(level: float, seed: int) -> np.ndarray:
    scenes = [draw_scene((seed, round(100 * level), k), (SIDE, SIDE), level) for k in range(COLUMNS)]
    pictures = [*(to_rgb(scene.image) for scene in scenes), *truth(scenes[-1])]
    return np.concatenate([np.pad(p, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for p in pictures], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "_static" / "shapes.png")
    options = parser.parse_args()
    picture = np.concatenate([row(level, options.seed) for level in LEVELS], axis=0)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    # 32 tones of each colour: noise hardly compresses, and the file is kept with the source
    Image.fromarray(np.rint((picture >> 3) * (255 / 31)).astype(np.uint8)).save(options.output, optimize=True)
    print(f"{options.output}: {options.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
