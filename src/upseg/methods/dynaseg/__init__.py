"""DynaSeg: unsupervised segmentation by fitting a small network to the one image (PAPER.md has the details)."""

from upseg.methods.dynaseg.segmenter import DynaSegSegmenter
from upseg.methods.dynaseg.settings import PRESETS, DynaSegSettings

__all__ = ["PRESETS", "DynaSegSegmenter", "DynaSegSettings"]
