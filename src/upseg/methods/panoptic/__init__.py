"""Panoptic: things and stuff, each pixel regressing the centre of its object (PAPER.md has the details)."""

from upseg.methods.panoptic.segmenter import PanopticSegmenter
from upseg.methods.panoptic.settings import PanopticSettings

__all__ = ["PanopticSegmenter", "PanopticSettings"]
