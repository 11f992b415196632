"""Now `upseg.images.reading`."""

from upseg.images.reading import read_image

__all__ = ["read_image"]
