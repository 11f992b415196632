"""Image to `Segmentation` by one network for a whole data set: the same labels in every image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int32, Integer
from torch import Tensor

from upseg.errors import ModelError
from upseg.functional.resizing import resize_image, scaled_size
from upseg.images.reading import ImageLike
from upseg.methods.dynaseg.class_settings import DynaSegClassesSettings
from upseg.methods.dynaseg.equations import cluster_labels
from upseg.methods.dynaseg.network import (
    ConvolutionalExtractor,
    DynaSegNetwork,
    Lite0PyramidExtractor,
    ResNetPyramidExtractor,
)
from upseg.models.learned import LearnedSegmenter
from upseg.segmentation import Category, Segmentation


class DynaSegClassSegmenter(LearnedSegmenter[DynaSegClassesSettings, DynaSegNetwork]):
    """Gives each pixel one of the labels that a network found in a data set, in one forward pass.

    Paper: Sec. 4.2: the model predicts on each image of the validation set.

    It is made as any `LearnedSegmenter` is; `categories` has one class for each label, in the order of the labels.
    """

    method = "dynaseg_classes"

    def make_network(self) -> DynaSegNetwork:
        """A network of the settings, with any weights."""
        return build_class_network(self.settings, pretrained=False)

    def check_categories(self) -> None:
        """Refuse any other number of classes than there are labels."""
        if len(self.categories) != self.settings.clusters:
            raise ModelError(
                f"a network of {self.settings.clusters} labels needs a name for each, but the model lists "
                f"{len(self.categories)} classes"
            )

    def segment(self, image: ImageLike) -> Segmentation:
        """Segment an image.

        Args:
            image: A path, or an array, Pillow image or tensor, as `read_image` takes it.

        Returns:
            One segment for each label that is in use, with the label's class; every pixel has one.

        Raises:
            ImageError: If the image cannot be read.
        """
        with self.reading(image) as pixels:
            labels = self.group(self.predict(self.shown(pixels))[0], (pixels.shape[-2], pixels.shape[-1]))
        classes = {label: self.categories[label - 1] for label in np.unique(labels).tolist()}
        return Segmentation.from_labels(labels, categories=classes, provenance=self.provenance())

    @torch.inference_mode()
    def predict(self, batch: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b q h w"]:
        """R' of RGB images in [0, 1] of one size, at the size that they have, on the segmenter's device."""
        response: Tensor = self.computed_network(batch.to(self.device))
        return response

    def group(self, response: Float[Tensor, "q h w"], size: tuple[int, int]) -> Int32[np.ndarray, "h2 w2"]:
        """The label of each pixel, from 1: the response is brought to the image's size before the argmax."""
        labels = cluster_labels(resize_image(response[None].float(), size))
        return (labels[0] + 1).to(torch.int32).cpu().numpy()

    def shown(self, pixels: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h2 w2"]:
        """The image at the size at which the network sees it."""
        height, width = pixels.shape[-2:]
        if self.settings.size is None:
            return pixels
        return resize_image(pixels, scaled_size(height, width, self.settings.size / min(height, width))).clamp(0, 1)


def build_class_network(settings: DynaSegClassesSettings, *, pretrained: bool) -> DynaSegNetwork:
    """A network of the settings.

    Args:
        settings: Of the model.
        pretrained: Whether the backbone starts from ImageNet weights.

    Raises:
        ModelError: If they cannot be had.
    """
    extractor: ConvolutionalExtractor | ResNetPyramidExtractor | Lite0PyramidExtractor
    if settings.extractor == "cnn":
        extractor = ConvolutionalExtractor(settings.features, settings.blocks)
    elif settings.extractor == "resnet18-fpn":
        extractor = ResNetPyramidExtractor(settings.features, pretrained=pretrained)
    else:
        extractor = Lite0PyramidExtractor(settings.features, pretrained=pretrained)
    return DynaSegNetwork(extractor, settings.clusters)


def label_categories(
    clusters: int, classes: Sequence[Category] = (), assignment: Iterable[int] | Integer[np.ndarray, " q"] = ()
) -> tuple[Category, ...]:
    """What the labels are called.

    Args:
        clusters: q.
        classes: Of the ground truth.
        assignment: For each label the position of its class, -1 for none; empty where there is no ground truth.

    Returns:
        For each label its class, or `label 3` for the third, stuff, with an id that no class has.
    """
    first_free = max((category.id for category in classes), default=-1) + 1
    positions = list(assignment) or [-1] * clusters
    return tuple(
        Category(first_free + label, f"label {label + 1}", is_thing=False) if position < 0 else classes[position]
        for label, position in enumerate(positions)
    )
