"""Small OME-Zarr images, written as the specification of the format says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="OME-Zarr needs the extra `big`")


def write_ome_zarr(
    path: Path, image: np.ndarray, axes: str = "yx", *, version: str = "0.4", unit: str | None = None, scale: float = 1
) -> Path:
    """One array with two levels, or as many as there are pixels for."""
    zarr_format = 2 if version == "0.4" else 3
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    levels = [image, image[..., ::2, ::2]]
    for number, level in enumerate(levels):
        chunks = (*(1,) * (image.ndim - 2), 16, 16)
        group.create_array(str(number), shape=level.shape, dtype=level.dtype, chunks=chunks)[:] = level
    named: list[dict[str, Any]] = [{"name": axis, "type": "space"} for axis in axes]
    for axis in named[-2:]:
        axis.update({"unit": unit} if unit else {})
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0] * (image.ndim - 2) + [scale * 2**number] * 2}
            ],
        }
        for number in range(2)
    ]
    described = {"multiscales": [{"version": version, "axes": named, "datasets": datasets}]}
    group.attrs.update(described if version == "0.4" else {"ome": {"version": version, **described}})
    return path
