"""Mask R-CNN: boxes of things with their classes, and a mask in each box (PAPER.md has the details)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upseg.lazy import lazy_names

if TYPE_CHECKING:
    from upseg.methods.mask_rcnn.segmenter import MaskRcnnSegmenter
    from upseg.methods.mask_rcnn.settings import MaskRcnnSettings

__all__ = ["MaskRcnnSegmenter", "MaskRcnnSettings"]

# settings are read without what computes with them
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "MaskRcnnSegmenter": "upseg.methods.mask_rcnn.segmenter",
        "MaskRcnnSettings": "upseg.methods.mask_rcnn.settings",
    },
)
