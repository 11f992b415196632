"""Image segmentation from the pixels up: `upseg.segment("photo.jpg").save("photo.png")`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upseg.models.registry import load_model, segment
    from upseg.segmentation import Category, Segment, Segmentation

__version__ = "0.1.0"
__all__ = ["Category", "Segment", "Segmentation", "__version__", "load_model", "segment"]

_HOMES = {
    "Category": "upseg.segmentation",
    "Segment": "upseg.segmentation",
    "Segmentation": "upseg.segmentation",
    "load_model": "upseg.models.registry",
    "segment": "upseg.models.registry",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import upseg` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
