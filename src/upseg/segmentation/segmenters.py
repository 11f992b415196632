"""What each method offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

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


@runtime_checkable
class EmbeddingSegmenter(Segmenter, Protocol):
    """What segmenters are whose method groups features of pixels, which can be kept and grouped again."""

    def embed(self, image: ImageLike, progress: Progress | None = None) -> list[Any]:
        """The features of an image, at one resolution or more."""
        ...

    def segment_embedding(self, embedding: Sequence[Any], size: tuple[int, int], bandwidth: float) -> Segmentation:
        """Segment an image of a size by its features, with another bandwidth, in degrees in (0, 90]."""
        ...

    def similarity(self, embedding: Sequence[Any], row: float, column: float) -> Float32[np.ndarray, "h w"]:
        """How near the features of all pixels are to those of one, in [0, 1]; row and column are shares of the size."""
        ...

    def picture_of(self, embedding: Sequence[Any]) -> UInt8[np.ndarray, "h w 3"]:
        """The features as colours, by their principal components."""
        ...


@runtime_checkable
class Splitter(Protocol):
    """What cuts the masks of classes into instances."""

    def split(self, image: ImageLike | None, semantic_map: Segmentation) -> Segmentation:
        """Cut each class of things into its instances, and leave each other class in one segment.

        One that takes long has a third parameter `progress`, called with (steps done, those there are).

        Args:
            image: What the masks belong to, of their size; the baselines take None too.
            semantic_map: One segment for each class, with its category.

        Returns:
            Segments with categories.
        """
        ...


@runtime_checkable
class PictureSegmenter(Segmenter, Protocol):
    """What segmenters are that can show how they came to their segments."""

    def picture(self, image: ImageLike, kind: str, count: int = 10) -> UInt8[np.ndarray, "h w 3"]:
        """Draw one of the pictures that the method's row in `METHODS` names.

        Args:
            image: As for `segment`.
            kind: The name of the picture.
            count: How many pictures side by side, where it is a series.

        Returns:
            (H, W, 3) RGB, of any size.

        Raises:
            ImageError: If the image cannot be read.
        """
        ...
