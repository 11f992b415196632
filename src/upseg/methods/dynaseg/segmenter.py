"""Image to `Segmentation`, by DynaSeg."""

from __future__ import annotations

from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, UInt8
from torch import Tensor

from upseg.errors import ModelError
from upseg.formats.montage import side_by_side
from upseg.formats.overlay import draw_overlay
from upseg.functional.resizing import resize_image, scaled_size
from upseg.hierarchy import Hierarchy
from upseg.images.reading import ImageLike, read_image
from upseg.images.regions import RgbSource
from upseg.methods.dynaseg.extensions.atoms import colour_gradient, enlarge
from upseg.methods.dynaseg.extensions.features import photo_maps
from upseg.methods.dynaseg.extensions.hierarchy import DEFAULT_DETAIL, group_hierarchy
from upseg.methods.dynaseg.extensions.large import DrawnBlocks, block_side, reduced_image
from upseg.methods.dynaseg.fit import fit_network, whole_response
from upseg.methods.dynaseg.floor import silhouette_floor
from upseg.methods.dynaseg.grouping import group_labels
from upseg.methods.dynaseg.network import DynaSegNetwork
from upseg.methods.dynaseg.settings import DynaSegSettings
from upseg.models.calling import CallableModel, torch_threads
from upseg.segmentation import Progress, Segmentation
from upseg.segmentation.banded import BandedSegmentation, number_canonically
from upseg.work_folder import claim_folder, kept_array


