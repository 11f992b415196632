"""Result files: one module for each format, and `write` and `read`, which choose among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from upseg.errors import FormatError
from upseg.formats.coco import read_coco, write_coco
from upseg.formats.colours import segment_colours
from upseg.formats.csv_table import write_csv
from upseg.formats.cutouts import write_cutouts
from upseg.formats.depth import DEPTH_SUFFIX, PICTURE_SUFFIX, write_depth
from upseg.formats.geojson import read_geojson, write_geojson
from upseg.formats.imagej_rois import read_imagej_rois, write_imagej_rois
from upseg.formats.labelme import read_labelme, write_labelme
from upseg.formats.levels import write_hierarchy, write_hierarchy_coco, write_levels
from upseg.formats.montage import side_by_side
from upseg.formats.notebook import html_of, picture_of
from upseg.formats.npz import read_npz, write_npz
from upseg.formats.overlay import draw_labels, draw_overlay, write_overlay
from upseg.formats.panoptic import read_panoptic, write_panoptic
from upseg.formats.png import read_png, write_png
from upseg.formats.svg import read_svg, write_svg
from upseg.formats.tif import read_tif, write_tif
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Segmentation

__all__ = [
    "FORMATS",
    "Format",
    "draw_labels",
    "draw_overlay",
    "formats_that_need",
    "html_of",
    "output_paths",
    "output_suffixes",
    "picture_of",
    "read",
    "read_coco",
    "read_geojson",
    "read_panoptic",
    "readable_suffix",
    "segment_colours",
    "side_by_side",
    "write",
]

Need = Literal["image", "depth", "levels"]
"""What a format may need beside the segments: the image they are of, the depth predicted with them, or a number of
levels of their hierarchy."""


@dataclass(frozen=True)
class Format:
    """One file format for segmentations.

    Attributes:
        name: What the command line calls it.
        suffix: How its files' names end.
        description: One line for people.
        write: Writes a segmentation to a path and returns the (main) file; takes what the format needs by its name.
        read: Reads what `write` wrote; None if the segmentation cannot be had back from the file.
        needs: What it needs beside the segments.
        companions: How the names of the files end that it writes beside the main one.
        is_complete: Whether what is read back has everything: scores, parents, the image's size.

    Example:
        >>> FORMATS["geojson"].suffix
        '.geojson'
    """

    name: str
    suffix: str
    description: str
    write: Callable[..., Path]
    read: Callable[[Path], Segmentation] | None = None
    needs: tuple[Need, ...] = ()
    companions: tuple[str, ...] = ()
    is_complete: bool = True


_image_format = partial(Format, needs=("image",))
_levels_format = partial(Format, needs=("levels",))
FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("png", ".png", "label map, grey PNG of 8 or 16 bits, up to 65,535 segments", write_png, read_png),
        Format("tif", ".tif", "label map, TIFF of 32 bits, any number of segments", write_tif, read_tif),
        Format("coco", ".json", "COCO instances, JSON with compressed run lengths", write_coco, read_coco),
        Format(
            "panoptic",
            ".panoptic.json",
            "COCO panoptic, JSON and a PNG beside it",
            write_panoptic,
            read_panoptic,
            companions=(".panoptic.png",),
        ),
        Format("geojson", ".geojson", "exact polygons in pixels, for QuPath and GIS", write_geojson, read_geojson),
        Format(
            "labelme",
            ".labelme.json",
            "labelme JSON, polygons to be corrected by hand",
            write_labelme,
            read_labelme,
            is_complete=False,
        ),
        Format(
            "imagej",
            ".roi.zip",
            "ROIs for ImageJ and Fiji's ROI manager",
            write_imagej_rois,
            read_imagej_rois,
            is_complete=False,
        ),
        Format("svg", ".svg", "exact outlines as a drawing, for browsers and Inkscape", write_svg, read_svg),
        Format("npz", ".npz", "label map, compressed NumPy archive", write_npz, read_npz),
        _image_format("overlay", ".overlay.png", "picture: the segments in colour over the image", write_overlay),
        _image_format("overlay-jpg", ".overlay.jpg", "the same picture as JPEG, a tenth of the bytes", write_overlay),
        _image_format(
            "csv", ".csv", "measurements, one row for each segment, and of each image in `summary.csv`", write_csv
        ),
        _image_format(
            "cutouts", ".cutouts.zip", "each segment's pixels as PNG with a transparent background", write_cutouts
        ),
        _levels_format(
            "levels", ".levels.tif", "several levels of detail, one page of 32-bit labels for each", write_levels
        ),
        _levels_format(
            "hierarchy",
            ".hierarchy.geojson",
            "segments of several levels as polygons that name their parents",
            write_hierarchy,
        ),
        _levels_format(
            "hierarchy-coco",
            ".hierarchy.json",
            "the same as COCO instances with compressed run lengths",
            write_hierarchy_coco,
        ),
        Format(
            "depth",
            DEPTH_SUFFIX,
            "depth, 16-bit PNG of millimetres, and a picture of it",
            write_depth,
            needs=("depth",),
            companions=(PICTURE_SUFFIX,),
        ),
    )
}
OTHER_FORMATS = {"ome-zarr": ".ome.zarr", "tracks": ".tracks.txt"}
"""How files end that are not of one label map: `upseg.formats.banded` and `.stacks` write them."""
_OTHER_SUFFIXES = {
    ".tiff": "tif",
    ".panoptic.png": "panoptic",
    ".overlay.jpeg": "overlay-jpg",
    ".depth-picture.png": "depth",
}


def write(
    segmentation: Segmentation,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - what the command line calls it
    image: Float32[np.ndarray, "h w 3"] | None = None,
    depth: PredictedDepth | None = None,
    levels: int | None = None,
) -> Path:
    """Write a segmentation, whole or not at all; folders are made, an existing file is replaced.

    Args:
        segmentation: What to write, at least one pixel.
        path: Where to; used as it is.
        format: A name in `FORMATS`; by default the longest suffix that fits the path decides.
        image: The (H, W, 3) RGB image in [0, 1], for formats that need it.
        depth: What was predicted with the segments, of the same size, for formats that need it.
        levels: How many levels of the hierarchy, for formats of several; None for 8.

    Returns:
        The file written; of the two files of `panoptic` the JSON file, of `depth` the 16-bit PNG.

    Raises:
        FormatError: If the format is unknown or cannot hold this segmentation.

    Example:
        >>> segmentation = Segmentation.from_labels(np.array([[7, 7, 9]]))
        >>> write(segmentation, "photo.geojson").name
        'photo.geojson'
    """
    path = Path(path)
    chosen = _choose(path, format)
    if segmentation.labels.size == 0:
        raise FormatError(f"{path}: a segmentation of {segmentation.shape} pixels has nothing to write")
    given = {"image": image, "depth": depth, "levels": levels}
    return chosen.write(segmentation, path, **{need: given[need] for need in chosen.needs})


def read(path: str | Path, *, format: str | None = None) -> Segmentation:  # noqa: A002
    """Read a segmentation from a file that `write` made in a format that can be read back, or from another program's.

    Args:
        path: The file; of the two files of `panoptic` either.
        format: A name in `FORMATS`; by default the longest suffix that fits the path decides.

    Raises:
        FormatError: If the format is unknown, or the file is missing, broken or not in it.

    Example:
        >>> segmentation = Segmentation.from_labels(np.array([[7, 7, 9]]))
        >>> read(write(segmentation, "photo.png")) == segmentation
        True
    """
    path = Path(path)
    chosen = _choose(path, format)
    if chosen.read is None:
        raise FormatError(
            f"{path}: the segments cannot be had back from the format {chosen.name}; read one of the other formats"
        )
    return chosen.read(path)


def output_paths(stem_path: str | Path, format: str) -> list[Path]:  # noqa: A002
    """All files that a format makes for a result, the one to give `write` first.

    Args:
        stem_path: Folder and name without the format's suffix; dots in it are kept.
        format: A name in `FORMATS`.

    Raises:
        FormatError: If there is no such format.

    Example:
        >>> [path.name for path in output_paths("out/photo", "panoptic")]
        ['photo.panoptic.json', 'photo.panoptic.png']
    """
    stem = stem_path if isinstance(stem_path, Path) else Path(stem_path)
    return [stem.with_name(stem.name + suffix) for suffix in output_suffixes(format)]


def output_suffixes(format: str) -> tuple[str, ...]:  # noqa: A002
    """How the names end of the files that `output_paths` says; errors as of that function.

    Example:
        >>> output_suffixes("panoptic")
        ('.panoptic.json', '.panoptic.png')
    """
    if format in OTHER_FORMATS:
        return (OTHER_FORMATS[format],)
    chosen = _by_name(format)
    return (chosen.suffix, *chosen.companions)


def formats_that_need(need: Need, names: Iterable[str]) -> list[str]:
    """Those of some formats that cannot be written without the image, or without depth.

    Args:
        need: `image`, `depth` or `levels`.
        names: In `FORMATS`; what is no format there is none of them.

    Example:
        >>> formats_that_need("depth", ["png", "depth"])
        ['depth']
    """
    return [name for name in names if name in FORMATS and need in FORMATS[name].needs]


def readable_suffix(path: str | Path) -> str | None:
    """How a file's name ends if it can be a result that `read` reads; None if it is none.

    Example:
        >>> readable_suffix("out/photo.panoptic.json"), readable_suffix("out/photo.overlay.png")
        ('.panoptic.json', None)
    """
    name = Path(path).name.lower()
    fitting = [suffix for suffix in _suffixes() if name.endswith(suffix)]
    longest = max(fitting, key=len, default=None)
    return longest if longest and FORMATS[_suffixes()[longest]].read else None


def _suffixes() -> dict[str, str]:
    """The name of the format of each ending of a file's name."""
    return {form.suffix: form.name for form in FORMATS.values()} | _OTHER_SUFFIXES


def _by_name(name: str) -> Format:
    if name not in FORMATS:
        raise FormatError(f"there is no format {name!r}; the formats are {', '.join(FORMATS)}")
    return FORMATS[name]


def _choose(path: Path, name: str | None) -> Format:
    if name is not None:
        return _by_name(name)
    if path.name.lower().endswith("_seg.npy"):
        raise FormatError(
            f"{path}: Cellpose keeps these files as pickles, which can run code and are never read; save its masks as "
            "PNG or TIFF"
        )
    names = _suffixes()
    fitting = [suffix for suffix in names if path.name.lower().endswith(suffix)]
    if not fitting:
        raise FormatError(f"{path}: the name must end in one of {', '.join(sorted(names))}, or a format must be given")
    return FORMATS[names[max(fitting, key=len)]]
