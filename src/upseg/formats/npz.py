"""Label map as a compressed NumPy archive: `numpy.load(path)["labels"]`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from upseg.files import atomic_path
from upseg.formats.metadata import LARGEST_MAP, Facts, assemble, facts_from_text, facts_to_text, label_map_of, reading
from upseg.segmentation import Segmentation


def write_npz(segmentation: Segmentation, path: Path) -> Path:
    """Write `labels`, (H, W) int32, and `metadata`, the facts as JSON text in UTF-8 bytes."""
    text = np.frombuffer(facts_to_text(segmentation).encode(), np.uint8)
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (("labels", segmentation.labels), ("metadata", text)):
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
        return assemble(labels, facts_from_text(_load_array(archive, "metadata").tobytes().decode()))


def _load_array(archive: zipfile.ZipFile, name: str) -> Shaped[np.ndarray, " *shape"]:
    entry = f"{name}.npy"
    size = archive.getinfo(entry).file_size
    if size > 8 * LARGEST_MAP + 4096:
        raise ValueError(f"{entry} holds {size:,} bytes, more than the largest label map")
    with archive.open(entry) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
