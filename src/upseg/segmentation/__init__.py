"""What every method returns: one label map, and one row of facts for each segment in it."""

from upseg.segmentation.facts import BoundingBox, Category, Segment
from upseg.segmentation.labelled import Table
from upseg.segmentation.result import Segmentation
from upseg.segmentation.segmenters import (
    DepthSegmenter,
    EmbeddingSegmenter,
    PictureSegmenter,
    Progress,
    Segmenter,
    Splitter,
)

__all__ = [
    "BoundingBox",
    "Category",
    "DepthSegmenter",
    "EmbeddingSegmenter",
    "PictureSegmenter",
    "Progress",
    "Segment",
    "Segmentation",
    "Segmenter",
    "Splitter",
    "Table",
]