class DynaSegSegmenter(CallableModel):
    """Segments one image at a time, by merging regions or by fitting a small network to it; nothing is trained.

    Paper: Guermazi, Ksantini and Khan, "DynaSeg".

    Args:
        settings: None for the preset `default`.
        device: What torch computes on: `cpu`, `cuda`, ...
    """

    def __init__(self, settings: DynaSegSettings | None = None, device: str = "cpu") -> None:
        self.settings = settings or DynaSegSettings()
        self.device = torch.device(device)

    def segment(self, image: ImageLike, progress: Progress | None = None) -> Segmentation:
        """Segment an image.

        Args:
            image: A path, or an array, Pillow image or tensor, as `read_image` takes it.
            progress: Called with (steps done, steps at most); once, at the end, where nothing is fitted.

        Raises:
            ImageError: If the image cannot be read.
            ModelError: If pretrained weights are asked for and cannot be had.
        """
        pixels = read_image(image)
        if self.settings.grouping == "labels":
            return Segmentation.from_labels(self._labels(pixels, progress), provenance=self._provenance())
        return Segmentation.from_hierarchy(self._hierarchy(pixels, progress), self._detail, self._provenance())

    def segment_in_blocks(
        self, image: RgbSource, folder: Path, key: str, memory: int, progress: Progress | None = None
    ) -> BandedSegmentation:
        """Segment an image of any size, as `segment` would with enough memory, but for rounding as it is reduced.

        Args:
            image: RGB in [0, 1].
            folder: For what is computed: a second call with the same goes on where the first was stopped. The result
                needs it.
            key: Of the image and the settings: what lies in the folder under another is deleted.
            memory: Bytes that the whole process may take.
            progress: Called with (blocks done, those there are), of which merging counts as one.

        Raises:
            ImageError: If the image is damaged.
            ModelError: If the memory is too little, or pretrained weights cannot be had.
        """
        settings = self.settings
        size = _working_size(*image.shape, settings.working_pixels)
        channels = max(settings.features, settings.clusters) if settings.steps else 0
        side = block_side(memory, image.shape, size, channels)
        claim_folder(folder, f"{key} {side}")
        with torch_threads(settings.threads):
            small = kept_array(folder / "regions.npy", lambda: self._regions(reduced_image(image, size, folder)))
        drawn = DrawnBlocks(image, small, folder, side)
        done = count(1)

        def step() -> None:
            if progress is not None:
                progress(next(done), len(drawn.cores) + 1)

        step()
        drawn.draw(step)
        return number_canonically(image.shape, drawn.labels_at, int(small.max()) + 1, self._provenance())

    @property
    def _detail(self) -> float:
        return DEFAULT_DETAIL if self.settings.detail is None else self.settings.detail

    def _provenance(self) -> dict[str, Any]:
        settings = asdict(self.settings)
        if self.settings.grouping == "hierarchy":
            settings["detail"] = self._detail  # as used, so that a result says its level even if the default moves
        return {"method": "dynaseg", "settings": settings}

    def picture(self, image: ImageLike, kind: str = "snapshots", count: int = 10) -> UInt8[np.ndarray, "h w 3"]:  # noqa: ARG002
        """The labels at so many steps of the fit, evenly spaced, and at its end, side by side.

        Args:
            image: As for `segment`.
            kind: `snapshots`.
            count: How many beside the last; at least 1. A fit that ends early has fewer.

        Raises:
            ImageError: If the image cannot be read.
            ModelError: If nothing is fitted (`steps` is 0), or pretrained weights cannot be had.
        """
        if self.settings.steps == 0:
            raise ModelError("snapshots are of a fit, and steps is 0: give steps=30, or --preset paper")
        pixels, taken = read_image(image), dict[str, Int32[np.ndarray, "h w"]]()
        every = max(1, self.settings.steps // max(1, count))
        with torch_threads(self.settings.threads), torch.inference_mode(False):
            reduced = self._reduced(pixels)

            def take(step: int, network: DynaSegNetwork) -> None:
                if step % every == 0:
                    taken[f"step {step}"] = group_labels(
                        whole_response(network, reduced, self.settings), connected=False
                    )

            fit = fit_network(reduced, self.settings, self._floor(reduced), observe=take)
            last = whole_response(fit.network, reduced, self.settings)
        taken[f"end, step {len(fit.losses)}"] = group_labels(last, connected=False)
        shown = _pixels(reduced)
        pictures = [draw_overlay(Segmentation.from_labels(labels), shown) for labels in taken.values()]
        return side_by_side(pictures, list(taken))

    def hierarchy(self, image: ImageLike, progress: Progress | None = None) -> Hierarchy:
        """Fit once, for any level of detail: `hierarchy(image).at(0.3)`; arguments and errors as for `segment`."""
        return self._hierarchy(read_image(image), progress)

    def _labels(self, pixels: Float32[np.ndarray, "h w 3"], progress: Progress | None) -> Int32[np.ndarray, "h w"]:
        with torch_threads(self.settings.threads):
            labels = self._fitted_labels(self._reduced(pixels), progress)
        return labels if labels.shape == pixels.shape[:2] else enlarge(labels, colour_gradient(pixels))

    def _hierarchy(self, pixels: Float32[np.ndarray, "h w 3"], progress: Progress | None) -> Hierarchy:
        with torch_threads(self.settings.threads):
            hierarchy = self._grouped(pixels, self._reduced(pixels), progress)
        if progress and not self.settings.steps:
            progress(1, 1)
        return hierarchy

    def _regions(self, pixels: Float32[np.ndarray, "h w 3"]) -> Int32[np.ndarray, "h w"]:
        """The segments of an image that has been reduced, at the size that it has."""
        image = self._placed(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        if self.settings.grouping == "labels":
            return self._fitted_labels(image, None)
        return self._grouped(pixels, image, None).at(self._detail)

    def _fitted_labels(self, reduced: Float[Tensor, "1 3 h w"], progress: Progress | None) -> Int32[np.ndarray, "h w"]:
        return group_labels(self._fit(reduced, progress), connected=self.settings.connected)

    def _grouped(
        self, pixels: Float32[np.ndarray, "h w 3"], reduced: Float[Tensor, "1 3 h2 w2"], progress: Progress | None
    ) -> Hierarchy:
        response = self._fit(reduced, progress) if self.settings.steps else None
        maps = photo_maps(reduced, self.settings.compare_by)
        learned_level = self.settings.learned_level
        return group_hierarchy(pixels, _pixels(reduced), response, maps, learned_level=learned_level)

    @torch.inference_mode(False)  # a caller's no_grad or inference_mode must not stop the fit
    def _reduced(self, pixels: Float32[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h2 w2"]:
        """The image at the size of the fit, on the device, channels last in memory."""
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        return self._placed(_reduce(image, self.settings.working_pixels))

    @torch.inference_mode(False)
    def _placed(self, image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:
        return image.to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode(False)
    def _fit(self, reduced: Float[Tensor, "1 3 h w"], progress: Progress | None) -> Float[Tensor, "1 q h w"]:
        """The response to an image of the network that was fitted to it."""
        fit = fit_network(reduced, self.settings, self._floor(reduced), progress)
        return whole_response(fit.network, reduced, self.settings)

    def _floor(self, reduced: Float[Tensor, "1 3 h w"]) -> int:
        """q*, the setting's number or the silhouette's."""
        settings = self.settings
        if settings.floor == "silhouette":
            return silhouette_floor(_pixels(reduced), seed=settings.seed)
        return settings.floor


def _pixels(image: Float[Tensor, "1 3 h w"]) -> Float32[np.ndarray, "h w 3"]:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).cpu().numpy())


def _reduce(image: Float[Tensor, "1 3 h w"], pixels: int | None) -> Float[Tensor, "1 3 h2 w2"]:
    height, width = image.shape[-2:]
    size = _working_size(height, width, pixels)
    return image if size == (height, width) else resize_image(image, size).clamp(0, 1)


def _working_size(height: int, width: int, pixels: int | None) -> tuple[int, int]:
    """The size at which an image's regions merge."""
    if pixels is None or height * width <= pixels:
        return height, width
    return scaled_size(height, width, (pixels / (height * width)) ** 0.5)
