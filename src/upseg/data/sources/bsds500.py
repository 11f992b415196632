"""BSDS500: 500 photos, each segmented by several annotators (Arbeláez et al. 2011)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int32

from upseg.data.dataset import OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import PairedFiles, choose_split, find_folder, image_of, list_files
from upseg.data.sources.label_images import truth_file
from upseg.data.sources.matlab import read_matlab
from upseg.errors import DataError

_HOLDS = "a BSDS500 annotation (MATLAB cells `groundTruth{i}.Segmentation`)"
# below the folder that a user may name: the archive's root, or any folder on the way down
_ROOTS = (".", "data", "BSDS500/data", "BSR/BSDS500/data")


class BSDS500(PairedFiles):
    """One split in the official layout: `images/{split}/*.jpg` and `groundTruth/{split}/*.mat`.

    The first annotator's map is the segment map, those of the others are `other_maps`.

    Args:
        root: The folder that holds `images` and `groundTruth`, or the unpacked archive above it.
        split: train (200 images), val (100) or test (200); None for val, or the only one there is.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        folder = find_folder(root, [f"{part}/images" for part in _ROOTS], "the folders train, val and test of BSDS500")
        split = choose_split(split, [path.name for path in folder.iterdir() if path.is_dir()], folder)
        super().__init__(
            list_files(folder / split, (".jpg",), "BSDS500's images of this split"),
            list_files(folder.parent / "groundTruth" / split, (".mat",), "BSDS500's annotations of this split"),
            on_error=on_error,
        )

    def load_pair(self, image: Path, truth: Path, name: str) -> Sample:
        """Read one image's maps."""
        maps = read_annotations(truth)
        for found in maps:
            lazy = image_of(image, found.shape, truth)
        return Sample.from_labels(lazy, maps[0], name=name, other_maps=maps[1:])


def read_annotations(path: Path) -> list[Int32[np.ndarray, "h w"]]:
    """Read the region maps of all annotators of one image from a `.mat` file.

    Raises:
        DataError: If the file is damaged, or does not hold what BSDS500's annotation files hold.
    """
    cells = read_matlab(path, "groundTruth", _HOLDS)
    with truth_file(path, _HOLDS):
        maps = [np.asarray(cell["Segmentation"][0, 0]) for cell in cells.ravel()]
    if not maps:
        raise DataError(f"{path}: no annotator in this file; expected at least one region map")
    for found in maps:
        if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer) or found.size == 0 or not found.any():
            raise DataError(
                f"{path}: expected (H, W) integer maps with regions numbered from 1, got {found.dtype} of shape "
                f"{found.shape}{'' if found.size == 0 or found.any() else ' with no region'}"
            )
    return [found.astype(np.int32) for found in maps]
