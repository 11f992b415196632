"""Paints planned regions and groups onto a canvas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from upseg.data.shapes.canvas import Canvas
from upseg.data.shapes.layout import Group, Region
from upseg.data.shapes.looks import Colour, Look, contrasting, random_look, random_style, shade, surface, textured
from upseg.data.shapes.outlines import Raster, pixel_centres, rasterise
from upseg.data.shapes.settings import STUFF, THINGS, Difficulty
from upseg.segmentation import Category

_PLACES_TRIED = 8
_STILL = np.eye(2)


class Painter:
    """Chooses looks and places, and paints.

    Args:
        rng: Where all choices come from.
        shape: (H, W) of the image.
        settings: How hard the scene is.
        textures: Names of the classes of stuff for the background, at least one.

    Attributes:
        canvas: What has been painted so far.
        categories: The class of each label on the canvas.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int],
        settings: Difficulty,
        textures: Sequence[str] = tuple(STUFF),
    ) -> None:
        self.canvas = Canvas(shape, random_style(rng, settings))
        self.categories: dict[int, Category] = {}
        self._rng = rng
        self._settings = settings
        self._textures = list(textures)
        self._shape = np.array(shape, float)

    def paint_regions(self, regions: list[Region]) -> None:
        """Paint the background, each region with another texture or, now and then, one that was there before."""
        names = [str(name) for name in self._rng.permutation(self._textures)]
        for index, region in enumerate(regions):
            again = index > 1 and self._rng.random() < 0.25
            name = names[int(self._rng.integers(index - 1)) % len(names) if again else index % len(names)]
            raster = self._raster(region)
            if raster is not None:
                self._paint_region(raster, region.slot, name)

    def _raster(self, region: Region) -> Raster | None:
        """A region on the pixel grid; None if there would be too little of it or of another one."""
        raster = rasterise(region.outline, self.canvas.labels.shape)
        if raster is None or (self.categories and not self.canvas.admits(raster, occlusion=1.0)):
            return None
        return raster

    def _paint_region(self, raster: Raster, slot: tuple[float, float], texture: str) -> None:
        labels = {category.name: label for label, category in self.categories.items()}
        label = labels[texture] if texture in labels else self.canvas.new_label()
        colour = self._colour(raster) if self.categories else self.canvas.style.palette[0]
        self.categories[label] = STUFF[texture]
        pattern = 0.2 * float(np.sqrt(self._shape.prod()))
        look = random_look(self._rng, texture, self._settings, pattern, is_thing=False)
        colours = textured(look, colour, raster, self._rng.random(2) * self._shape)
        self.canvas.paint(raster, colours, self._ground_depth(raster, slot), label, is_thing=False)

    def _ground_depth(self, raster: Raster, slot: tuple[float, float]) -> Float32[np.ndarray, "h w"]:
        """A plane that comes nearer towards the image's lower edge."""
        rows, columns = pixel_centres(raster)
        far, near = slot
        return np.asarray(far + (near - far) * rows / self._shape[0] + 0 * columns, np.float32)

    def _colour(self, raster: Raster) -> Colour:
        """A colour that stands out from what is behind a shape, as much as the settings say."""
        contrast = self._rng.uniform(*self._settings.contrast)
        return contrasting(self._rng, self.canvas.mean_colour(raster), self.canvas.style, contrast)

    def paint_group(self, group: Group) -> None:
        """Paint the members of a group that hide no other shape too much, at a place where the first one can be."""
        place = self._find_place(group)
        if place is None:
            return
        look = random_look(self._rng, self._thing_texture(), self._settings, group.radius, is_thing=True)
        colour: Colour | None = None
        spread = self._rng.uniform(0, 0.08)
        for outline, slot in zip(group.members, group.slots, strict=True):
            raster = rasterise(outline.moved(_STILL, place), self.canvas.labels.shape)
            if raster is None or not self.canvas.admits(raster, self._settings.occlusion):
                continue
            colour = self._colour(raster) if colour is None else colour
            own = (colour + self._rng.normal(0, spread, 3)).clip(0.02, 0.98).astype(np.float32)
            label = self.canvas.new_label()
            self.categories[label] = THINGS[group.category]
            self._paint_thing(raster, look, own, place + outline.vertices.mean(axis=0), slot, label)

    def _find_place(self, group: Group) -> Float64[np.ndarray, " 2"] | None:
        for _ in range(_PLACES_TRIED):
            place: Float64[np.ndarray, " 2"] = self._rng.uniform(0.02, 0.98, 2) * self._shape
            raster = rasterise(group.members[0].moved(_STILL, place), self.canvas.labels.shape)
            if raster is not None and self.canvas.admits(raster, self._settings.occlusion):
                return place
        return None

    def _thing_texture(self) -> str:
        """One of the background's textures, no texture, or any."""
        if self._rng.random() < self._settings.camouflage:
            return str(self._rng.choice([c.name for c in self.categories.values() if not c.is_thing]))
        return "plain" if self._rng.random() < 0.35 else str(self._rng.choice(list(STUFF)))

    def _paint_thing(
        self,
        raster: Raster,
        look: Look,
        colour: Colour,
        anchor: Float64[np.ndarray, " 2"],
        slot: tuple[float, float],
        label: int,
    ) -> None:
        height, distance = surface(look, raster)
        brightness = shade(look, self.canvas.style, height, distance)
        colours = textured(look, colour, raster, anchor) * brightness[..., None]
        far, near = slot
        depth = far + (near - far) * height if look.relief else np.full(height.shape, far)
        self.canvas.cast_shadow(raster)
        self.canvas.paint(raster, colours, depth.astype(np.float32), label, is_thing=True)
