"""Cells: objects alike and many, told apart by borders and inner distance; ours, not the paper's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upseg.lazy import lazy_names

if TYPE_CHECKING:
    from upseg.methods.entity.extensions.cells.segmenter import CellSegmenter
    from upseg.methods.entity.extensions.cells.settings import CellSettings

__all__ = ["CellSegmenter", "CellSettings"]

# settings are read without what computes with them
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CellSegmenter": "upseg.methods.entity.extensions.cells.segmenter",
        "CellSettings": "upseg.methods.entity.extensions.cells.settings",
    },
)
