"""Entity: class-agnostic segmentation by clustering features on the projective sphere (PAPER.md has the details)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upseg.lazy import lazy_names

if TYPE_CHECKING:
    from upseg.methods.entity.segmenter import EntitySegmenter
    from upseg.methods.entity.settings import EntitySettings

__all__ = ["EntitySegmenter", "EntitySettings"]

# settings are read without what computes with them
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "EntitySegmenter": "upseg.methods.entity.segmenter",
        "EntitySettings": "upseg.methods.entity.settings",
    },
)
