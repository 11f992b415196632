"""Image to `Segmentation`, and to depth, by the panoptic method."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from upseg.errors import ModelError
from upseg.functional.resizing import resize_image, scaled_size
from upseg.images.reading import ImageLike
from upseg.methods.panoptic.equations import metric_depth
from upseg.methods.panoptic.extensions.resampling import Resampling
from upseg.methods.panoptic.grouping import group_panoptic
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.models.learned import LearnedSegmenter
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Segmentation

LEAST_DEPTH = 0.001
"""Metres: what is nearer is said to be so near, since 0 means that depth is unknown."""


class PanopticSegmenter(LearnedSegmenter[PanopticSettings, PanopticNetwork]):
    """Segments images into things and stuff with their classes, with a trained network; predicts depth if asked.

    Paper: Prisadnikov et al., "A Simple and Generalist Approach for Panoptic Segmentation", Sec. 3.3.1.

    It is made as any `LearnedSegmenter` is; `categories` are the classes in the order of the semantic channels, none
    for a model without the head semantic.
    """

    method = "panoptic"

    def make_network(self) -> PanopticNetwork:
        """A `PanopticNetwork` of the settings and classes."""
        settings = self.settings
        return PanopticNetwork(
            settings.backbone,
            settings.layers,
            settings.decoder_channels,
            outputs=output_channels(settings, self.categories),
            patch=settings.patch,
            relative=settings.grid if settings.relative else None,
        )

    def check_categories(self) -> None:
        """Refuse classes without the head semantic, and none with it."""
        if ("semantic" in self.settings.heads) != bool(self.categories):
            raise ModelError(
                f"a model with the head semantic has classes, one without has none; this one has the heads "
                f"{', '.join(self.settings.heads)} and lists {len(self.categories)} classes"
            )

    def segment(self, image: ImageLike) -> Segmentation:
        """Segment an image.

        Args:
            image: A path, or an array, Pillow image or tensor, as `read_image` takes it.

        Returns:
            Things and stuff, each segment with its class and score; by a model without the head semantic, things
            without class, and by one without the head instance, one segment for each class.

        Raises:
            ImageError: If the image cannot be read.
        """
        with self.reading(image) as pixels:
            return self._grouped(*self._maps(pixels), (pixels.shape[2], pixels.shape[3]))

    def segment_with_depth(self, image: ImageLike) -> tuple[Segmentation, PredictedDepth]:
        """Segment an image and predict the depth of its pixels, in one pass; arguments and errors as of `segment`.

        Returns:
            What `segment` returns, and depth of the image's size: metres if the model has a `maximum_depth`, else
            relative.

        Raises:
            ModelError: If the model has no head depth.
        """
        if not self.settings.predicts_depth:
            raise ModelError(f"this model predicts no depth: its heads are {', '.join(self.settings.heads)}")
        with self.reading(image) as pixels:
            maps, extent = self._maps(pixels)
            size = pixels.shape[2], pixels.shape[3]
            return self._grouped(maps, extent, size), self._depth(maps["depth"], extent, size)

    @torch.inference_mode()
    def predict(self, batch: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _ h2 w2"]]:
        """The network's maps of RGB images in [0, 1] of one size, which are not brought to the setting `size`.

        Returns:
            For each head a (B, channels, h, w) map of raw values, on the segmenter's device.
        """
        maps: dict[str, Tensor] = self.computed_network(batch.to(self.device))
        return maps

    def _maps(self, image: Float[Tensor, "1 3 h w"]) -> tuple[dict[str, Float[Tensor, "_ h2 w2"]], tuple[float, float]]:
        """The maps of an image, and how many rows and columns of them the image covers."""
        size = network_size(image.shape[2], image.shape[3], self.settings.size)
        maps = {head: values[0] for head, values in self.predict(resize_image(image, size).clamp(0, 1)).items()}
        rows, columns = (side * self.network.upsampling / self.network.backbone.patch for side in size)
        return maps, (rows, columns)

    def _grouped(
        self, maps: Mapping[str, Float[Tensor, "_ h2 w2"]], extent: tuple[float, float], size: tuple[int, int]
    ) -> Segmentation:
        is_thing = np.array([category.is_thing for category in self.categories], bool)
        with torch.autocast(self.device.type, enabled=False):  # distances are compared in full precision
            found = group_panoptic(
                maps.get("instance"), maps.get("semantic"), is_thing, self.settings, size, extent=extent
            )
        return Segmentation.from_labels(
            found.labels,
            scores=found.scores,
            categories={segment: self.categories[number] for segment, number in found.classes.items()},
            provenance=self.provenance(),
        )

    def _depth(
        self, output: Float[Tensor, "1 h2 w2"], extent: tuple[float, float], size: tuple[int, int]
    ) -> PredictedDepth:
        resampling = Resampling.between((output.shape[1], output.shape[2]), size, extent, output.device)
        maximum = self.settings.maximum_depth
        if maximum is None:
            return PredictedDepth.relative(resampling.bilinear(output)[0].cpu().numpy())
        metres = resampling.bilinear(metric_depth(output.float(), maximum)).clamp_min(LEAST_DEPTH)
        return PredictedDepth(metres[0].cpu().numpy(), is_metric=True)


def network_size(height: int, width: int, longer: int | None) -> tuple[int, int]:
    """The size in which the network gets an image: the longer side has so many pixels, or for None as many as it has.

    Returns:
        (H, W) with the image's aspect, as near as whole pixels can be.
    """
    if longer is None:
        return height, width
    factor = longer / max(height, width)
    return scaled_size(height, width, factor)
