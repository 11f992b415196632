"""DynaSeg: unsupervised segmentation by fitting a small network to the one image (PAPER.md has the details)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upseg.lazy import lazy_names

if TYPE_CHECKING:
    from upseg.methods.dynaseg.segmenter import DynaSegSegmenter
    from upseg.methods.dynaseg.settings import PRESETS, DynaSegSettings

__all__ = ["PRESETS", "DynaSegSegmenter", "DynaSegSettings"]

# settings are read without what computes with them
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DynaSegSegmenter": "upseg.methods.dynaseg.segmenter",
        "PRESETS": "upseg.methods.dynaseg.settings",
        "DynaSegSettings": "upseg.methods.dynaseg.settings",
    },
)
