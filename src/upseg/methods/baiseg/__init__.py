"""Baiseg: instances by their boundaries, learned from class masks alone (PAPER.md has the details)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upseg.lazy import lazy_names

if TYPE_CHECKING:
    from upseg.methods.baiseg.segmenter import BaisegSegmenter
    from upseg.methods.baiseg.settings import BaisegSettings

__all__ = ["BaisegSegmenter", "BaisegSettings"]

# settings are read without what computes with them
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BaisegSegmenter": "upseg.methods.baiseg.segmenter",
        "BaisegSettings": "upseg.methods.baiseg.settings",
    },
)
