"""Image segmentation from the pixels up: `upseg.segment("photo.jpg").save("photo.png")`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upseg.lazy import lazy_names

if TYPE_CHECKING:
    from upseg.models.registry import load_model, segment
    from upseg.segmentation import Category, Segment, Segmentation

__version__ = "0.1.0"
__all__ = ["Category", "Segment", "Segmentation", "__version__", "load_model", "segment"]

__getattr__, __dir__ = lazy_names(
    __name__,
    dict.fromkeys(("Category", "Segment", "Segmentation"), "upseg.segmentation")
    | dict.fromkeys(("load_model", "segment"), "upseg.models.registry"),
)
