"""The canvas on which a scene is painted from back to front, with its ground truth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from upseg.data.shapes.looks import Colour, Style
from upseg.data.shapes.outlines import Raster

_LEAST_PIXELS = 6  # every segment keeps at least so many pixels ...
_LEAST_SHARE = 5e-4  # ... and at least this share of the image
_SHADOW_LENGTH = 0.18  # as a share of the square root of the shape's area


class Canvas:
    """Image, labels and depth, which change together.

    Attributes:
        image: (H, W, 3) RGB.
        labels: (H, W) int32, the label of the last shape that contains each pixel's centre; 0 before anything is.
        depth: (H, W) metres.
    """

    def __init__(self, shape: tuple[int, int], style: Style) -> None:
        self.style = style
        self.image = np.zeros((*shape, 3), np.float32)
        self.labels = np.zeros(shape, np.int32)
        self.depth = np.zeros(shape, np.float32)
        self._least = max(_LEAST_PIXELS, round(_LEAST_SHARE * shape[0] * shape[1]))
        self._visible = [0]
        self._areas = [0]

    def admits(self, raster: Raster, occlusion: float) -> bool:
        """Whether a shape is large enough, and leaves enough of everything else to see.

        Args:
            raster: The shape.
            occlusion: The largest share of its pixels that any shape may lose to others. Of the background only a few
                pixels have to stay.
        """
        if int(raster.inside.sum()) < self._least:
            return False
        hidden = np.bincount(self.labels[raster.box][raster.inside], minlength=len(self._visible))
        touched = np.flatnonzero(hidden[1:]) + 1
        left = np.array(self._visible)[touched] - hidden[touched]
        return bool(np.all(left >= np.maximum(self._least, (1 - occlusion) * np.array(self._areas)[touched])))

    def new_label(self) -> int:
        """A label that nothing has yet."""
        self._visible.append(0)
        self._areas.append(0)
        return len(self._visible) - 1

    def mean_colour(self, raster: Raster) -> Colour:
        """The mean of the image where a shape would go."""
        weights = raster.coverage[..., None]
        total: Colour = (self.image[raster.box] * weights).sum(axis=(0, 1))
        return total / np.float32(max(float(weights.sum()), 1e-6))

    def cast_shadow(self, raster: Raster) -> None:
        """Darken what lies behind a shape, on the side away from the light."""
        length = _SHADOW_LENGTH * float(np.sqrt(raster.coverage.sum()))
        if not self.style.shadow or length < 1:
            return
        shift = np.rint(-self.style.light[:2] * length).astype(int)
        pad = int(np.ceil(length)) + 1
        soft = ndimage.uniform_filter(np.pad(raster.coverage, pad), size=max(2, round(0.7 * length)))
        top, left = raster.rows.start - pad + shift[0], raster.columns.start - pad + shift[1]
        height, width = self.labels.shape
        rows = slice(max(top, 0), min(top + soft.shape[0], height))
        columns = slice(max(left, 0), min(left + soft.shape[1], width))
        if rows.stop > rows.start and columns.stop > columns.start:
            part = soft[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            self.image[rows, columns] *= 1 - np.float32(self.style.shadow) * part[..., None]

    def paint(
        self,
        raster: Raster,
        colours: Float32[np.ndarray, "h w 3"],
        depth: Float32[np.ndarray, "h w"],
        label: int,
        *,
        is_thing: bool,
    ) -> None:
        """Lay a shape over what is there.

        Args:
            raster: The shape.
            colours: RGB of each pixel of its box.
            depth: Metres; less than that of anything beneath.
            label: From `new_label`; several regions of background may share one.
            is_thing: Whether it is a shape, rather than background.
        """
        clear = np.exp(-self.style.haze_density * depth)[..., None].astype(np.float32)
        colours = np.clip(colours, 0, 1) * clear + self.style.haze * (1 - clear)
        self.image[raster.box] += raster.coverage[..., None] * (colours - self.image[raster.box])
        hidden = np.bincount(self.labels[raster.box][raster.inside], minlength=len(self._visible))
        self._visible = (np.array(self._visible) - hidden).tolist()
        area = int(raster.inside.sum())
        self._visible[label] += area
        self._areas[label] += area * is_thing
        self.labels[raster.box][raster.inside] = label
        self.depth[raster.box][raster.inside] = depth[raster.inside]
