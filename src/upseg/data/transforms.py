"""Random crops, flips and colour changes of samples: torchvision's transforms v2, with the ground truth kept true."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Int32
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from upseg.data.sample import Sample


class SegmentMap(tv_tensors.Mask):  # type: ignore[misc]
    """Ids of segments; scaled by taking the pixel at each new pixel's centre, filled with 0 (unlabelled)."""


class DepthMap(tv_tensors.Mask):  # type: ignore[misc]
    """Metres; scaled like a `SegmentMap`, never mixed across a border, filled with 0 (not known)."""


FILL: dict[type, float] = {tv_tensors.Image: 0.5, SegmentMap: 0, DepthMap: 0}
"""What transforms write where they go beyond the image: give it as `fill`."""


def _resize_map(
    maps: SegmentMap | DepthMap,
    size: Sequence[int] | None,
    interpolation: object = None,  # noqa: ARG001 - torchvision hands on what is meant for the image
    max_size: int | None = None,
    antialias: bool | None = None,  # noqa: ARG001
) -> Tensor:
    # torchvision's own kernel for masks takes the corner of each new pixel, half a pixel off the image; float64 holds
    # every id exactly
    values = maps.as_subclass(Tensor)[None].double()
    resized = F.resize_image(
        values, None if size is None else list(size), interpolation=InterpolationMode.NEAREST_EXACT, max_size=max_size
    )
    scaled: Tensor = tv_tensors.wrap(resized[0].to(maps.dtype), like=maps)
    return scaled


def _resized_crop_map(
    maps: SegmentMap | DepthMap,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Sequence[int],
    **options: Any,  # noqa: ARG001 - as above
) -> Tensor:
    return _resize_map(F.crop(maps, top, left, height, width), size)


for _kind in (SegmentMap, DepthMap):
    F.register_kernel(F.resize, _kind)(_resize_map)
    F.register_kernel(F.resized_crop, _kind)(_resized_crop_map)


class LargeScaleJitter(v2.Transform):  # type: ignore[misc]
    """Scale the image by a random factor, then cut or pad it at a random place to a fixed size.

    Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method", 2021. Torchvision's `ScaleJitter` takes
    width for height where the size is not square.

    Args:
        size: (H, W) of the result.
        scale: Range of the factor, drawn evenly on a logarithmic scale if `native`, evenly if not.
        native: What a factor of 1 is: the image's own size, or else the largest size at which the whole image fits
            into the result.

    Raises:
        ValueError: If the size or the range is not positive.
    """

    def __init__(self, size: tuple[int, int], scale: tuple[float, float] = (0.1, 2.0), *, native: bool = False) -> None:
        super().__init__()
        if min(size) < 1 or not 0 < scale[0] <= scale[1]:
            raise ValueError(f"size and scale must be positive and scale a range, got {size} and {scale}")
        self.size = tuple(size)
        self.scale = tuple(scale)
        self.native = native

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the new size (H, W), and the (top, left) of the window in the scaled image, which may lie outside."""
        old = v2.query_size(flat_inputs)
        factor = self._draw_factor(old)
        scaled = [max(1, round(side * factor)) for side in old]
        rest = [side - window for side, window in zip(scaled, self.size, strict=True)]
        place = [int(torch.randint(min(0, spare), max(0, spare) + 1, ())) for spare in rest]
        return {"scaled": scaled, "place": place}

    def _draw_factor(self, old: Sequence[int]) -> float:
        if self.native:
            return math.exp(float(torch.empty(()).uniform_(*map(math.log, self.scale))))
        fitting = min(new / side for new, side in zip(self.size, old, strict=True))
        return fitting * float(torch.empty(()).uniform_(*self.scale))

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Scale, cut and pad one image or map."""
        (top, left), (height, width) = params["place"], self.size
        resized = F.resize(inpt, params["scaled"], antialias=True)
        rows, columns = params["scaled"]
        before = [max(0, -left), max(0, -top)]
        after = [max(0, left + width - columns), max(0, top + height - rows)]
        padded = F.pad(resized, [*before, *after], fill=FILL[type(inpt)])
        return F.crop(padded, max(0, top), max(0, left), height, width)


