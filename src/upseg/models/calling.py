"""Models that are called like functions, `model(image)`, `model([image, image])`, and the threads they may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, overload

import torch

from upseg.images.reading import ImageLike
from upseg.segmentation import Segmentation


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Within it torch computes with `count` threads; None leaves their number as it is. Restored at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
