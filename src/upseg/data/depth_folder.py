"""Depth from a folder of PNGs, beside any data set."""

from __future__ import annotations

import copy
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from jaxtyping import Float32

from upseg.data.dataset import Dataset, Derived
from upseg.data.sample import Sample
from upseg.data.sources.folders import nearest_contents
from upseg.errors import DataError, FormatError
from upseg.formats.depth import read_depth_png


class DepthFolder(Derived):
    """Another data set with depth from a folder of PNGs, each called like its sample: `NAME.png`.

    Files are read as `upseg.formats.depth.read_depth_png` does: those of `write_pseudo_depth`, and others of
    millimetres. A depth that the samples have already is replaced.

    Args:
        dataset: Where all but the depth comes from.
        folder: With the depth.
        kind: What the files must hold: `relative` for disparities, `metric` for millimetres.
        required: Whether a sample without a file is a damaged one; if not, it stays as it is.

    Raises:
        DataError: If there is no such folder.
    """

    def __init__(
        self,
        dataset: Dataset,
        folder: str | Path,
        kind: Literal["relative", "metric"] = "relative",
        *,
        required: bool = True,
    ) -> None:
        if kind not in ("relative", "metric"):
            raise DataError(f"kind must be 'relative' or 'metric', got {kind!r}")
        super().__init__(dataset)
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise DataError(
                f"{self.folder} should be a folder with the depth of {len(dataset)} samples, such as "
                f"`upseg data pseudo-depth` writes, but there is none; {nearest_contents(self.folder)}"
            )
        self.kind, self.required = kind, required

    def load(self, index: int) -> Sample:
        """Read one sample, and its depth."""
        sample = copy.copy(super().load(index))
        path = self.folder / depth_file(sample.name)
        if path.is_file() or self.required:
            sample.depth = self._read(path, sample.shape)
        return sample

    def _read(self, path: Path, shape: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
        if not path.is_file():
            raise DataError(f"{path}: there is no such file with depth; {nearest_contents(path)}")
        try:
            depth = read_depth_png(path)
        except FormatError as error:
            raise DataError(str(error)) from error
        found = "metric" if depth.is_metric else "relative"
        if found != self.kind:
            raise DataError(f"{path}: expected {self.kind} depth, but the file holds {found} depth")
        if depth.shape != shape:
            raise DataError(
                f"{path}: expected the depth of {shape[0]} x {shape[1]} pixels (height x width), as the sample has, "
                f"got {depth.shape[0]} x {depth.shape[1]}"
            )
        return depth.values.copy()  # theirs cannot be written to, which torch does not know of


def depth_file(name: str) -> PurePosixPath:
    """The file below a folder of depths that belongs to the sample of a name.

    Raises:
        DataError: If the name would lead out of the folder.
    """
    path = PurePosixPath(f"{name}.png")
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or path.name == ".png":
        raise DataError(f"the sample name {name!r} cannot be that of a file in a folder of depths")
    return path
