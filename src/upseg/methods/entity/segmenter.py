"""Image to `Segmentation`, by the entity method."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int32, UInt8
from torch import Tensor

from upseg.errors import ModelError
from upseg.functional.resizing import resize_image, scaled_area, scaled_size
from upseg.images.reading import ImageLike
from upseg.layers.tiling import TileGrid, run_in_tiles
from upseg.methods.entity.extensions.picture import colour_features
from upseg.methods.entity.grouping import Grouping, group_features
from upseg.methods.entity.network import EntityNetwork
from upseg.methods.entity.refinement import SegmentTree, refine, resize_labels
from upseg.methods.entity.settings import EntitySettings
from upseg.models.learned import LearnedSegmenter, Steps
from upseg.segmentation import Progress, Segmentation

LEAST_GROWTH = 1.1
"""A resolution whose sides are less than this many times those of the one before is not worth another pass."""
LARGEST_STRIDE = 32
"""Of the network: tiles begin at multiples of it."""


class EntitySegmenter(LearnedSegmenter[EntitySettings, EntityNetwork]):
    """Segments images with a trained network: a line for each pixel, clusters of lines, several resolutions.

    Paper: Dille et al., "A Bottom-Up Approach to Class-Agnostic Image Segmentation", Sec. 4 and 4.1.

    Each resolution is clustered at its own size, and its label map, not its features, is brought to the next size: the
    features of a photo of 24 megapixels would take 12 GB. Features of one resolution never take more than the setting
    `memory`; resolutions above that are reduced to fit.

    It is made as any `LearnedSegmenter` is; `categories` must be empty, since the method knows no classes.
    """

    method = "entity"

    def make_network(self) -> EntityNetwork:
        """An `EntityNetwork` of the settings."""
        settings = self.settings
        return EntityNetwork(settings.backbone, settings.channels, settings.dimensions, settings.positions)

    def check_categories(self) -> None:
        """Refuse any class."""
        if self.categories:
            raise ModelError(f"the method entity knows no classes, but the model lists {len(self.categories)}")

    def segment(self, image: ImageLike, progress: Progress | None = None) -> Segmentation:
        """Segment an image.

        Args:
            image: A path, or an array, Pillow image or tensor, as `read_image` takes it.
            progress: Called with (tiles and resolutions done, those there are).

        Returns:
            Each segment with its score, the mean of |f . mode| over its cluster, and the segment it is a part of.

        Raises:
            ImageError: If the image cannot be read.
        """
        with self.reading(image) as pixels:
            tree = self._refined(pixels, progress)
        return Segmentation.from_labels(
            tree.labels, scores=tree.scores, parents=tree.parents, provenance=self.provenance()
        )

    @torch.inference_mode()
    def predict(self, batch: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h w"]:
        """The features of images of one size, in one pass without tiles.

        Args:
            batch: (B, 3, H, W) RGB in [0, 1].

        Returns:
            (B, d, H, W) of unit length, on the segmenter's device; their signs mean nothing.
        """
        return F.normalize(self.network(batch.to(self.device)).float(), dim=1)

    def picture(self, image: ImageLike, kind: str = "features", count: int = 10) -> UInt8[np.ndarray, "h w 3"]:  # noqa: ARG002
        """The features of the lowest resolution in colours, as `colour_features` has them.

        Paper: Fig. 2a.

        Args:
            image: As for `segment`.
            kind: `features`.
            count: Of no interest.

        Raises:
            ImageError: If the image cannot be read.
        """
        with self.reading(image) as pixels:
            size = level_sizes(pixels.shape[-2], pixels.shape[-1], self.settings)[0]
            return colour_features(self.predict(resize_image(pixels, size).clamp(0, 1))[0].cpu())

    @torch.inference_mode()
    def group(
        self, features: Float[Tensor, "d h w"], size: tuple[int, int] | None = None
    ) -> Int32[np.ndarray, "h2 w2"]:
        """The segments of one image's features, of one resolution.

        Args:
            features: (d, H, W) of unit length, as `predict` gives them.
            size: (H2, W2) of the result in pixels; None for that of the features.

        Returns:
            (H2, W2) ids, 0 void.
        """
        size = size or (features.shape[1], features.shape[2])
        return resize_labels(self._group(features, size[0] * size[1]).labels, size)

    def _refined(self, image: Float32[Tensor, "1 3 h w"], progress: Progress | None) -> SegmentTree:
        """Segments at the image's size: the lowest resolution's, refined by each of the others in turn."""
        settings, (height, width) = self.settings, image.shape[-2:]
        levels = level_sizes(height, width, settings)
        # tiles begin where positions begin anew, so that all tiles agree about them
        multiple = math.lcm(LARGEST_STRIDE, settings.positions or 1)
        grids = [TileGrid(*size, settings.tile, settings.overlap, multiple) for size in levels]
        step = Steps(sum(map(len, grids)) + len(grids), progress)
        tree: SegmentTree | None = None
        for size, grid in zip(levels, grids, strict=True):
            reduced = resize_image(image, size).clamp(0, 1).to(self.device)
            features = run_in_tiles(self.network, reduced, grid, lines=True, progress=step)
            found = self._group(features, height * width)
            del features  # before those of the next resolution are made
            if tree is None:
                tree = SegmentTree(found.labels, found.scores)
            else:
                least = max(1, scaled_area(settings.minimum_added_area, found.labels.size, height * width))
                tree = refine(tree.resized(size), found.labels, found.scores, minimum_area=least)
            step()
        assert tree is not None  # noqa: S101  (there is always one resolution)
        return tree.resized((height, width))

    def _group(self, features: Float[Tensor, "d h w"], image_pixels: int) -> Grouping:
        settings = self.settings
        scale = (features[0].numel() / image_pixels) ** 0.5
        with torch.autocast(self.device.type, enabled=False):  # lines are told apart in full precision
            return group_features(
                features,
                bandwidth=settings.bandwidth,
                window=settings.window,
                background=settings.background,
                connected=settings.connected,
                minimum_area=scaled_area(settings.minimum_area, features.shape[1] * features.shape[2], image_pixels),
                minimum_thickness=round(settings.minimum_thickness * scale),
                minimum_score=settings.minimum_score,
                fill_holes=settings.fill_holes,
                trim=round(settings.trim * scale),
                seed=settings.seed,
            )


def level_sizes(height: int, width: int, settings: EntitySettings) -> list[tuple[int, int]]:
    """The resolutions at which an image is segmented, lowest first.

    Paper: Sec. 4.1; that they grow from `size` by `scales` is a choice.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        settings: Their `size`, `scales` and `memory`.

    Returns:
        (H, W) of each, at least one; none above the image's own size, nor with more than `settings.max_pixels`.
    """
    most = min(1.0, (settings.max_pixels / (height * width)) ** 0.5)
    wanted = [1.0] if settings.size is None else [settings.size * s / min(height, width) for s in settings.scales]
    factors: list[float] = []
    for factor in (min(factor, most) for factor in wanted):
        if not factors or factor >= LEAST_GROWTH * factors[-1]:
            factors.append(factor)
    return [scaled_size(height, width, factor) for factor in factors]
