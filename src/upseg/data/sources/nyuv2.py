"""NYUv2: 1,449 indoor scenes with depth and objects, and many more with depth alone (Silberman et al. 2012)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.depth_folders import DepthFolders
from upseg.data.sources.folders import find_file, nearest_contents
from upseg.data.sources.label_images import truth_file
from upseg.data.sources.matlab import read_matlab
from upseg.errors import DataError
from upseg.segmentation import Category

_FILE = "nyu_depth_v2_labeled.mat"
_STUFF = frozenset({"wall", "floor", "ceiling"})
_VARIABLES = ("images", "depths", "labels", "instances", "names")


class NYUv2Labelled(Dataset):
    """The labelled subset as it is published, one MATLAB 7.3 file; needs the extra `data` (h5py).

    Each instance of a class is a segment, label 0 is unlabelled; wall, floor and ceiling are stuff. Samples are called
    by their number in the file, from 0001 on.

    Args:
        path: `nyu_depth_v2_labeled.mat`.
        split: train (795) or test (654), as `splits.mat` beside the file says; None for all.
        depth: `filled`: with holes filled in, as most evaluations use it; `raw`: as measured, 0 in the holes.

    Raises:
        DataError: If the file or h5py is missing, or the file is not as it should be.
    """

    def __init__(
        self,
        path: Path,
        split: str | None = None,
        *,
        on_error: OnError = "raise",
        depth: Literal["filled", "raw"] = "filled",
    ) -> None:
        self.path = path
        self._depths = "depths" if depth == "filled" else "rawDepths"
        with truth_file(path, "NYUv2's labelled subset"), _open(path) as file:
            missing = [name for name in (*_VARIABLES, self._depths) if name not in file]
            if missing:
                raise ValueError(f"it lacks the variables {', '.join(missing)}")
            count = len(file["images"])
            names = [_text(file, reference) for reference in np.asarray(file["names"]).ravel()]
        self._numbers = np.arange(count) if split is None else _read_split(path.with_name("splits.mat"), split, count)
        categories = [Category(n, name, name not in _STUFF) for n, name in enumerate(names, start=1)]
        super().__init__(categories, on_error, names=[f"{number + 1:04d}" for number in self._numbers.tolist()])

    def load(self, index: int) -> Sample:
        """Read one scene."""
        number = int(self._numbers[index])
        with truth_file(self.path, "NYUv2's labelled subset"), _open(self.path) as file:
            # MATLAB writes columns first: what it calls height x width x ... comes with all axes reversed
            image = np.asarray(file["images"][number]).T.astype(np.float32) / np.float32(255)
            depth = np.ascontiguousarray(np.asarray(file[self._depths][number]).T, np.float32)
            labels = np.asarray(file["labels"][number]).T.astype(np.int64)
            instances = np.asarray(file["instances"][number]).T.astype(np.int64)
        if int(labels.max()) > len(self.categories):
            raise DataError(f"{self.path}: scene {number + 1} has the label {labels.max()}, which has no category")
        if not labels.any():
            raise DataError(f"{self.path}: scene {number + 1} is empty: no pixel is labelled")
        step = len(self.categories) + 1
        segments = np.where(labels > 0, instances * step + labels, 0)
        return Sample.from_labels(
            np.ascontiguousarray(image),
            segments,
            categories={v: self.categories[v % step - 1] for v in np.unique(segments).tolist() if v},
            depth=depth,
            name=self.names[index],
        )


def open_nyuv2(
    root: Path,
    split: str | None = None,
    *,
    on_error: OnError = "raise",
    depth: Literal["filled", "raw"] = "filled",
    depth_scale: float = 1000.0,
) -> Dataset:
    """Open the labelled subset where its file is there, else folders of images and depth.

    Args:
        root: `nyu_depth_v2_labeled.mat`, the folder that holds it, or folders of images and depth.
        split: For the labelled subset train or test; for folders, one below `root`; None for all.
        on_error: What to do with images without depth, and with damaged samples.
        depth: For the labelled subset, `filled` or `raw`.
        depth_scale: For folders, the value that stands for one metre.
    """
    if root.is_file() or (root / _FILE).is_file():
        path = root if root.is_file() else find_file(root, (_FILE,), "the labelled subset")
        return NYUv2Labelled(path, split, on_error=on_error, depth=depth)
    if not root.is_dir():
        raise DataError(
            f"{root} should be {_FILE}, a folder with it, or one with images and depth, but there is none; "
            f"{nearest_contents(root)}"
        )
    try:
        return DepthFolders(root, split, on_error=on_error, depth_scale=depth_scale)
    except DataError as error:
        raise DataError(f"{root / _FILE} is not there, and for folders of images and depth: {error}") from error


def _open(path: Path) -> Any:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(f"{path}: MATLAB 7.3 files are read with h5py: pip install 'upseg[data]'") from error
    return h5py.File(path, "r")


def _text(file: Any, reference: Any) -> str:
    """A MATLAB character array, which cells refer to."""
    return "".join(chr(code) for code in np.asarray(file[reference]).ravel().tolist())


def _read_split(path: Path, split: str, count: int) -> Int64[np.ndarray, " m"]:
    """Which scenes of the file are in a split, from 0."""
    if split not in ("train", "test"):
        raise DataError(f"the splits of NYUv2 are train and test, got {split!r}")
    numbers = read_matlab(path, f"{split}Ndxs", "NYUv2's official split, splits.mat")
    with truth_file(path, "NYUv2's official split"):
        found = np.sort(np.asarray(numbers).ravel().astype(np.int64)) - 1
        if not len(found) or found[0] < 0 or found[-1] >= count:
            raise ValueError(f"its numbers must be 1 to {count}")
        return found
