"""Image to `Segmentation` by a network of cells, at the scale at which it sees them best."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from upseg.functional.contrast import stretch_contrast
from upseg.functional.resizing import resize_image, scaled_size
from upseg.images.reading import ImageLike
from upseg.images.regions import RgbSource
from upseg.layers.tiling import run_in_tiles
from upseg.methods.entity.extensions.cells.grouping import FoundCells, PixelMaps, group_cells, typical_diameter
from upseg.methods.entity.extensions.cells.network import CellNetwork
from upseg.methods.entity.extensions.cells.settings import CellSettings
from upseg.methods.entity.extensions.cells.slides import (
    Patches,
    SlideCells,
    SlidePlan,
    StretchedRegions,
    block_sizes,
    contrast_of,
    grid_of,
    parts_of,
)
from upseg.methods.entity.refinement import resize_label_rows, resize_labels
from upseg.models.calling import torch_threads
from upseg.models.learned import LearnedSegmenter, Steps
from upseg.segmentation import Progress, Segmentation
from upseg.segmentation.banded import BandedSegmentation, number_canonically

Look = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b 4 h w"]]
CLOSE = 1.2
"""A scale within this factor of the right one is right."""
_LEAST_OBJECTS = 3
"""In a part of an image that says how large objects are."""
MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


class CellSegmenter(LearnedSegmenter[CellSettings, CellNetwork]):
    """Segments images full of objects that look alike, such as nuclei, whatever their size.

    First the image is looked at in its own size, or smaller if it is large, for how large its objects are; then it is
    scaled so that they have the network's canonical diameter, and segmented; the label map is brought back.

    It is made as any `LearnedSegmenter` is; `categories` must be empty, since the method knows no classes.
    """

    method, knows_classes = "cells", False

    def make_network(self) -> CellNetwork:
        """A `CellNetwork` of the settings."""
        return CellNetwork(self.settings.backbone, self.settings.channels)

    def segment(self, image: ImageLike, progress: Progress | None = None) -> Segmentation:
        """Segment an image.

        Args:
            image: A path, or an array, Pillow image or tensor, as `read_image` takes it.
            progress: Called with (tiles done, those there are) of the last pass, or (1, 1) if an earlier one will do.

        Returns:
            Each object with its score, the mean probability that its pixels belong to some object. The provenance has
            the `diameter` that the image was scaled by.

        Raises:
            ImageError: If the image cannot be read.
        """
        with self.reading(image) as pixels:
            tensor = _stretched(pixels) if self.settings.stretch else pixels
            diameter, known = self._diameter(tensor)
            height, width = tensor.shape[-2:]
            scale = self._scale(diameter)
            found = None if self.settings.flips else known.get(scaled_size(height, width, scale))
            if found is None:
                found = self._group(self._maps(tensor, scale, self._mirrored, progress))
            elif progress is not None:
                progress(1, 1)
            labels, scores = restored(found, (height, width))
        return Segmentation.from_labels(labels, scores=scores, provenance=self.provenance(diameter=round(diameter, 1)))

    def segment_in_blocks(
        self, image: RgbSource, folder: Path, key: str, memory: int, progress: Progress | None = None
    ) -> BandedSegmentation:
        """Segment an image of any size, as `segment` would with enough memory.

        Only how large the objects are is found in another way: in nine parts of the image at full resolution, since
        nothing is left of small objects where a slide is reduced to the size of a window.

        Args:
            image: RGB in [0, 1].
            folder: For what is computed: a second call with the same goes on where the first was stopped. The result
                needs it.
            key: Of the image and the model: what lies in the folder under another is deleted.
            memory: Bytes that the whole process may take.
            progress: Called with (blocks done, those there are).

        Raises:
            ImageError: If the image is damaged.
            ModelError: If the memory is too little for any block.
        """
        sizes = block_sizes(memory, self.settings.canonical)
        key = f"{key} {sizes}"
        with torch_threads(self.settings.threads), torch.inference_mode():
            plan = SlidePlan.kept_in(folder, key, lambda: self._plan(image, sizes))
            slide = SlideCells(StretchedRegions(image, plan.contrast), plan, folder, self._looked, self.settings)
            slide.run(Steps(len(slide.cores), progress))
        patches = Patches(tuple(slide.patch(number) for number in range(len(slide.cores))), plan.size)

        def labels_at(rows: slice) -> Int32[np.ndarray, "h w"]:
            return resize_label_rows(patches.labels_at, plan.size, plan.shape, rows)

        facts = self.provenance(diameter=round(plan.diameter, 1))
        return number_canonically(plan.shape, labels_at, len(patches.scores), facts, patches.scores)

    def _plan(self, image: RgbSource, sizes: tuple[int, int]) -> SlidePlan:
        contrast = contrast_of(image) if self.settings.stretch else None
        given = self.settings.diameter
        stretched = StretchedRegions(image, contrast)
        diameter = self._diameter_of_parts(stretched) if given == "auto" else float(given)
        size = scaled_size(*image.shape, self._scale(diameter))
        return SlidePlan(image.shape, size, diameter, contrast, *sizes)

    def _diameter_of_parts(self, image: StretchedRegions) -> float:
        """The median of what the network finds in nine parts of an image, of those with objects."""
        found = []
        for part in parts_of(image.shape, self.settings.largest):
            pixels = torch.from_numpy(image.read(*part)).permute(2, 0, 1)[None]
            diameter, known = self._diameter(pixels)
            if len(list(known.values())[-1].scores) >= _LEAST_OBJECTS:
                found.append(diameter)
        return float(np.median(found)) if found else self.settings.canonical

    def _looked(self, images: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 4 h w"]:
        return self._mirrored(images.to(self.device)).cpu()

    @torch.inference_mode()
    def predict(self, batch: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h w"]:
        """The maps of images of one size, in one pass without tiles, at the size that they have.

        Args:
            batch: (B, 3, H, W) RGB in [0, 1], their contrast as the network is to see it.

        Returns:
            (B, 4, H, W) `MAPS` as probabilities, and the size as it is, on the segmenter's device.
        """
        return self._mirrored(batch.to(self.device))

    def group(self, maps: Float[Tensor, "4 h w"], size: tuple[int, int] | None = None) -> Int32[np.ndarray, "h2 w2"]:
        """The objects in one image's maps.

        Args:
            maps: (4, H, W) as `predict` gives them.
            size: (H2, W2) of the result in pixels; None for that of the maps.

        Returns:
            (H2, W2) ids, 0 background.
        """
        found = self._group(_as_arrays(maps))
        return restored(found, size or (maps.shape[1], maps.shape[2]))[0]

    def _diameter(self, image: Float32[Tensor, "1 3 h w"]) -> tuple[float, dict[tuple[int, int], FoundCells]]:
        """The objects' diameter in pixels of the image, and what was found on the way, by the size of the maps."""
        settings, known = self.settings, dict[tuple[int, int], FoundCells]()
        if settings.diameter != "auto":
            return float(settings.diameter), {}
        scale = min(1.0, settings.largest / max(image.shape[-2:]))
        diameter = settings.canonical / scale
        for _ in range(settings.passes):
            size = scaled_size(image.shape[-2], image.shape[-1], scale)
            if size in known:
                break
            maps = self._maps(image, scale, self._look)
            known[size] = self._group(maps)
            found = typical_diameter(maps, known[size], settings.canonical)
            if found is None:
                break
            diameter = found / scale
            if 1 / CLOSE <= self._scale(diameter) / scale <= CLOSE:
                return settings.canonical / scale, known  # near enough: the maps are those of the answer
            scale = min(self._scale(diameter), settings.largest / max(image.shape[-2:]))
        return diameter, known

    def _scale(self, diameter: float) -> float:
        scale: float = min(self.settings.canonical / diameter, self.settings.enlarged)
        return scale

    def _maps(
        self, image: Float32[Tensor, "1 3 h w"], scale: float, look: Look, progress: Progress | None = None
    ) -> PixelMaps:
        size = scaled_size(image.shape[-2], image.shape[-1], scale)
        scaled = resize_image(image, size).clamp(0, 1).to(self.device)
        grid = grid_of(size, self.settings)
        return _as_arrays(run_in_tiles(look, scaled, grid, lines=False, progress=Steps(len(grid), progress)))

    def _mirrored(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h w"]:
        """The network's maps, or the mean of those of the mirror images."""
        mirrors = MIRRORS if self.settings.flips else MIRRORS[:1]
        total = sum(self._look(images.flip(axes)).flip(axes) for axes in mirrors)
        assert isinstance(total, Tensor)  # noqa: S101  (there is at least one)
        return total / len(mirrors)

    def _look(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h w"]:
        maps = self.computed_network(images)
        logits = torch.stack((maps.foreground, maps.border, maps.distance), 1)
        return torch.cat((logits.float().sigmoid(), maps.size.float()[:, None]), 1)

    def _group(self, maps: PixelMaps) -> FoundCells:
        settings = self.settings
        disk = math.pi * settings.canonical**2 / 4
        return group_cells(
            maps,
            foreground=settings.foreground,
            border_weight=settings.border_weight,
            smoothing=settings.smoothing,
            prominence=settings.prominence,
            minimum_area=settings.minimum_area * disk,
            minimum_score=settings.minimum_score,
        )


def restored(found: FoundCells, size: tuple[int, int]) -> tuple[Int32[np.ndarray, "h w"], dict[int, float]]:
    """A label map at the image's size, and the scores of what is left; objects may get lost that are below a pixel."""
    labels = resize_labels(found.labels, size)
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
    return labels, {int(k): found.scores[int(k)] for k in present if k > 0}


def _stretched(image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:
    return torch.from_numpy(stretch_contrast(image[0].permute(1, 2, 0).numpy())).permute(2, 0, 1)[None]


def _as_arrays(maps: Float[Tensor, "4 h w"]) -> PixelMaps:
    return PixelMaps(*maps.float().cpu().numpy())
