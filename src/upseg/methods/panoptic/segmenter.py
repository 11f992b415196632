"""Image to `Segmentation`, and to depth, by the panoptic method."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from upseg.errors import ModelError
from upseg.functional.resizing import resize_image
from upseg.images.reading import ImageLike, read_image
from upseg.layers.threads import torch_threads
from upseg.methods.panoptic.equations import metric_depth
from upseg.methods.panoptic.extensions.resampling import Resampling
from upseg.methods.panoptic.grouping import group_panoptic
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.models.saving import PretrainedMixin, choose_network
from upseg.predicted_depth import PredictedDepth
from upseg.segmentation import Category, Segmentation

LEAST_DEPTH = 0.001
"""Metres: what is nearer is said to be so near, since 0 means that depth is unknown."""


class PanopticSegmenter(PretrainedMixin):
    """Segments images into things and stuff with their classes, with a trained network; predicts depth if asked.

    Paper: Prisadnikov et al., "A Simple and Generalist Approach for Panoptic Segmentation", Sec. 3.3.1.

    Args:
        settings: Of the model.
        device: What torch computes on: `cpu`, `cuda`, ...
        weights: A safetensors file with the network's weights, of any floating type.
        categories: The classes in the order of the semantic channels; empty for a model without the head semantic.
        network: Instead of weights: a network of these settings and classes, in evaluation mode, on the device; used as
            it is.

    Raises:
        ModelError: If the weights cannot be read or are not those of the network that the settings and classes
            describe, or there are classes without the head semantic, or none with it.
        ValueError: If there are neither weights nor a network, or both, or the network is in training mode.
    """

    method = "panoptic"
    network: PanopticNetwork

    def __init__(
        self,
        settings: PanopticSettings,
        device: str = "cpu",
        *,
        weights: Path | None = None,
        categories: tuple[Category, ...] = (),
        network: PanopticNetwork | None = None,
    ) -> None:
        if ("semantic" in settings.heads) != bool(categories):
            raise ModelError(
                f"a model with the head semantic has classes, one without has none; this one has the heads "
                f"{', '.join(settings.heads)} and lists {len(categories)} classes"
            )
        self.settings, self.categories = settings, categories
        self.device = torch.device(device)
        self.network = choose_network(lambda: _make_network(settings, categories), weights, network, self.device)

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
        pixels = read_image(image)
        with torch_threads(self.settings.threads), torch.inference_mode():
            return self._grouped(*self._maps(pixels), pixels.shape[:2])

    def segment_with_depth(self, image: ImageLike) -> tuple[Segmentation, PredictedDepth]:
        """Segment an image and predict the depth of its pixels, in one pass; arguments and errors as of `segment`.

        Returns:
            What `segment` returns, and depth of the image's size: metres if the model has a `maximum_depth`, else
            relative.

        Raises:
            ModelError: If the model has no head depth.
        """
        if "depth" not in self.settings.heads:
            raise ModelError(f"this model predicts no depth: its heads are {', '.join(self.settings.heads)}")
        pixels = read_image(image)
        with torch_threads(self.settings.threads), torch.inference_mode():
            maps, extent = self._maps(pixels)
            return self._grouped(maps, extent, pixels.shape[:2]), self._depth(maps["depth"], extent, pixels.shape[:2])

    @torch.inference_mode()
    def predict(self, batch: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _ h2 w2"]]:
        """The network's maps of images of one size, as they are: they are not brought to the setting `size`.

        Args:
            batch: (B, 3, H, W) RGB in [0, 1].

        Returns:
            For each head a (B, channels, h, w) map of raw values, on the segmenter's device.
        """
        maps: dict[str, Tensor] = self.network(batch.to(self.device))
        return maps

    def _maps(
        self, pixels: Float32[np.ndarray, "h w 3"]
    ) -> tuple[dict[str, Float[Tensor, "_ h2 w2"]], tuple[float, float]]:
        """The maps of an image, and how many rows and columns of them the image covers."""
        size = network_size(pixels.shape[0], pixels.shape[1], self.settings.size)
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
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
            provenance={"method": "panoptic", "settings": json.loads(json.dumps(asdict(self.settings)))},
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
    """The size in which the network gets an image.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        longer: The longer side, in pixels; None for the image's own size.

    Returns:
        (H, W) with the image's aspect, as near as whole pixels can be.
    """
    if longer is None:
        return height, width
    factor = longer / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _make_network(settings: PanopticSettings, categories: tuple[Category, ...]) -> PanopticNetwork:
    return PanopticNetwork(
        settings.backbone,
        settings.layers,
        settings.decoder_channels,
        outputs=output_channels(settings, categories),
        patch=settings.patch,
    )
