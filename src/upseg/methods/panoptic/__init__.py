"""Panoptic: things and stuff, each pixel regressing the centre of its object (PAPER.md has the details)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upseg.lazy import lazy_names

if TYPE_CHECKING:
    from upseg.methods.panoptic.segmenter import PanopticSegmenter
    from upseg.methods.panoptic.settings import PanopticSettings

__all__ = ["PanopticSegmenter", "PanopticSettings"]

# settings are read without what computes with them
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "PanopticSegmenter": "upseg.methods.panoptic.segmenter",
        "PanopticSettings": "upseg.methods.panoptic.settings",
    },
)
