"""Mask R-CNN: boxes of things with their classes, and a mask in each box (PAPER.md has the details)."""

from upseg.methods.mask_rcnn.segmenter import MaskRcnnSegmenter
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings

__all__ = ["MaskRcnnSegmenter", "MaskRcnnSettings"]
