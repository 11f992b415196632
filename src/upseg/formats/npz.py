"""Label map as a compressed NumPy archive: `numpy.load(path)["labels"]`."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from upseg.files import atomic_path
from upseg.formats.metadata import LARGEST_MAP, Facts, assemble, facts_from_text, facts_to_text, label_map_of, reading
from upseg.hierarchy import Hierarchy, MergeTree
from upseg.segmentation import Segmentation

_HIERARCHY = ("atoms", "merges", "heights", "scale")


def write_npz(segmentation: Segmentation, path: Path) -> Path:
    """Write `labels`, (H, W) int32, and `metadata`, the facts as JSON text in UTF-8 bytes.

    Of a result with a hierarchy also `atoms`, (H, W) int32, the smallest regions 1..R; `merges`, (R - 1, 2) int32: the
    region that stays and the one that joins it, counted from 0, in the order of merging; `heights`, (R - 1,) the cost
    of each merge; and `scale`, (1,) the height that detail 0 reaches.
    """
    text = np.frombuffer(facts_to_text(segmentation).encode(), np.uint8)
    arrays = {"labels": segmentation.labels, "metadata": text, **_hierarchy_arrays(segmentation.hierarchy)}
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980 whenever it is written: same result, same bytes
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return path


def read_npz(path: Path) -> Segmentation:
    """Read the array `labels` of an archive, or the only array of another program's; pickled objects are refused.

    Raises:
        FormatError: If the file is broken or holds no (H, W) array of integers.
    """
    with reading(path, "an .npz label map"), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if "labels" not in names and len(names) != 1:
            raise ValueError(f"expected an array named labels, got {names}")
        name = "labels" if "labels" in names else names[0]
        labels = label_map_of(_load_array(archive, name))
        if "metadata" not in names:
            return assemble(labels, Facts())
        found = assemble(labels, facts_from_text(_load_array(archive, "metadata").tobytes().decode()))
        if not {*_HIERARCHY} & {*names}:
            return found
        arrays = {name: _load_array(archive, name) for name in _HIERARCHY}
        return replace(found, hierarchy=_hierarchy_of(arrays, found.shape))


def _hierarchy_arrays(hierarchy: Hierarchy | None) -> dict[str, np.ndarray]:
    if hierarchy is None:
        return {}
    merges = hierarchy.tree.merges.astype(np.int32)
    values = (hierarchy.atoms, merges, hierarchy.tree.heights, np.array([hierarchy.scale]))
    return dict(zip(_HIERARCHY, values, strict=True))


def _hierarchy_of(arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> Hierarchy:
    """The inverse of `_hierarchy_arrays`.

    Raises:
        ValueError: If the arrays are not those of a hierarchy of this shape.
    """
    atoms, merges, heights, scale = (arrays[name] for name in _HIERARCHY)
    kinds = [array.dtype.kind for array in (atoms, merges, heights, scale)]
    if (
        kinds != ["i", "i", "f", "f"]
        or atoms.shape != shape
        or merges.shape != (heights.size, 2)
        or scale.shape != (1,)
    ):
        raise ValueError(f"{', '.join(_HIERARCHY)} are not the arrays of a hierarchy of {shape} pixels")
    regions = len(merges) + 1
    if int(atoms.min()) < 1 or int(atoms.max()) > regions:
        raise ValueError(f"the atoms of a hierarchy with {regions - 1} merges must be 1..{regions}")
    if not (np.isfinite(heights).all() and np.isfinite(scale).all()):
        raise ValueError("the heights of a hierarchy must be finite")
    tree = MergeTree(regions, merges.astype(np.int64), heights.astype(np.float64))
    return Hierarchy(atoms.astype(np.int32), tree, float(scale[0]))


def _load_array(archive: zipfile.ZipFile, name: str) -> Shaped[np.ndarray, " *shape"]:
    entry = f"{name}.npy"
    size = archive.getinfo(entry).file_size
    if size > 8 * LARGEST_MAP + 4096:
        raise ValueError(f"{entry} holds {size:,} bytes, more than the largest label map")
    with archive.open(entry) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
