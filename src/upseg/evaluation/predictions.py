"""Files of predictions: which belongs to which image, and what is in one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from upseg.data.dataset import Dataset
from upseg.data.names import Names, normal_name
from upseg.data.sources.folders import list_files
from upseg.data.sources.label_images import read_label_image, read_values, truth_file
from upseg.errors import DataError
from upseg.evaluation.json_sets import InFile, predictions_in
from upseg.formats import FORMATS
from upseg.formats.coco_folder import INSTANCES
from upseg.formats.depth import DEPTH_SUFFIX, PICTURE_SUFFIX, read_depth_png
from upseg.formats.metadata import reading
from upseg.images.label_maps import LABEL_SUFFIXES, LabelValues, read_label_map
from upseg.segmentation import Segmentation, Segmenter

SEGMENTATION_SUFFIXES: tuple[str, ...] = (
    *(form.suffix for form in FORMATS.values() if form.read and form.is_complete),
    ".tiff",
)
"""How files with segments end; where one result is there in several formats, the first of these is read."""

DEPTH_SUFFIXES = (DEPTH_SUFFIX, ".npy", ".tif", ".tiff", ".png")
"""How files with depth end, likewise."""

# pictures; halves of pairs; depth, where segments are looked for
_NOT_READ = (
    *(form.suffix for form in FORMATS.values() if not (form.read and form.is_complete)),
    ".panoptic.png",
    PICTURE_SUFFIX,
)


@dataclass(frozen=True, slots=True)
class Matching:
    """Which prediction belongs to which sample.

    Attributes:
        files: The prediction of each sample that has one, by the sample's name, in the data set's order.
        missing: Names of the samples without prediction.
        extra: Files of predictions without sample.
    """

    files: dict[str, Path | InFile]
    missing: tuple[str, ...]
    extra: tuple[Path | InFile, ...]

    def only(self, names: Collection[str]) -> Matching:
        """The part about these samples; predictions without sample stay."""
        chosen = set(names)
        return Matching(
            {name: path for name, path in self.files.items() if name in chosen},
            tuple(name for name in self.missing if name in chosen),
            self.extra,
        )


def match_predictions(folder: Path, names: Sequence[str], suffixes: Sequence[str]) -> Matching:
    """Find the prediction of each sample by its name.

    A file is called like the sample (`street/a` is `street/a.png`), perhaps with the image's own suffix before that of
    the format (`street/a.jpg.png`); where folders differ, the last part of the name decides if it occurs only once.

    Args:
        folder: The folder with the predictions, searched throughout.
        names: The samples' names.
        suffixes: How files of predictions end, the preferred ones first.

    Raises:
        DataError: If there is no such folder, no prediction in it, or none of them belongs to any sample.
    """
    found = result_files(folder, suffixes)
    known, predicted = Names(names), Names(found)
    files: dict[str, Path | InFile] = {}
    for name in names:
        candidates = predicted.find(name)
        # a prediction that can be another image's as well is nobody's
        if len(candidates) == 1 and known.find(candidates[0]) == [name]:
            files[name] = found[candidates[0]]
    if not files:
        raise DataError(
            f"none of the {len(found)} predictions in {folder} ({', '.join(list(found)[:3])}) is called like one of "
            f"the {len(names)} images of the data set ({', '.join(names[:3])})"
        )
    used = set(files.values())
    return Matching(
        files,
        tuple(name for name in names if name not in files),
        tuple(path for path in found.values() if path not in used and path != folder / INSTANCES),
    )


def match_json(path: Path, dataset: Dataset) -> Matching:
    """Find the prediction of each sample in one JSON file for many images; arguments and errors as `predictions_in`."""
    files, extra = predictions_in(path, dataset)
    return Matching({**files}, tuple(name for name in dataset.names if name not in files), tuple(extra))


def match_model(segmenter: Segmenter, name: str, dataset: Dataset) -> Matching:
    """The prediction of each sample is what a loaded model makes of its image; messages call it by the name."""

    def predicted(index: int) -> Segmentation:
        return segmenter.segment(dataset[index].image)

    files = {image: InFile(Path(name), image, partial(predicted, i)) for i, image in enumerate(dataset.names)}
    return Matching({**files}, (), ())


def read_depth(path: Path, scale: float = 1000.0) -> Float32[np.ndarray, "h w"]:
    """Read a predicted depth map.

    Args:
        path: A PNG of 16 bits; a TIFF of integers, or of floats that are metres; or a NumPy array of metres.
        scale: The integer that stands for one metre: 1000 for NYUv2, 256 for KITTI.

    Returns:
        (H, W) metres.

    Raises:
        DataError: If the file is damaged, is none of these, or is upseg's own with relative disparity.
    """
    with truth_file(path, "a depth map"):
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix.lower() in (".tif", ".tiff"):
            import tifffile

            values = tifffile.imread(path)
        else:
            if path.name.lower().endswith(DEPTH_SUFFIX) and not read_depth_png(path).is_metric:
                raise ValueError("it holds relative disparity, which cannot be compared with metres")
            values = read_label_image(path)
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise ValueError(f"expected an (H, W) array of numbers, got {values.dtype} of shape {values.shape}")
    metres = values if values.dtype.kind == "f" else values / scale
    return np.asarray(metres, np.float32)


def reader_of(
    depth_scale: float | None, values: LabelValues | None = None
) -> Callable[[Path], Segmentation | Float32[np.ndarray, "_ _"]]:
    """What reads a prediction.

    Args:
        depth_scale: None for segments; else of depth, as `read_depth` has it.
        values: What the ground truth says about numbers; label maps of other programs are read alike.
    """
    if depth_scale is not None:
        return partial(read_depth, scale=depth_scale)
    return partial(read_segments, void=None if values is None or values.are_classes else values.void)


def read_segments(path: Path, void: frozenset[int] | None = None) -> Segmentation:
    """Read predicted segments in any format.

    Args:
        path: The file.
        void: What is void in label maps of other programs, as `upseg.images.label_maps.LabelValues` has it.

    Raises:
        FormatError: If the file cannot be read.
        DataError: If it is a label map of nothing but 0 and 255, and nobody said what 255 is.
    """
    if path.suffix.lower() not in LABEL_SUFFIXES:
        return Segmentation.load(path)
    with reading(path, "a label map"):
        stored = read_label_map(path)
    if stored.note is not None:
        return Segmentation.load(path)
    return Segmentation.from_labels(np.maximum(read_values(path, LabelValues(void=void)).values, 0))


def result_files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of predictions by name, without suffix."""
    holds = f"predictions ({', '.join(f'*{suffix}' for suffix in suffixes)})"
    ranked: dict[str, tuple[int, Path]] = {}
    for name in list_files(folder, ("",), holds, recursive=True).files.values():
        low = name.lower()
        fitting = [suffix for suffix in suffixes if low.endswith(suffix)]
        if not fitting or any(low.endswith(suffix) for suffix in _NOT_READ if suffix not in suffixes):
            continue
        suffix = max(fitting, key=len)
        key = normal_name(name[: -len(suffix)])
        rank = suffixes.index(suffix)
        if key in ranked and ranked[key][0] == rank:
            raise DataError(f"{folder} holds both {ranked[key][1].name} and {name}; which of the two is meant?")
        if key not in ranked or rank < ranked[key][0]:
            ranked[key] = (rank, folder / name)
    if not ranked:
        raise DataError(f"{folder} should hold {holds}, but none of its files is such")
    return {key: path for key, (_, path) in sorted(ranked.items())}
