"""ImageJ and Fiji: a zip of ROIs for the ROI manager, one for each segment. Needs the package roifile."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from upseg.errors import FormatError
from upseg.files import MOST_BYTES, atomic_path, read_plain
from upseg.formats.metadata import reading
from upseg.formats.outlines import Ring, class_name, foreign_polygons, outlines
from upseg.segmentation import Segmentation

_MOVE, _LINE, _CLOSE = 0, 1, 4  # the steps of a path of several rings
_MOST_BYTES = 1 << 28  # of one ROI


def write_imagej_rois(segmentation: Segmentation, path: Path) -> Path:
    """Write one ROI for each segment, named by class and id: a polygon, or a composite where it has parts or holes.

    Coordinates are those of ImageJ: the pixel (row r, column c) is the square from (c, r) to (c + 1, r + 1).

    Raises:
        FormatError: If the package roifile is not installed, or the image is larger than ImageJ's ROIs can be.
    """
    roifile = _roifile(path)
    if max(segmentation.shape) > np.iinfo(np.int16).max:
        raise FormatError(
            f"{path}: ImageJ's ROIs reach to 32,767 pixels, the image is {segmentation.shape}; use geojson"
        )
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for segment, parts in outlines(segmentation):
            name = f"{class_name(segment)}-{segment.id}"
            rings = [ring[:, ::-1] for part in parts for ring in part]
            roi = roifile.ImagejRoi.frompoints(rings[0].astype(np.float32), name=name)
            roi.roitype = roifile.ROI_TYPE.POLYGON
            if len(rings) > 1:
                top, left, bottom, right = segment.bbox
                roi = roifile.ImagejRoi(
                    roitype=roifile.ROI_TYPE.RECT, name=name, top=top, left=left, bottom=bottom, right=right
                )
                roi.multi_coordinates = _path(rings)
                roi.shape_roi_size = len(roi.multi_coordinates)
            entry = zipfile.ZipInfo(f"{segment.id:06d}-{name}.roi".replace("/", "_"))  # dated 1980: same bytes again
            archive.writestr(entry, roi.tobytes(), zipfile.ZIP_DEFLATED)
    return path


def read_imagej_rois(path: Path, shape: tuple[int, int] | None = None) -> Segmentation:
    """Read the ROIs of a zip, or of a single `.roi` file; ROIs without area are left out.

    Args:
        path: The file.
        shape: (H, W) of the image; by default the smallest map that holds all ROIs, since ROIs do not say.

    Raises:
        FormatError: If the file is broken, holds no ROI with an area, or the package roifile is not installed.
    """
    roifile = _roifile(path)
    with reading(path, "ImageJ ROIs"):
        rois = [roifile.ImagejRoi.frombytes(content) for content in _contents(path)]
        areas = [rings for rings in map(_rings, rois) if rings]
        if not areas:
            raise ValueError(f"none of its {len(rois)} ROIs has an area")
        polygons = [(number, rings) for number, rings in enumerate(areas, start=1)]
        if shape is None:
            height, width = np.ceil(np.concatenate([ring for rings in areas for ring in rings]).max(axis=0)).tolist()
            shape = max(int(height), 1), max(int(width), 1)
        return foreign_polygons(path, polygons, shape, [None] * len(areas))


def _roifile(path: Path) -> Any:
    try:
        import roifile
    except ImportError as error:
        raise FormatError(f"{path}: ImageJ's ROIs need the package roifile: pip install 'upseg[exchange]'") from error
    return roifile


def _contents(path: Path) -> list[bytes]:
    if not zipfile.is_zipfile(path):
        return [read_plain(path, most_bytes=_MOST_BYTES)]
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".roi")]
        if any(entry.file_size > _MOST_BYTES for entry in entries):
            raise ValueError(f"a ROI holds more than {_MOST_BYTES:,} bytes")
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise ValueError(f"its ROIs hold more than {MOST_BYTES:,} bytes")
        return [archive.read(entry) for entry in entries]


def _rings(roi: Any) -> list[Ring]:
    """The rings of a ROI, corners as (row, column); none for points and lines."""
    if roi.roitype.name in ("POINT", "LINE", "POLYLINE", "FREELINE", "ANGLE", "NOROI"):
        return []
    found = roi.coordinates(multi=True)
    rings = found if isinstance(found, list) else [found]
    return [np.asarray(ring, np.float64)[:, ::-1] for ring in rings if len(ring) > 2]


def _path(rings: list[Int32[np.ndarray, "_ 2"]]) -> Float32[np.ndarray, " n"]:
    steps: list[float] = []
    for ring in rings:
        for number, (x, y) in enumerate(ring.tolist()):
            steps += [_LINE if number else _MOVE, x, y]
        steps.append(_CLOSE)
    return np.array(steps, np.float32)
