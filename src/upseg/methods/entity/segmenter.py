"""Image to `Segmentation`, by the entity method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float16, Float32, Int32, UInt8
from torch import Tensor

from upseg.functional.resizing import resize_image, scaled_area, scaled_size
from upseg.images.reading import ImageLike
from upseg.layers.tiling import TileGrid, run_in_tiles
from upseg.methods.entity.extensions.picture import colour_features
from upseg.methods.entity.grouping import Grouping, group_features
from upseg.methods.entity.network import EntityNetwork
from upseg.methods.entity.refinement import SegmentTree, refine, resize_labels
from upseg.methods.entity.settings import EntitySettings
from upseg.models.calling import torch_threads
from upseg.models.learned import LearnedSegmenter, Steps
from upseg.segmentation import Progress, Segmentation

LEAST_GROWTH = 1.1
"""A resolution whose sides are less than this many times those of the one before is not worth another pass."""
PICTURE_PIXELS = 1_000_000
"""The picture of the features that comes with a result has about so many at most."""
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

    method, knows_classes = "entity", False

    def make_network(self) -> EntityNetwork:
        """An `EntityNetwork` of the settings."""
        settings = self.settings
        return EntityNetwork(settings.backbone, settings.channels, settings.dimensions, settings.positions)

    def segment(self, image: ImageLike, progress: Progress | None = None) -> Segmentation:
        """Segment an image.

        Args:
            image: A path, or an array, Pillow image or tensor, as `read_image` takes it.
            progress: Called with (tiles and resolutions done, those there are).

        Returns:
            Each segment with its score, the mean of |f . mode| over its cluster, and the segment it is a part of; and
            the picture of the features of the lowest resolution (Fig. 2a).

        Raises:
            ImageError: If the image cannot be read.
        """
        with self.reading(image) as pixels:
            tree, features = self._refined(pixels, progress)
        found = Segmentation.from_labels(
            tree.labels, scores=tree.scores, parents=tree.parents, provenance=self.provenance()
        )
        return replace(found, features=features)

    @torch.inference_mode()
    def predict(self, batch: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h w"]:
        """The features of RGB images in [0, 1] of one size, in one pass without tiles.

        Returns:
            (B, d, H, W) of unit length, on the segmenter's device; their signs mean nothing.
        """
        return F.normalize(self.computed_network(batch.to(self.device)).float(), dim=1)

    def picture(self, image: ImageLike, kind: str = "features", count: int = 10) -> UInt8[np.ndarray, "h w 3"]:  # noqa: ARG002
        """The features of the lowest resolution in colours, as `colour_features` has them.

        Paper: Fig. 2a.

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

    def embed(self, image: ImageLike, progress: Progress | None = None) -> list[Float16[Tensor, "d _ _"]]:
        """The features of an image at each resolution, lowest first, to be grouped at will; arguments as of `segment`.

        Returns:
            Of each resolution (d, h, w) of unit length, on the CPU; half precision, since they are kept.
        """
        with self.reading(image) as pixels:
            step = Steps(sum(len(grid) for _, grid in self._resolutions(pixels)), progress)
            return [features.half().cpu() for _, features in self._features(pixels, step)]

    @torch.inference_mode()
    def segment_embedding(
        self, embedding: Sequence[Float[Tensor, "d _ _"]], size: tuple[int, int], bandwidth: float | None = None
    ) -> Segmentation:
        """Segment an image by its features, as `embed` gives them.

        Args:
            embedding: Of each resolution, lowest first.
            size: (H, W) of the image.
            bandwidth: Of the mean shift, in degrees, in (0, 90]; None for that of the settings.
        """
        chosen = self.settings if bandwidth is None else replace(self.settings, bandwidth=bandwidth)
        tree: SegmentTree | None = None
        with torch_threads(self.settings.threads):
            for features in embedding:
                lines = F.normalize(features.to(self.device).float(), dim=0)
                tree = self._with_resolution(tree, lines, size, chosen)
        assert tree is not None  # noqa: S101  (there is always one resolution)
        tree = tree.resized(size)
        facts = self.provenance()
        facts["settings"] = {**facts["settings"], "bandwidth": chosen.bandwidth}
        return Segmentation.from_labels(tree.labels, scores=tree.scores, parents=tree.parents, provenance=facts)

    @torch.inference_mode()
    def similarity(
        self, embedding: Sequence[Float[Tensor, "d _ _"]], row: float, column: float
    ) -> Float32[np.ndarray, "h w"]:
        """How near all pixels are to one: |f . g|, at the highest resolution.

        Args:
            embedding: As `embed` gives it.
            row: Of the pixel, as a share of the image's height, in [0, 1).
            column: Likewise of its width.

        Returns:
            (h, w) in [0, 1], at that resolution.
        """
        lines = embedding[-1].float()
        height, width = lines.shape[1:]
        chosen = lines[:, min(height - 1, int(row * height)), min(width - 1, int(column * width))]
        return torch.einsum("dhw,d->hw", lines, chosen).abs().clamp(0, 1).numpy()

    def picture_of(self, embedding: Sequence[Float[Tensor, "d _ _"]]) -> UInt8[np.ndarray, "h w 3"]:
        """The features of the highest resolution as colours; see `colour_features`."""
        return colour_features(embedding[-1].float())

    def _refined(
        self, image: Float32[Tensor, "1 3 h w"], progress: Progress | None
    ) -> tuple[SegmentTree, UInt8[np.ndarray, "_ _ 3"]]:
        """Segments at the image's size, the lowest resolution's refined by each of the others; and its features."""
        size = (image.shape[-2], image.shape[-1])
        resolutions = self._resolutions(image)
        step = Steps(sum(len(grid) for _, grid in resolutions) + len(resolutions), progress)
        tree: SegmentTree | None = None
        drawn: UInt8[np.ndarray, "_ _ 3"] | None = None
        for _, features in self._features(image, step):
            drawn = _drawn(features) if drawn is None else drawn
            tree = self._with_resolution(tree, features, size, self.settings)
            del features  # before those of the next resolution are made
            step()
        assert tree is not None  # noqa: S101  (there is always one resolution)
        assert drawn is not None  # noqa: S101
        return tree.resized(size), drawn

    def _resolutions(self, image: Float32[Tensor, "1 3 h w"]) -> list[tuple[tuple[int, int], TileGrid]]:
        """The sizes at which an image is looked at, lowest first, and the tiles of each."""
        settings = self.settings
        # tiles begin where positions begin anew, so that all tiles agree about them
        multiple = math.lcm(LARGEST_STRIDE, settings.positions or 1)
        sizes = level_sizes(image.shape[-2], image.shape[-1], settings)
        return [(size, TileGrid(*size, settings.tile, settings.overlap, multiple)) for size in sizes]

    def _features(
        self, image: Float32[Tensor, "1 3 h w"], step: Steps
    ) -> Iterator[tuple[tuple[int, int], Float[Tensor, "d _ _"]]]:
        for size, grid in self._resolutions(image):
            reduced = resize_image(image, size).clamp(0, 1).to(self.device)
            yield size, run_in_tiles(self.computed_network, reduced, grid, lines=True, progress=step)

    def _with_resolution(
        self,
        tree: SegmentTree | None,
        features: Float[Tensor, "d h w"],
        size: tuple[int, int],
        settings: EntitySettings,
    ) -> SegmentTree:
        """The segments of the resolutions so far, refined by those of the next one; `size` is the image's."""
        found = self._group(features, size[0] * size[1], settings)
        if tree is None:
            return SegmentTree(found.labels, found.scores)
        least = max(1, scaled_area(settings.minimum_added_area, found.labels.size, size[0] * size[1]))
        return refine(tree.resized(found.labels.shape), found.labels, found.scores, minimum_area=least)

    def _group(
        self, features: Float[Tensor, "d h w"], image_pixels: int, settings: EntitySettings | None = None
    ) -> Grouping:
        settings = settings or self.settings
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


def _drawn(features: Float[Tensor, "d h w"]) -> UInt8[np.ndarray, "_ _ 3"]:
    step = max(1, round((features[0].numel() / PICTURE_PIXELS) ** 0.5))
    return colour_features(features[:, ::step, ::step].float().cpu())


def level_sizes(height: int, width: int, settings: EntitySettings) -> list[tuple[int, int]]:
    """The resolutions at which an image is segmented, lowest first, by the settings `size`, `scales` and `memory`.

    Paper: Sec. 4.1; that they grow from `size` by `scales` is a choice.

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
