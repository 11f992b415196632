"""The training transform for images of cells from any microscope."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int32

from upseg.data.microscopy.looks import photograph, recolour
from upseg.data.microscopy.warp import draw_window, warp
from upseg.data.sample import Sample
from upseg.data.transforms import SampleTransform
from upseg.functional.contrast import stretch_contrast
from upseg.functional.label_maps import segment_areas


class MicroscopyAugmentation(SampleTransform):
    """A random window in which objects have about a canonical size, then other colours, light and noise.

    The image's contrast is stretched first, as segmenters of cells do; classes are not kept.

    Args:
        size: Side of the square result in pixels.
        diameter: Canonical diameter of objects in pixels.
        spread: Deviation of the natural logarithm of their size about it.
        scale: The least and the largest size in units of the canonical one; one window in six has any of these.
        enlarged: The most pixels of the result for one of the image, along a side.
        on_object: Probability that a window is chosen near to some object.
        colours: Probability of other colours.
        plain: Probability that colours, light, focus and noise all stay as they are.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        size: int = 224,
        diameter: float = 22.0,
        spread: float = 0.35,
        scale: tuple[float, float] = (0.4, 2.5),
        enlarged: float = 3.0,
        on_object: float = 0.85,
        colours: float = 0.7,
        plain: float = 0.0,
    ) -> None:
        super().__init__([])
        if size < 1 or diameter <= 0 or spread < 0 or enlarged <= 0 or not 0 < scale[0] <= scale[1]:
            raise ValueError(
                "size, diameter, enlarged and scale must be positive, spread at least 0 and scale a range, "
                f"got {size}, {diameter}, {enlarged}, {scale} and {spread}"
            )
        if not all(0 <= share <= 1 for share in (on_object, colours, plain)):
            raise ValueError(f"on_object, colours and plain must be in [0, 1], got {on_object}, {colours} and {plain}")
        self.size, self.diameter, self.spread, self.scale = size, diameter, spread, tuple(scale)
        self.enlarged, self.on_object = enlarged, on_object
        self.colours, self.plain = colours, plain

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Transform one sample; all random choices come from the seed."""
        rng = np.random.default_rng(seed)
        labels = sample.segment_map
        relative = self._draw_scale(rng)
        factor = min(relative * self.diameter / (median_diameter(labels) or self.diameter), self.enlarged)
        window = draw_window(labels, self.size, factor, rng, self.on_object)
        image, seen = warp(stretch_contrast(sample.image), labels, window)
        if self.plain and rng.random() < self.plain:
            return Sample.from_labels(np.clip(image, 0, 1).astype(np.float32), seen, name=sample.name)
        if rng.random() < self.colours:
            image = recolour(image, seen > 0, rng)
        return Sample.from_labels(photograph(image, rng), seen, name=sample.name)

    def _draw_scale(self, rng: np.random.Generator) -> float:
        low, high = map(math.log, self.scale)
        logarithm = rng.uniform(low, high) if rng.random() < 1 / 6 else rng.normal(0, self.spread)
        return math.exp(min(max(logarithm, low), high))


def median_diameter(labels: Int32[np.ndarray, "h w"]) -> float:
    """The median diameter in pixels of disks with as many pixels as the objects have; 0 without any."""
    areas = segment_areas(labels)[1:]
    areas = areas[areas > 0]
    return float(np.median(np.sqrt(areas * (4 / math.pi)))) if len(areas) else 0.0
