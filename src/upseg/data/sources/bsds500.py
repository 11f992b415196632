"""BSDS500: 500 photos, each segmented by several annotators (Arbeláez et al. 2011)."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int32
from PIL import Image
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from upseg.errors import DataError

Split = Literal["train", "val", "test"]

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
            the count at the end.

    Raises:
        DataError: If a folder is missing or empty, or an image has no annotation file, or the reverse.
    """

    def __init__(self, root: Path | str, split: Split = "val", on_error: Literal["raise", "skip"] = "raise") -> None:
        root = Path(root)
        data = next((root / part for part in _ROOTS if (root / part / "images").is_dir()), root)
        self.image_folder = data / "images" / split
        self.truth_folder = data / "groundTruth" / split
        self.on_error = on_error
        images = _files_by_stem(self.image_folder, ".jpg")
        truths = _files_by_stem(self.truth_folder, ".mat")
        unpaired = sorted(images.keys() ^ truths.keys())
        if unpaired:
            raise DataError(
                f"every {self.image_folder}/NAME.jpg needs {self.truth_folder}/NAME.mat and the reverse, but "
                f"{len(unpaired)} names have only one of the two: {', '.join(unpaired[:5])}"
            )
        self.paths = [(images[name], truths[name]) for name in sorted(images)]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> AnnotatedImage:
        image_path, truth_path = self.paths[index]
        width, height = _image_size(image_path)
        label_maps = read_annotations(truth_path)
        for label_map in label_maps:
            if label_map.shape != (height, width):
                raise DataError(
                    f"{truth_path}: a map is {label_map.shape[0]} x {label_map.shape[1]} pixels, but {image_path.name} "
                    f"is {height} x {width}; the two files do not belong together"
                )
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
    try:
        cells = loadmat(path)["groundTruth"].ravel()
        maps = [np.asarray(cell["Segmentation"][0, 0]) for cell in cells]
    except KeyError as error:
        raise DataError(f"{path}: expected the MATLAB variable `groundTruth`, which is not in this file") from error
    # what scipy raises on truncated or foreign bytes
    except (MatReadError, ValueError, TypeError, IndexError, OSError, NotImplementedError, zlib.error) as error:
        raise DataError(
            f"{path}: expected a BSDS500 annotation file (MATLAB cells `groundTruth{{i}}.Segmentation`), "
            f"but it cannot be read as one: {error}"
        ) from error
    if not maps:
        raise DataError(f"{path}: no annotator in this file; expected at least one region map")
    for found in maps:
        if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer) or found.size == 0 or not found.any():
            raise DataError(
                f"{path}: expected (H, W) integer maps with regions numbered from 1, got {found.dtype} of shape "
                f"{found.shape}{'' if found.size == 0 or found.any() else ' with no region'}"
            )
    return [found.astype(np.int32) for found in maps]


def _files_by_stem(folder: Path, suffix: str) -> dict[str, Path]:
    """The files of one kind in a folder, by name without suffix."""
    if not folder.is_dir():
        nearest = next(parent for parent in folder.parents if parent.is_dir())
        raise DataError(
            f"{folder} is not a folder; BSDS500 keeps its *{suffix} files there, "
            f"but {nearest} holds {_names_in(nearest)}"
        )
    files = {path.stem: path for path in folder.iterdir() if path.suffix == suffix}
    if not files:
        raise DataError(f"{folder} should hold the *{suffix} files of this split, but holds {_names_in(folder)}")
    return files


def _names_in(folder: Path) -> str:
    """The first names in a folder, for an error message."""
    names = sorted(path.name for path in folder.iterdir())
    return f"{', '.join(names[:5])}{' ...' if len(names) > 5 else ''}" if names else "nothing"


def _image_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image, which is decoded to be sure that it is whole."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path}: not a readable image: {error}") from error
