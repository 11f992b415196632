"""Label map as a compressed NumPy archive: `numpy.load(path)["labels"]`."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Shaped

from upseg.files import atomic_path
from upseg.formats.metadata import Facts, assemble, facts_from_text, facts_to_text, reading, size_of
from upseg.hierarchy import Hierarchy, MergeTree
from upseg.images.label_maps import one_channel, whole_numbers
from upseg.segmentation import Segmentation

_HIERARCHY = ("atoms", "merges", "heights", "scale")
_LONGEST_PROVENANCE = 1 << 24  # bytes
_LONGEST_FACTS = 1 << 10  # bytes for each segment
_MOST_CHANNELS = 4  # of grey that was saved as colours


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
        labels = load_label_array(archive, name)
        if "metadata" not in names:
            return assemble(labels, Facts())
        # nothing that upseg writes says more about a segment than fits
        most = _LONGEST_PROVENANCE + _LONGEST_FACTS * (int(labels.max(initial=0)) + 1)
        found = assemble(labels, facts_from_text(_load_array(archive, "metadata", most).tobytes().decode()))
        if not {*_HIERARCHY} & {*names}:
            return found
        arrays = {name: _load_array(archive, name, 16 * labels.size + 4096) for name in _HIERARCHY}
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


def load_label_array(archive: zipfile.ZipFile, name: str) -> Integer[np.ndarray, "h w"]:
    """A label map of an archive of NumPy arrays; call it inside `reading`."""
    with archive.open(f"{name}.npy") as file:
        old = np.lib.format.read_magic(file) == (1, 0)
        shape = (np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0)(file)[0]
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] > _MOST_CHANNELS):
        raise ValueError(f"a label map has rows and columns, {name} has the shape {shape}")
    height, width = size_of(*shape[:2])
    return whole_numbers(one_channel(_load_array(archive, name, _MOST_CHANNELS * 8 * height * width + 4096)))


def _load_array(archive: zipfile.ZipFile, name: str, most: int) -> Shaped[np.ndarray, " *shape"]:
    """An array that is stored in at most so many bytes."""
    entry = f"{name}.npy"
    size = archive.getinfo(entry).file_size
    if size > most:
        raise ValueError(f"{entry} holds {size:,} bytes, more than the {most:,} that it can have")
    with archive.open(entry) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
