"""Files of predictions: which belongs to which image, and what is in one.

One JSON file may hold those of a whole data set: COCO's list of results, COCO panoptic, and COCO instances.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32

from upseg.data.dataset import Dataset
from upseg.data.names import Names, normal_name
from upseg.data.sources.coco_json import CocoTables
from upseg.data.sources.folders import list_files
from upseg.data.sources.label_images import read_label_image, read_values, truth_file
from upseg.errors import DataError, FormatError
from upseg.formats import FORMATS
from upseg.formats.coco import mask_runs
from upseg.formats.depth import DEPTH_SUFFIX, PICTURE_SUFFIX, read_depth_png
from upseg.formats.metadata import integer_of, list_of, load_json, object_of, read_category, reading
from upseg.formats.panoptic import colours_to_ids
from upseg.images.label_maps import LABEL_SUFFIXES, LabelValues, read_label_map, read_png_pixels
from upseg.segmentation import Category, Segmentation, Segmenter

_UNSCORED = 1.0  # what segments without a score have


@dataclass(frozen=True)
class WholeMasks:
    """The masks predicted for one image as COCO's rows have them: they may overlap.

    Attributes:
        rows: Each with `category_id`, `segmentation` and `score`.
        categories: The classes by id.
    """

    rows: tuple[Mapping[str, Any], ...]
    categories: Mapping[int, Category]

    def painted(self, shape: tuple[int, int]) -> Segmentation:
        """One label map, for protocols that look at pixels: where masks overlap, the higher score lies on top."""
        flat = np.zeros(shape[0] * shape[1], np.int32)
        runs = mask_runs(self.rows, shape)
        scores = np.array([np.inf, *(row["score"] for row in self.rows)])
        for number in np.lexsort((runs.ids, scores[runs.ids])).tolist():
            flat[runs.starts[number] : runs.stops[number]] = runs.ids[number]
        return Segmentation.from_labels(
            flat.reshape(shape[1], shape[0]).T,
            scores={number: float(row["score"]) for number, row in enumerate(self.rows, start=1)},
            categories={
                number: self.categories[row["category_id"]]
                for number, row in enumerate(self.rows, start=1)
                if row["category_id"] in self.categories
            },
        )


@dataclass(frozen=True)
class InFile:
    """The predictions of one image in a file of many."""

    path: Path
    image: str
    read: Callable[[], Segmentation | WholeMasks]

    def __str__(self) -> str:
        return f"{self.path}, image {self.image}"


def predictions_in(path: Path, dataset: Dataset) -> tuple[dict[str, InFile], list[InFile]]:
    """The predictions of a JSON file by the name of the image they belong to, and those that belong to none.

    A list of results names images by the id that they have in the ground truth's COCO file; an image that it does not
    name is one in which nothing was found. COCO panoptic and COCO instances name images by their own table of images
    where they have one, else likewise. The PNGs of COCO panoptic are in the folder called like the file, or beside it.

    Raises:
        DataError: If the file is broken, or names no image of the data set.
    """
    with truth_file(path, "predictions as COCO JSON"):
        data = load_json(path)
        content = {"annotations": data} if isinstance(data, list) else object_of(data, "predictions")
        rows = [object_of(row, "a prediction") for row in list_of(content.get("annotations"), "annotations")]
        images = [object_of(row, "an image") for row in list_of(content.get("images", []), "images")]
        table = [read_category(row, "isthing") for row in list_of(content.get("categories", []), "categories")]
        categories = {category.id: category for category in table or dataset.categories}
        groups: defaultdict[object, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            groups[row.get("image_id")].append(row)
        names = _names(images, dataset, path)
        if isinstance(data, list):
            groups = defaultdict(list, {**{key: [] for key in names}, **groups})
        read = _panoptic if any("segments_info" in row for row in rows[:1]) else _instances
        found = {key: InFile(path, str(key), partial(read, path, group, categories)) for key, group in groups.items()}
    files = {names[key]: file for key, file in found.items() if key in names}
    if not any(key in names for key in {row.get("image_id") for row in rows}) and rows:
        raise DataError(
            f"{path}: none of its {len(found)} images ({', '.join(str(key) for key in list(found)[:3])}) is one of the "
            f"{len(dataset)} of the data set"
        )
    order = {name: files[name] for name in dataset.names if name in files}
    return order, [file for key, file in found.items() if key not in names]


def _names(images: Sequence[Mapping[str, Any]], dataset: Dataset, path: Path) -> dict[object, str]:
    """The name of the sample of each image id."""
    if not images:
        if not isinstance(dataset, CocoTables):
            raise DataError(
                f"{path}: it names images by their ids in a COCO file, but the ground truth is none; give predictions "
                "with a table of images, or a folder of files called like the images"
            )
        return dict(zip(dataset.image_ids.tolist(), dataset.names, strict=True))
    known = set(dataset.names)
    by_last = {PurePosixPath(name).name: name for name in dataset.names}
    names: dict[object, str] = {}
    for row in images:
        stem = str(PurePosixPath(str(row.get("file_name")).replace("\\", "/")).with_suffix(""))
        name = stem if stem in known else by_last.get(PurePosixPath(stem).name)
        if name is not None:
            names[row.get("id")] = name
    return names


def _instances(path: Path, rows: Sequence[Mapping[str, Any]], categories: Mapping[int, Category]) -> WholeMasks:
    with truth_file(path, "COCO results"):
        for row in rows:
            identity = integer_of(row.get("category_id"), "category_id")
            if identity not in categories:
                raise ValueError(f"a prediction for image {row.get('image_id')} has the unknown category {identity}")
            if not row.get("segmentation"):
                raise ValueError(f"a prediction for image {row.get('image_id')} has no segmentation, only a box")
        return WholeMasks(tuple({"score": _UNSCORED, **row} for row in rows), categories)


def _panoptic(path: Path, rows: Sequence[Mapping[str, Any]], categories: Mapping[int, Category]) -> Segmentation:
    with truth_file(path, "COCO panoptic"):
        if len(rows) != 1:
            raise ValueError(f"image {rows[0].get('image_id')} has {len(rows)} annotations, expected one")
        name = PurePosixPath(str(rows[0].get("file_name")).replace("\\", "/")).name
        places = [path.with_suffix("") / name, path.parent / name]
        png = next((place for place in places if place.is_file()), None)
        if png is None:
            raise ValueError(f"its PNG {name} is neither in {places[0].parent} nor in {places[1].parent}")
        segments = [object_of(row, "a segment") for row in list_of(rows[0].get("segments_info"), "segments_info")]
        by_id = {integer_of(row.get("id"), "a segment's id"): row for row in segments}
        labels = colours_to_ids(read_png_pixels(png))
        unknown = sorted({*np.unique(labels).tolist()} - {0, *by_id})
        if unknown:
            raise ValueError(f"{png.name} has a segment {unknown[0]} that its segments_info does not list")
        return Segmentation.from_labels(
            labels,
            scores={value: float(row["score"]) for value, row in by_id.items() if row.get("score") is not None},
            categories={
                value: categories[integer_of(row.get("category_id"), "category_id")] for value, row in by_id.items()
            },
        )


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
    found = _find_files(folder, suffixes)
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
        tuple(path for path in found.values() if path not in used),
    )


def match_json(path: Path, dataset: Dataset) -> Matching:
    """Find the prediction of each sample in one JSON file for many images; arguments and errors as `predictions_in`."""
    files, extra = predictions_in(path, dataset)
    return Matching({**files}, tuple(name for name in dataset.names if name not in files), tuple(extra))


def match_model(segmenter: Segmenter, name: str, dataset: Dataset) -> Matching:
    """The prediction of each sample is what a model makes of its image.

    Args:
        segmenter: The loaded model.
        name: What messages call it.
        dataset: The samples.
    """

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


def classified(files: Iterable[Path | InFile]) -> bool:
    """Whether segments have classes, as the first file with any segment tells; files that cannot be read are passed."""
    for path in files:
        try:
            segmentation = Segmentation.load(path) if isinstance(path, Path) else path.read()
        except (DataError, FormatError):
            continue
        if isinstance(segmentation, WholeMasks):
            return bool(segmentation.categories)
        if len(segmentation):
            return any(segment.category is not None for segment in segmentation)
    return False


def _find_files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
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
