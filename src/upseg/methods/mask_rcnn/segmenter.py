"""Image to `Segmentation`, by Mask R-CNN."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from upseg.errors import ModelError
from upseg.functional.resizing import resize_image
from upseg.images.reading import ImageLike, read_image
from upseg.layers.threads import torch_threads
from upseg.methods.mask_rcnn.grouping import Grouping, paint_detections
from upseg.methods.mask_rcnn.network import Detections, MaskRcnnNetwork, class_count
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings
from upseg.models.saving import PretrainedMixin, choose_network
from upseg.segmentation import Category, Segmentation


class MaskRcnnSegmenter(PretrainedMixin):
    """Finds the things in images, with their classes and scores, with a trained Mask R-CNN.

    Args:
        settings: Of the model.
        device: What torch computes on: `cpu`, `cuda`, ...
        weights: A safetensors file with the network's weights, of any floating type.
        categories: The classes, all of things; empty for a model that knows objects but no classes.
        network: Instead of weights: a network of these settings and classes, in evaluation mode, on the device; used as
            it is.

    Raises:
        ModelError: If the weights cannot be read or are not those of the network that the settings and classes
            describe, or one of the classes is stuff.
        ValueError: If there are neither weights nor a network, or both, or the network is in training mode.
    """

    method = "mask_rcnn"
    network: MaskRcnnNetwork

    def __init__(
        self,
        settings: MaskRcnnSettings,
        device: str = "cpu",
        *,
        weights: Path | None = None,
        categories: tuple[Category, ...] = (),
        network: MaskRcnnNetwork | None = None,
    ) -> None:
        stuff = [category.name for category in categories if not category.is_thing]
        if stuff:
            raise ModelError(
                f"the method mask_rcnn knows only things, but the model lists {stuff[0]!r}, which is stuff"
            )
        self.settings, self.categories = settings, categories
        self.device = torch.device(device)
        self.network = choose_network(
            lambda: MaskRcnnNetwork(settings, class_count(categories)), weights, network, self.device
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
        pixels = torch.from_numpy(read_image(image)).permute(2, 0, 1)[None]
        height, width = pixels.shape[-2:]
        size = network_size(height, width, self.settings)
        with torch_threads(self.settings.threads), torch.inference_mode():
            [detections] = self.predict(resize_image(pixels, size).clamp(0, 1))
        found = self._grouped(detections, (height, width), (size[0] / height, size[1] / width))
        return Segmentation.from_labels(
            found.labels,
            scores=found.scores,
            categories={s: self.categories[position] for s, position in found.classes.items() if self.categories},
            provenance={"method": "mask_rcnn", "settings": json.loads(json.dumps(asdict(self.settings)))},
        )

    @torch.inference_mode()
    def predict(self, batch: Float[Tensor, "b 3 h w"]) -> list[Detections]:
        """The detections in images of one size, as they are: they are not brought to `min_size` and `max_size`.

        Args:
            batch: (B, 3, H, W) RGB in [0, 1].

        Returns:
            Those of each image, which may overlap, on the segmenter's device.
        """
        return self.network.detect(batch.to(self.device), self.settings)

    def _grouped(self, found: Detections, size: tuple[int, int], scale: tuple[float, float]) -> Grouping:
        return paint_detections(
            found.boxes.float().cpu().numpy(),
            found.masks.float().cpu().numpy(),
            found.positions.cpu().numpy(),
            found.scores.float().cpu().numpy(),
            size,
            scale,
            self.settings,
        )


def network_size(height: int, width: int, settings: MaskRcnnSettings) -> tuple[int, int]:
    """The size in which the network gets an image.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        settings: Of the method: `min_size` and `max_size`.

    Returns:
        (H, W) with the image's aspect, as near as whole pixels can be: the shorter side is `min_size`, or less where
        the longer would be more than `max_size`.
    """
    factor = 1.0 if settings.min_size is None else settings.min_size / min(height, width)
    if settings.max_size is not None:
        factor = min(factor, settings.max_size / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))
