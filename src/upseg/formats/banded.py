"""Segments of images too large for memory, written band by band: tiled BigTIFF, GeoJSON, labels of OME-Zarr."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int32, Int64, UInt32

from upseg.errors import FormatError, ImageError
from upseg.files import atomic_path, printable
from upseg.formats.geojson import polygon_feature, properties_of, write_features
from upseg.formats.metadata import VERSION, dump_json
from upseg.formats.outlines import parts_of, parts_of_rings
from upseg.functional.banded_polygons import trace_rings_in_bands
from upseg.images.ome_zarr import zarr_module
from upseg.segmentation import Segment
from upseg.segmentation.banded import BandedSegmentation

_Parts: TypeAlias = list[list[Int32[np.ndarray, "_ 2"]]]
_TILE = 512
_CHUNK = 1024
_MOST_TRACED = 1 << 24  # pixels in which outlines are looked for at once: each takes about 30 bytes
_COARSEST = 1024  # pixels: the side of the last level of a pyramid, at most
_UNITS = {"nm": "nanometer", "um": "micrometer", "mm": "millimeter", "cm": "centimeter", "m": "meter"}


def write_banded(segmentation: BandedSegmentation, path: Path, format: str) -> Path:  # noqa: A002
    """Write segments whose label map is not in memory, in one of `BANDED_FORMATS`, whole or not at all.

    Folders are made, an existing file is replaced.

    Raises:
        FormatError: If there is no such format, or it needs a package that is not there.
    """
    if format not in BANDED_FORMATS:
        raise FormatError(
            f"{format} needs the whole label map in memory; images in blocks are written as {', '.join(BANDED_FORMATS)}"
        )
    return BANDED_FORMATS[format](segmentation, path)


def _write_tif(segmentation: BandedSegmentation, path: Path) -> Path:
    """A BigTIFF of unsigned 32-bit integers in deflate-compressed tiles; scores and provenance as ImageDescription."""
    import tifffile

    facts = {
        "upseg": VERSION,
        "segments": len(segmentation),
        "provenance": dict(segmentation.provenance),
        **({} if segmentation.scores is None else {"scores": segmentation.scores.tolist()}),
    }
    with atomic_path(path) as partial, tifffile.TiffWriter(partial, bigtiff=True) as file:
        file.write(
            _tiles(segmentation),
            shape=segmentation.shape,
            dtype=np.uint32,
            tile=(_TILE, _TILE),
            photometric="minisblack",
            compression="zlib",
            description=dump_json(facts),
            metadata=None,
            software=False,
        )
    return path


def _tiles(segmentation: BandedSegmentation) -> Iterator[UInt32[np.ndarray, "h w"]]:
    for rows in segmentation.bands(multiple=_TILE):
        labels = segmentation.labels_at(rows).astype(np.uint32)
        for top in range(0, len(labels), _TILE):
            for left in range(0, labels.shape[1], _TILE):
                yield labels[top : top + _TILE, left : left + _TILE]


def _write_geojson(segmentation: BandedSegmentation, path: Path) -> Path:
    """As `upseg.formats.geojson.write_geojson`, but without a checksum of the label map."""
    ours = {
        "version": VERSION,
        "segments": len(segmentation),
        "height": segmentation.shape[0],
        "width": segmentation.shape[1],
        "provenance": dict(segmentation.provenance),
    }
    return write_features(path, {"upseg": ours}, _features(segmentation))


def _features(segmentation: BandedSegmentation) -> Iterator[dict[str, Any]]:
    """One for each segment in order of id, which is that of their first rows."""
    reach = (segmentation.last_rows + 1 - segmentation.first_rows) * segmentation.shape[1]
    far = np.flatnonzero(reach > _MOST_TRACED)
    known = dict(zip(far.tolist(), _far_parts(segmentation, far), strict=True))
    for rows in segmentation.bands():
        first, stop = np.searchsorted(segmentation.first_rows, (rows.start, rows.stop)).tolist()
        near = np.array([index for index in range(first, stop) if index not in known], np.int64)
        known.update(zip(near.tolist(), _near_parts(segmentation, near, rows.start), strict=True))
        for index in range(first, stop):
            score = None if segmentation.scores is None else float(segmentation.scores[index])
            segment = Segment(index + 1, int(segmentation.areas[index]), (0, 0, 0, 0), score)
            yield polygon_feature(segment.id, properties_of(segment), known.pop(index))


def _near_parts(segmentation: BandedSegmentation, indices: Int64[np.ndarray, " n"], top: int) -> Iterator[_Parts]:
    """The parts of segments that lie in the rows from `top` on, as many as fit into memory."""
    if len(indices):
        rows = slice(top, int(segmentation.last_rows[indices].max()) + 1)
        for parts in parts_of(_renumbered(segmentation, indices)[segmentation.labels_at(rows)]):
            yield [[ring + np.array([top, 0], np.int32) for ring in part] for part in parts]


def _far_parts(segmentation: BandedSegmentation, indices: Int64[np.ndarray, " n"]) -> Iterator[_Parts]:
    """The parts of segments that reach over more rows than fit into memory."""
    if len(indices):
        table, bands = _renumbered(segmentation, indices), list(segmentation.bands())
        rings = trace_rings_in_bands(lambda rows: table[segmentation.labels_at(rows)], segmentation.shape, bands)
        yield from parts_of_rings(rings, len(indices))


def _renumbered(segmentation: BandedSegmentation, indices: Int64[np.ndarray, " n"]) -> Int32[np.ndarray, " k1"]:
    """Numbers from 1 for some segments by their ids; 0 for all others."""
    table = np.zeros(len(segmentation) + 1, np.int32)
    table[indices + 1] = np.arange(1, len(indices) + 1)
    return table


def _write_ome_zarr(segmentation: BandedSegmentation, path: Path) -> Path:
    """Labels of OME-Zarr 0.4 with a pyramid in which each level has every second row and column of the one before."""
    try:
        zarr = zarr_module()
    except ImageError as error:
        raise FormatError(f"{printable(path)}: {error}") from error
    factors = [1]
    while max(segmentation.shape) > _COARSEST * factors[-1]:
        factors.append(2 * factors[-1])
    with _atomic_folder(path) as partial:
        group = zarr.open_group(str(partial), mode="w", zarr_format=2)
        levels = []
        for number, factor in enumerate(factors):
            shape = tuple(-(-side // factor) for side in segmentation.shape)
            chunks = tuple(min(_CHUNK, side) for side in shape)
            levels.append(group.create_array(str(number), shape=shape, dtype="int32", chunks=chunks))
        for rows in segmentation.bands(multiple=max(_CHUNK, factors[-1])):
            labels = segmentation.labels_at(rows)
            for level, factor in zip(levels, factors, strict=True):
                part = labels[::factor, ::factor]
                top = rows.start // factor
                level[top : top + len(part)] = part
        group.attrs.update(_ome_facts(segmentation, factors))
    return path


def _ome_facts(segmentation: BandedSegmentation, factors: list[int]) -> dict[str, Any]:
    noted = segmentation.provenance.get("pixel_size")
    length, unit = (noted["length"], _UNITS.get(noted["unit"])) if noted else (1.0, None)
    axes = [{"name": name, "type": "space", **({"unit": unit} if unit else {})} for name in "yx"]
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [{"type": "scale", "scale": [length * factor, length * factor]}],
        }
        for number, factor in enumerate(factors)
    ]
    described = {"version": "0.4", "name": "labels", "axes": axes, "datasets": datasets}
    ours = {"version": VERSION, "segments": len(segmentation), "provenance": dict(segmentation.provenance)}
    known = () if segmentation.scores is None else segmentation.scores.tolist()
    scores = [{"label-value": k, "score": s} for k, s in enumerate(known, start=1)]
    return {
        "multiscales": [described],
        "image-label": {"version": "0.4", "properties": scores},
        "upseg": ours,
    }


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place once the block has filled it."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        if path.is_dir():
            shutil.rmtree(path)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


BANDED_FORMATS: dict[str, Callable[[BandedSegmentation, Path], Path]] = {
    "tif": _write_tif,
    "geojson": _write_geojson,
    "ome-zarr": _write_ome_zarr,
}
"""What can be written without the whole label map, each with how."""
