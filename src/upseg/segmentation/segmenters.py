"""What each method offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from upseg.predicted_depth import PredictedDepth
from upseg.segmentation.result import Segmentation

if TYPE_CHECKING:
    from upseg.images.reading import ImageLike

Progress = Callable[[int, int], None]
"""Told how many steps of how many are done with the image in hand."""


@runtime_checkable
class Segmenter(Protocol):
    """What each method offers: an image in, a `Segmentation` out."""

    def segment(self, image: ImageLike) -> Segmentation:
        """Segment one image: a path, or an array as `upseg.images.reading.read_image` takes it."""
        ...


@runtime_checkable
class DepthSegmenter(Segmenter, Protocol):
    """What segmenters are whose method can predict depth."""

    def segment_with_depth(self, image: ImageLike) -> tuple[Segmentation, PredictedDepth]:
        """Segment one image, given as for `segment`, and predict the depth of its pixels.

        Raises:
            ModelError: If the model is one without depth.
        """
        ...
