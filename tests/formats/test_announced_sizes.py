"""A small file that announces a large map takes memory in proportion to it: within 2 GiB for the largest allowed."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from upseg.errors import FormatError
from upseg.formats.metadata import LARGEST_MAP
from upseg.segmentation import Segmentation

SIZE = 1987
OURS = (".geojson", ".svg", ".json", ".panoptic.json", ".tif", ".png", ".npz")
CORNERS = [[3, 3], [SIZE - 3, 3], [SIZE - 3, SIZE - 3], [3, SIZE - 3]]


def written(folder: Path, kind: str) -> Path:
    if kind in OURS:
        labels = np.zeros((SIZE, SIZE), np.int32)
        labels[3:-3, 3:-3] = 1
        return Segmentation.from_labels(labels).save(folder / f"a{kind}")
    if kind == "labelme":
        shapes = [{"label": "a", "shape_type": "polygon", "points": CORNERS}]
        (folder / "a.labelme.json").write_text(json.dumps({"shapes": shapes, "imageHeight": SIZE, "imageWidth": SIZE}))
        return folder / "a.labelme.json"
    flat = [[number for corner in CORNERS for number in corner]]
    row = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": flat}
    image = {"id": 1, "width": SIZE, "height": SIZE, "file_name": "a"}
    content = {"images": [image], "categories": [{"id": 1, "name": "a"}], "annotations": [row]}
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


def peak_of(path: Path) -> tuple[Segmentation | None, int]:
    """What is read, None if it is refused for its size, and the most memory that reading took, in bytes."""
    tracemalloc.start()
    try:
        found = Segmentation.load(path)
    except FormatError as error:
        assert "at most 200000000 pixels" in str(error)  # noqa: PT017 - the other way out is looked at as well
        found = None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, peak


@pytest.mark.parametrize("kind", [*OURS, "labelme", "coco of others"])
def test_memory_is_in_proportion_to_the_map(kind, tmp_path) -> None:
    path = written(tmp_path, kind)
    Segmentation.load(path)  # whatever is imported and kept
    found, peak = peak_of(path)
    assert found is not None
    assert found.shape == (SIZE, SIZE)
    assert peak / SIZE**2 * LARGEST_MAP < 1.9 * 2**30


@pytest.mark.parametrize("kind", [".geojson", ".svg", ".json", "labelme", "coco of others"])
def test_a_map_beyond_the_limit_is_refused_before_memory_is_taken(kind, tmp_path) -> None:
    path = written(tmp_path, kind)
    path.write_text(path.read_text().replace(str(SIZE), "20000"))
    found, peak = peak_of(path)
    assert found is None
    assert peak < 100 << 20
