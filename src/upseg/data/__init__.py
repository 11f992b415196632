"""Ground truth: one type, readers of data sets, made-up scenes, transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upseg.lazy import lazy_names

if TYPE_CHECKING:
    from upseg.data.dataset import Dataset
    from upseg.data.holdout import HashedPart
    from upseg.data.picture import draw_samples
    from upseg.data.sample import Sample, TruthSegment
    from upseg.data.shapes import ShapeScenes, draw_scene
    from upseg.data.sources import open_dataset
    from upseg.data.summary import summarise

__all__ = [
    "Dataset",
    "HashedPart",
    "Sample",
    "ShapeScenes",
    "TruthSegment",
    "draw_samples",
    "draw_scene",
    "open_dataset",
    "summarise",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Dataset": "upseg.data.dataset",
        "HashedPart": "upseg.data.holdout",
        "Sample": "upseg.data.sample",
        "ShapeScenes": "upseg.data.shapes",
        "TruthSegment": "upseg.data.sample",
        "draw_samples": "upseg.data.picture",
        "draw_scene": "upseg.data.shapes",
        "open_dataset": "upseg.data.sources",
        "summarise": "upseg.data.summary",
    },
)
