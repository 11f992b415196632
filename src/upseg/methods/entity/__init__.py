"""Entity: class-agnostic segmentation by clustering features on the projective sphere (PAPER.md has the details)."""

from upseg.methods.entity.segmenter import EntitySegmenter
from upseg.methods.entity.settings import EntitySettings

__all__ = ["EntitySegmenter", "EntitySettings"]
