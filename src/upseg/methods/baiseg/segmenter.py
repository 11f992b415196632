"""Image to `Segmentation`, by the baiseg method; class masks to instances too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, Int64, UInt8
from torch import Tensor

from upseg.errors import ModelError
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.functional.resizing import resize_image, scaled_area, scaled_size
from upseg.images.reading import ImageLike
from upseg.layers.tiling import TileGrid, run_in_tiles
from upseg.methods.baiseg.extensions.semantic_maps import GivenClasses, SemanticMap, given_classes, nearest_labels
from upseg.methods.baiseg.extraction import extract
from upseg.methods.baiseg.grouping import Grouping, group_instances
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.methods.baiseg.settings import BaisegSettings
from upseg.methods.baiseg.targets import class_count, things
from upseg.models.learned import LearnedSegmenter, Steps
from upseg.segmentation import Category, Progress, Segmentation

LARGEST_STRIDE = 32
"""Of the network: tiles begin at multiples of it."""


class BaisegSegmenter(LearnedSegmenter[BaisegSettings, BaisegNetwork]):
    """Segments images into instances with a trained network, or cuts the class masks that it is given into instances.

    Paper: Wang and Bai, "BAISeg: Boundary Assisted Weakly Supervised Instance Segmentation", Sec. 3.6, Appendix C.

    It is made as any `LearnedSegmenter` is; without `categories` it knows one nameless class of things.
    """

    method = "baiseg"

    def make_network(self) -> BaisegNetwork:
        """A `BaisegNetwork` of the settings and classes."""
        return BaisegNetwork(self.settings, class_count(self.categories, self.settings.background))

    def segment(
        self, image: ImageLike, semantic_map: SemanticMap | None = None, progress: Progress | None = None
    ) -> Segmentation:
        """Segment an image: its things into instances, and each other class into one segment.

        Args:
            image: A path, or an array, Pillow image or tensor, as `read_image` takes it.
            semantic_map: What class each pixel has, in place of the model's own opinion. Either an (H, W) array of the
                ids of the model's classes, where 0 (unless a class has that id) and less is no class; of a model
                without classes, each number is one class of things. Or a `Segmentation`, such as another model's or a
                ground truth: its segments' classes count, whether the model knows them or not, and segments without a
                class are all one class of things. Which pixels are of one segment makes no difference.
            progress: Called with (tiles done and the extraction, those there are).

        Returns:
            Segments with scores, and with categories unless the classes have no names.

        Raises:
            ImageError: If the image cannot be read.
            ModelError: If the model has no semantic branch, and no `semantic_map` is given.
            DataError: If the map has not the image's size, or a class that the model does not know.
        """
        if semantic_map is None and self.settings.semantic_width is None:
            raise ModelError(
                "this model finds boundaries alone, and cannot tell which pixels are objects; give it class masks with "
                "`upseg split`, or segment(image, semantic_map)"
            )
        with self.reading(image) as pixels:
            shape, given = (pixels.shape[2], pixels.shape[3]), None
            if semantic_map is not None:
                given = given_classes(semantic_map, shape, self.categories, background=self.settings.background)
            found = self._grouped(pixels, given, progress)
        categories: Sequence[Category | None] = (self.categories or (None,)) if given is None else given.categories
        named = {k: categories[position - self.settings.background] for k, position in found.classes.items()}
        return Segmentation.from_labels(
            found.labels,
            scores=found.scores,
            categories={k: category for k, category in named.items() if category is not None},
            provenance=self.provenance(**({} if given is None else {"semantic_map": given.provenance})),
        )

    def split(self, image: ImageLike, semantic_map: SemanticMap, progress: Progress | None = None) -> Segmentation:
        """Cut the masks of classes into instances; arguments, result and errors as of `segment`."""
        return self.segment(image, semantic_map, progress)

    @torch.inference_mode()
    def predict(self, batch: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _ h w"]]:
        """The network's maps of RGB images in [0, 1] of one size, without tiles, whatever the setting `size`.

        Returns:
            Logits on the segmenter's device: `boundary` (B, 1, H, W), and `semantic` (B, C, H, W) of a model with a
            semantic branch; with the setting `background` its first channel is the background.
        """
        maps: dict[str, Tensor] = self.computed_network(batch.to(self.device))
        return maps

    def picture(
        self,
        image: ImageLike,
        kind: str = "boundaries",  # noqa: ARG002
        count: int = 10,  # noqa: ARG002
        *,
        semantic_map: SemanticMap | None = None,
    ) -> UInt8[np.ndarray, "h2 w2 3"]:
        """The boundary map and the stages of the extraction, side by side.

        Paper: Fig. 6 and 7. They have the size at which the network sees the image. Without a `semantic_map` a model
        that has no semantic branch cuts the whole image.

        Args:
            image: As for `segment`.
            kind: `boundaries`.
            count: Of no interest.
            semantic_map: As for `segment`.

        Raises:
            ImageError: If the image cannot be read.
            DataError: As `segment` raises it.
        """
        background, stages = self.settings.background, dict[str, np.ndarray]()
        own = semantic_map is None and self.settings.semantic_width is not None
        categories: Sequence[Category | None] = self.categories or (None,)
        classes = None
        with self.reading(image) as pixels:
            height, width = pixels.shape[2], pixels.shape[3]
            size = working_sizes(height, width, self.settings)[0]
            seen = resize_image(pixels, size).clamp(0, 1)
            maps, _ = self._probabilities(seen, None, own=own)
            boundary = maps[0].float().cpu().numpy()
            if semantic_map is not None:
                given = given_classes(semantic_map, (height, width), self.categories, background=background)
                classes, categories = nearest_labels(given.positions, size), given.categories
            elif own:
                classes = maps[1:].argmax(0).cpu().numpy()
            colours = seen[0].permute(1, 2, 0).contiguous().numpy()
            extract(boundary, classes, things(_nameable(categories), background), self.settings, colours, stages)
        drawn = {"boundary": boundary, **stages}
        return side_by_side([_drawn(values, colours) for values in drawn.values()], list(drawn))

    def _grouped(
        self, image: Float32[Tensor, "1 3 h w"], given: GivenClasses | None, progress: Progress | None
    ) -> Grouping:
        """Segments at the image's size; the extraction may have another."""
        shape = image.shape[2], image.shape[3]
        seen, worked = working_sizes(*shape, self.settings)
        maps, step = self._probabilities(resize_image(image, seen).clamp(0, 1), progress, own=given is None)
        maps = resize_image(maps[None], worked)[0].clamp_(0, 1)  # in place: with many classes they are large
        colours = None
        if self.settings.flood == "image":
            colours = resize_image(image, worked).clamp(0, 1)[0].permute(1, 2, 0).contiguous().numpy()
        categories = self.categories if given is None else _nameable(given.categories)
        least = scaled_area(self.settings.minimum_area, math.prod(worked), math.prod(shape))
        found = group_instances(
            maps[0],
            maps[1:] if given is None else None,
            None if given is None else nearest_labels(given.positions, worked),
            things(categories, self.settings.background),
            replace(self.settings, minimum_area=least),
            colours,
        )
        step()
        labels = nearest_labels(found.labels, shape)
        if given is not None and worked != shape and self.settings.refine:
            labels = _cut(labels, found, given.positions)
        return replace(found, labels=labels)

    def _probabilities(
        self, image: Float[Tensor, "1 3 h w"], progress: Progress | None, *, own: bool
    ) -> tuple[Float[Tensor, "c1 h w"], Callable[[], None]]:
        """The boundary's probability, then those of the classes if the `own` ones are asked for; and the next step."""
        settings = self.settings
        # tiles begin where the coarsest cells do, so that all tiles agree about them
        multiple = math.lcm(LARGEST_STRIDE, settings.resolution, settings.semantic_resolution)
        grid = TileGrid(image.shape[-2], image.shape[-1], settings.tile, settings.overlap, multiple)
        step = Steps(len(grid) + 1, progress)

        def run(tile: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 c h w"]:
            maps = self.computed_network(tile)
            boundary = maps["boundary"].float().sigmoid()
            return torch.cat([boundary, maps["semantic"].float().softmax(dim=1)], dim=1) if own else boundary

        return run_in_tiles(run, image.to(self.device), grid, lines=False, progress=step), step


def _drawn(values: np.ndarray, image: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Labels over the image, all else in grey, its largest value white."""
    if values.dtype.kind == "i":
        return draw_overlay(Segmentation.from_labels(values), image)
    grey = np.rint(values / max(float(values.max(initial=0)), 1e-9) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def working_sizes(height: int, width: int, settings: BaisegSettings) -> tuple[tuple[int, int], tuple[int, int]]:
    """The sizes (H, W) at which the network sees an image, and at which instances are cut.

    The network sees it with the setting `size` as its longer side. Instances are cut at the image's own size, or the
    network's where that is larger: then small gaps are wide enough for boundaries on both of their sides. Neither has
    more than `max_pixels`.
    """
    most = (settings.max_pixels / (height * width)) ** 0.5
    seen = min(1.0 if settings.size is None else settings.size / max(height, width), most)
    worked = max(seen, min(1.0, most))
    return scaled_size(height, width, seen), scaled_size(height, width, worked)


def _nameable(categories: Sequence[Category | None]) -> tuple[Category, ...]:
    """With nameless things in place of None: positions and kinds count, not names."""
    return tuple(Category(0, "object") if category is None else category for category in categories)


def _cut(
    labels: Int32[np.ndarray, "h w"], found: Grouping, positions: Int64[np.ndarray, "h w"]
) -> Int32[np.ndarray, "h w"]:
    """The pixels of each segment that have its class; positions are those of the full size."""
    table = np.array([-2, *(found.classes[k] for k in sorted(found.classes))], np.int64)
    return np.where(table[labels] == positions, labels, 0).astype(np.int32)
