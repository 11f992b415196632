"""Baiseg: instances by their boundaries, learned from class masks alone (PAPER.md has the details)."""

from upseg.methods.baiseg.segmenter import BaisegSegmenter
from upseg.methods.baiseg.settings import BaisegSettings

__all__ = ["BaisegSegmenter", "BaisegSettings"]
