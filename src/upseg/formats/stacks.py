"""Planes of one stack: label maps as pages of a TIFF, and which objects are in which of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from upseg.files import atomic_path
from upseg.formats.metadata import VERSION, dump_json
from upseg.formats.tif import write_label_pages
from upseg.functional.linking import tracks_text


def write_label_stack(planes: Iterable[Int32[np.ndarray, "h w"]], path: Path, provenance: Mapping[str, Any]) -> Path:
    """Write label maps one after the other: a page of unsigned 32-bit integers each; one plane is in memory at a time.

    Args:
        planes: (H, W) each, all of one size.
        path: Where to; folders are made, an existing file is replaced.
        provenance: Noted in the first page's description.
    """
    text = dump_json({"upseg": VERSION, "provenance": dict(provenance)})
    return write_label_pages(planes, path, text, bigtiff=True)


def write_tracks(spans: dict[int, tuple[int, int]], path: Path) -> Path:
    """Write the objects of a stack as the Cell Tracking Challenge has them: id, first and last plane, parent 0."""
    with atomic_path(path) as partial:
        partial.write_text(tracks_text(spans), encoding="ascii")
    return path
