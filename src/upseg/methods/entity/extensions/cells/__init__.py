"""Cells: objects alike and many, told apart by borders and inner distance; ours, not the paper's."""

from upseg.methods.entity.extensions.cells.segmenter import CellSegmenter
from upseg.methods.entity.extensions.cells.settings import CellSettings

__all__ = ["CellSegmenter", "CellSettings"]
