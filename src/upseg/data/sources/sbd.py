"""SBD: objects and classes of VOC's kind for 11,355 further photos (Hariharan et al. 2011)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from upseg.data.sources.folders import find_folder, read_names
from upseg.data.sources.label_images import truth_file
from upseg.data.sources.matlab import read_matlab


class SBD:
    """The official layout: `cls/*.mat`, `inst/*.mat`, `train.txt`, `val.txt`, and `img/*.jpg`.

    Args:
        root: The folder `benchmark_RELEASE/dataset`.

    Attributes:
        names: The names of all its images, 8,498 + 2,857.

    Raises:
        DataError: If something is missing; it says where it was looked for.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._classes = find_folder(root, ("cls",), "SBD's class masks")
        self._objects = find_folder(root, ("inst",), "SBD's object masks")
        self.names = [name for part in ("train", "val") for name in read_names(root / f"{part}.txt", "names of images")]

    def image(self, name: str) -> Path:
        """The image of that name; there may be no such file, because VOC has the same images."""
        return self.root / "img" / f"{name}.jpg"

    def read(self, name: str) -> tuple[Path, Integer[np.ndarray, "h w"], Integer[np.ndarray, "ho wo"]]:
        """The file of the class mask, that mask (0 background), and the mask of objects (0 none).

        Raises:
            DataError: If a file is missing or damaged.
        """
        path = self._classes / f"{name}.mat"
        return path, _segmentation(path, "GTcls"), _segmentation(self._objects / f"{name}.mat", "GTinst")


def find_sbd(*roots: Path) -> Path | None:
    """SBD's folder `dataset` in or beside one of some folders."""
    places = ("benchmark_RELEASE/dataset", "SBD/benchmark_RELEASE/dataset", "SBD/dataset", "sbd/dataset", "SBD", "sbd")
    for root in roots:
        for above in (root, root.absolute().parent, root.absolute().parent.parent):
            for place in places:
                if (above / place / "cls").is_dir():
                    return above / place
    return None


def _segmentation(path: Path, variable: str) -> Integer[np.ndarray, "h w"]:
    holds = f"SBD's annotation ({variable}.Segmentation)"
    content = read_matlab(path, variable, holds)
    with truth_file(path, holds):
        found = np.asarray(content["Segmentation"][0, 0])
        if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer) or not found.size:
            raise ValueError(f"expected an (H, W) integer map, got {found.dtype} of shape {found.shape}")
        return found