class SampleTransform:
    """Applies torchvision transforms to samples, one after the other.

    The image, all label maps and the depth go through together. Segments of which nothing is left are dropped, the
    others keep class and crowd flag and get their new areas. Depths keep their values, whatever the scale.
    """

    def __init__(self, transforms: Sequence[v2.Transform]) -> None:
        self.transforms = v2.Compose(list(transforms)) if transforms else v2.Identity()

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Transform one sample.

        Args:
            sample: It is not changed.
            seed: All random choices come from it, and from nothing else.
        """
        parts: dict[str, Any] = {
            "image": tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1)),
            "maps": [SegmentMap(torch.from_numpy(labels)) for labels in sample.annotations],
        }
        if sample.depth is not None:
            parts["depth"] = DepthMap(torch.from_numpy(sample.depth))
        with _seeded(seed):
            parts = self.transforms(parts)
        labels, *other_maps = (_to_array(labels) for labels in parts["maps"])
        image = parts["image"].as_subclass(Tensor).clamp(0, 1).permute(1, 2, 0).contiguous().numpy()
        return Sample.from_labels(
            image,
            labels,
            categories=sample.categories,
            crowds=sample.crowds,
            depth=_to_array(parts["depth"]) if "depth" in parts else None,
            name=sample.name,
            other_maps=other_maps,
            left_out=sample.left_out,
        )


class Augmentation(SampleTransform):
    """The usual training transform: crop, flips, colour.

    Args:
        size: (H, W) of the result.
        crop: `resized` cuts a window of random size and aspect ratio and scales it to the result; `jitter` scales the
            whole image by a random factor, then cuts or pads it (large-scale jitter); `zoom` is the same with factors
            that are relative to the image's own size, for images whose pixels have a size that means something, such
            as those of a microscope.
        scale: For `resized` the range of the window's share of the image's area, (0.25, 1) by default; for `jitter`
            that of the factor, (0.1, 2) by default; for `zoom` likewise, (0.7, 1.4) by default.
        horizontal_flip: Probability of swapping left and right.
        vertical_flip: Probability of swapping top and bottom: for images without an up, such as cells.
        colour: Strength of the change of brightness, contrast and saturation, and a quarter of it that of the hue; 0 to
            1, 0 for none.

    Raises:
        ValueError: If a setting is outside its range.
    """

    def __init__(
        self,
        size: tuple[int, int],
        crop: Literal["resized", "jitter", "zoom"] = "resized",
        scale: tuple[float, float] | None = None,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        colour: float = 0.4,
    ) -> None:
        if not all(0 <= value <= 1 for value in (horizontal_flip, vertical_flip, colour)):
            raise ValueError(f"flips and colour must be in [0, 1], got {horizontal_flip}, {vertical_flip}, {colour}")
        if scale is not None and not (0 < scale[0] <= scale[1] and (crop != "resized" or scale[1] <= 1)):
            raise ValueError(f"scale must be a positive range, at most 1 for resized crops, got {scale} for {crop!r}")
        first: v2.Transform
        if crop == "resized":
            first = v2.RandomResizedCrop(size, scale or (0.25, 1.0), antialias=True)
        elif crop == "jitter":
            first = LargeScaleJitter(size, scale or (0.1, 2.0))
        elif crop == "zoom":
            first = LargeScaleJitter(size, scale or (0.7, 1.4), native=True)
        else:
            raise ValueError(f"crop must be 'resized', 'jitter' or 'zoom', got {crop!r}")
        transforms = [first]
        if horizontal_flip:
            transforms.append(v2.RandomHorizontalFlip(horizontal_flip))
        if vertical_flip:
            transforms.append(v2.RandomVerticalFlip(vertical_flip))
        if colour:
            transforms.append(v2.ColorJitter(colour, colour, colour, colour / 4))
        super().__init__(transforms)


class MiddleOfImage(SampleTransform):
    """The middle square of the image at a given size: nothing is random, and all samples have one size.

    Args:
        size: Side in pixels of the square, to which the shorter side is brought first.

    Raises:
        ValueError: If it is not positive.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"the size must be at least 1 pixel, got {size}")
        super().__init__([v2.Resize([size], antialias=True), v2.CenterCrop([size, size])])


class WholeImage(SampleTransform):
    """The whole image with a given longer side, as a segmenter shows it to its network: nothing is random or cut.

    Results differ in shape with the images' aspect ratios: take batches of one.

    Args:
        longer: Side in pixels, larger or smaller than the image's own.

    Raises:
        ValueError: If it is not positive.
    """

    def __init__(self, longer: int) -> None:
        if longer < 1:
            raise ValueError(f"the longer side must be at least 1 pixel, got {longer}")
        super().__init__([_LongerSide(longer)])


class _LongerSide(v2.Transform):  # type: ignore[misc]
    """Scales to a longer side; torchvision's `Resize` cuts fractions of a pixel off, segmenters round."""

    def __init__(self, longer: int) -> None:
        super().__init__()
        self.longer = longer

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The new size (H, W)."""
        old = v2.query_size(flat_inputs)
        return {"size": [max(1, round(side * self.longer / max(old))) for side in old]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Scale one image or map."""
        return F.resize(inpt, params["size"], antialias=True)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generator from which torchvision draws, and put it back as it was; other devices' are left alone."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def _to_array(values: Tensor) -> Int32[np.ndarray, "h w"] | Float32[np.ndarray, "h w"]:
    return np.asarray(values.as_subclass(Tensor).contiguous().numpy())
