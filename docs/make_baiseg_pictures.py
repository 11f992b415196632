"""Makes baiseg-stages.png, the stages from a boundary map to instances: `python docs/make_baiseg_pictures.py`.

The boundary map is drawn, not predicted: circles of one class that touch, with the faults that real maps have. Between
touching circles the line is weak and has gaps, and there is noise.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from upseg import Segmentation
from upseg.formats import side_by_side
from upseg.methods.baiseg import BaisegSettings
from upseg.methods.baiseg.extraction import extract

PICTURE = Path(__file__).parent / "_static" / "baiseg-stages.png"
CIRCLES = ((34, 34, 24), (34, 81, 24), (75, 58, 24), (92, 104, 13))
"""Row, column and radius in pixels."""
SIZE = (112, 128)
GAPS = ((30, 37), (64, 70))
"""Columns in which the lines between circles are missing."""
DRAWN = BaisegSettings(boundary_threshold=0.3, dilations=2, marker_ratio=0.6)
"""The map is drawn, and its lines have gaps."""
ENLARGED = 2
COLUMNS = 4


def drawn_scene() -> tuple[np.ndarray, np.ndarray]:
    """The boundary map and the class map: 1 in circles, 0 for the background."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    depths = np.stack([radius - np.hypot(rows - row, columns - column) for row, column, radius in CIRCLES])
    nearest = np.where(depths.max(axis=0) > 0, depths.argmax(axis=0) + 1, 0)
    contour = (nearest > 0) != ndimage.binary_erosion(nearest > 0)
    between = (ndimage.grey_dilation(nearest, 3) != nearest) & (nearest > 0) & ~contour
    for first, last in GAPS:
        between[:, first:last] = False
    strength = ndimage.gaussian_filter(contour * 2.2 + between * 0.9, 1.1)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 0.35, SIZE), 1.5)
    return np.clip(strength + noise, 0, 1).astype(np.float32), (nearest > 0).astype(np.int64)


def grey(values: np.ndarray) -> np.ndarray:
    """A map as a picture, its largest value white."""
    scaled = np.rint(values.astype(float) / max(float(values.max()), 1e-9) * 255).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=2)


def coloured(labels: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Segments over the boundary map."""
    return Segmentation.from_labels(labels).overlay(grey(behind))


def main() -> None:
    """Draw the picture."""
    boundary, classes = drawn_scene()
    stages: dict[str, np.ndarray] = {}
    extract(boundary, classes, np.array([False, True]), DRAWN, stages=stages)
    pictures = {"boundary": grey(boundary)}
    for name, values in stages.items():
        is_map = name in ("thinned", "dilated", "distance")
        pictures[name] = grey(values) if is_map else coloured(values, boundary)
    large = {name: np.kron(p, np.ones((ENLARGED, ENLARGED, 1), np.uint8)) for name, p in pictures.items()}
    names = list(large)
    rows = [names[start : start + COLUMNS] for start in range(0, len(names), COLUMNS)]
    drawn = [side_by_side([large[name] for name in row], row) for row in rows]
    image = Image.fromarray(np.concatenate([row for row in drawn if row.shape == drawn[0].shape]))
    buffer = BytesIO()
    image.quantize(128).save(buffer, "PNG", optimize=True)
    PICTURE.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
