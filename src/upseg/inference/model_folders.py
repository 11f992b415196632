"""Now `upseg.models.folders`."""

from upseg.models.folders import packaged_models

__all__ = ["packaged_models"]
