"""BSDS500: 500 photos, each segmented by several annotators (Arbeláez et al. 2011)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from upseg.data.dataset import Dataset, OnError
from upseg.data.sample import Sample
from upseg.data.sources.folders import choose_split, find_folder, image_of, list_files, shared_keys
from upseg.data.sources.label_images import truth_file
from upseg.data.sources.matlab import read_matlab
from upseg.errors import DataError

_HOLDS = "a BSDS500 annotation (MATLAB cells `groundTruth{i}.Segmentation`)"
# below the folder that a user may name: the archive's root, or any folder on the way down
_ROOTS = (".", "data", "BSDS500/data", "BSR/BSDS500/data")


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """One photo and what each annotator drew on it.

    Attributes:
        image_path: The JPEG.
        label_maps: One (H, W) map for each annotator, regions numbered from 1.
    """

    image_path: Path
    label_maps: list[Int32[np.ndarray, "h w"]]


class BSDS500:
    """One split in the official layout: `images/{split}/*.jpg` and `groundTruth/{split}/*.mat`.

    Iterating yields the images in order of their names; indexing reads one.

    Args:
        root: The folder that holds `images` and `groundTruth`, or the unpacked archive above it.
        split: train (200 images), val (100) or test (200).
        on_error: What iterating does with a damaged image or annotation: raise, or skip it with a warning and give
            the count at the end; and whether files without a partner are left out (`problems` has them).

    Raises:
        DataError: If a folder is missing or empty, or an image has no annotation file, or the reverse.
    """

    def __init__(self, root: Path | str, split: str = "val", on_error: OnError = "raise") -> None:
        root = Path(root)
        data = next((root / part for part in _ROOTS if (root / part / "images").is_dir()), root)
        self.image_folder = data / "images" / split
        self.truth_folder = data / "groundTruth" / split
        self.on_error = on_error
        images = list_files(self.image_folder, (".jpg",), "BSDS500's images of this split")
        truths = list_files(self.truth_folder, (".mat",), "BSDS500's annotations of this split")
        names, self.problems = shared_keys(images, truths, on_error)
        self.paths = [(images.path(name), truths.path(name)) for name in names]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> AnnotatedImage:
        image_path, truth_path = self.paths[index]
        label_maps = read_annotations(truth_path)
        for label_map in label_maps:
            lazy = image_of(image_path, (label_map.shape[0], label_map.shape[1]), truth_path)
        lazy.read()
        return AnnotatedImage(image_path, label_maps)

    def __iter__(self) -> Iterator[AnnotatedImage]:
        skipped = 0
        for index in range(len(self)):
            try:
                item = self[index]
            except DataError as error:
                if self.on_error == "raise":
                    raise
                skipped += 1
                warnings.warn(f"skipped: {error}", stacklevel=2)
                continue
            yield item
        if skipped:
            warnings.warn(f"skipped {skipped} of {len(self)} images in {self.image_folder}", stacklevel=2)


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


class BSDS500Samples(Dataset):
    """One split of BSDS500 as samples: the first annotator's map is the segment map, those of the others `other_maps`.

    Args:
        root: The folder that holds `images` and `groundTruth`, or the unpacked archive above it.
        split: train (200 images), val (100) or test (200); None for val, or the only one there is.
        on_error: What to do with damaged samples.

    Raises:
        DataError: If a folder is missing or empty, or an image has no annotation file, or the reverse.
    """

    def __init__(self, root: Path, split: str | None = None, *, on_error: OnError = "raise") -> None:
        folder = find_folder(root, [f"{part}/images" for part in _ROOTS], "the folders train, val and test of BSDS500")
        there = [path.name for path in folder.iterdir() if path.is_dir()]
        source = BSDS500(root, choose_split(split, there, folder), on_error)
        self._paths = source.paths
        super().__init__((), on_error, source.problems)

    @property
    def names(self) -> Sequence[str]:
        """The images' numbers."""
        return [image.stem for image, _ in self._paths]

    def load(self, index: int) -> Sample:
        """Read one image's maps."""
        image, truth = self._paths[index]
        maps = read_annotations(truth)
        for found in maps:
            lazy = image_of(image, (found.shape[0], found.shape[1]), truth)
        return Sample.from_labels(lazy, maps[0], name=image.stem, other_maps=maps[1:])
