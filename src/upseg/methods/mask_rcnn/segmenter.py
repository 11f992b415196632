"""Image to `Segmentation`, by Mask R-CNN."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from upseg.errors import ModelError
from upseg.functional.resizing import resize_image, scaled_size
from upseg.images.reading import ImageLike
from upseg.methods.mask_rcnn.grouping import paint_detections
from upseg.methods.mask_rcnn.network import Detections, MaskRcnnNetwork, class_count
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings
from upseg.models.learned import LearnedSegmenter
from upseg.segmentation import Segmentation


class MaskRcnnSegmenter(LearnedSegmenter[MaskRcnnSettings, MaskRcnnNetwork]):
    """Finds the things in images, with their classes and scores, with a trained Mask R-CNN.

    It is made as any `LearnedSegmenter` is; `categories` must be of things, none for one that knows objects without
    classes.
    """

    method = "mask_rcnn"

    def make_network(self) -> MaskRcnnNetwork:
        """A `MaskRcnnNetwork` of the settings and classes."""
        return MaskRcnnNetwork(self.settings, class_count(self.categories))

    def check_categories(self) -> None:
        """Refuse stuff."""
        stuff = [category.name for category in self.categories if not category.is_thing]
        if stuff:
            raise ModelError(
                f"the method mask_rcnn knows only things, but the model lists {stuff[0]!r}, which is stuff"
            )

    def segment(self, image: ImageLike) -> Segmentation:
        """Segment an image.

        Args:
            image: A path, or an array, Pillow image or tensor, as `read_image` takes it.

        Returns:
            The things that were found, each with its score and, if the model has classes, its class; the rest is void.

        Raises:
            ImageError: If the image cannot be read.
        """
        with self.reading(image) as pixels:
            height, width = pixels.shape[-2:]
            size = network_size(height, width, self.settings)
            [detections] = self.predict(resize_image(pixels, size).clamp(0, 1))
        scale = size[0] / height, size[1] / width
        found = paint_detections(detections, (height, width), scale, self.settings)
        return Segmentation.from_labels(
            found.labels,
            scores=found.scores,
            categories={s: self.categories[position] for s, position in found.classes.items() if self.categories},
            provenance=self.provenance(),
        )

    @torch.inference_mode()
    def predict(self, batch: Float[Tensor, "b 3 h w"]) -> list[Detections]:
        """The detections in RGB images in [0, 1] of one size, which are not brought to `min_size` and `max_size`.

        Returns:
            Those of each image, which may overlap, on the segmenter's device.
        """
        return self.network.detect(batch.to(self.device), self.settings)


def network_size(height: int, width: int, settings: MaskRcnnSettings) -> tuple[int, int]:
    """The size in which the network gets an image.

    Returns:
        (H, W) with the image's aspect, as near as whole pixels can be: the shorter side is `min_size`, or less where
        the longer would be more than `max_size`.
    """
    factor = 1.0 if settings.min_size is None else settings.min_size / min(height, width)
    if settings.max_size is not None:
        factor = min(factor, settings.max_size / max(height, width))
    return scaled_size(height, width, factor)
