"""Models that are called like functions: `model(image)`, `model([image, image])`."""

from __future__ import annotations

from typing import Any, overload

from upseg.images.reading import ImageLike
from upseg.segmentation import Segmentation


class CallableModel:
    """What every segmenter can do beside `segment`."""

    def segment(self, image: ImageLike, *arguments: Any) -> Segmentation:
        """Segment one image; of a method."""
        raise NotImplementedError

    @overload
    def __call__(self, images: ImageLike) -> Segmentation: ...

    @overload
    def __call__(self, images: list[Any] | tuple[Any, ...]) -> list[Segmentation]: ...

    def __call__(self, images: ImageLike | list[Any] | tuple[Any, ...]) -> Segmentation | list[Segmentation]:
        """Segment one image, or each image of a list in turn.

        Args:
            images: A path, an array, a Pillow image, a tensor, bytes or an open file; or a list or tuple of such.

        Example:
            >>> import numpy as np
            >>> import upseg
            >>> model = upseg.load_model("dynaseg", "cpu", steps=3)
            >>> model([np.zeros((8, 9, 3), np.uint8)] * 2)
            [Segmentation(1 segments, 8x9), Segmentation(1 segments, 8x9)]
        """
        if isinstance(images, list | tuple):
            return [self.segment(image) for image in images]
        return self.segment(images)
