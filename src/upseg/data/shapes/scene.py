"""Whole scenes: planned, painted from back to front, photographed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from upseg.data.dataset import Dataset
from upseg.data.sample import Sample
from upseg.data.shapes.layout import plan_groups, plan_regions
from upseg.data.shapes.outlines import RANDOM_OUTLINES
from upseg.data.shapes.painter import Painter
from upseg.data.shapes.settings import CATEGORIES, STUFF, THINGS, Difficulty
from upseg.segmentation import Category

_REFERENCE_SIDE = 128.0  # side in pixels of the image for which the settings give blur


def photograph(
    rng: np.random.Generator, image: Float32[np.ndarray, "h w 3"], settings: Difficulty, *, monochrome: bool
) -> Float32[np.ndarray, "h w 3"]:
    """Take a picture of a scene. Nothing moves, so the ground truth stays as it is.

    Returns:
        (H, W, 3) RGB in [0, 1], in steps of 1/255.
    """
    height, width = image.shape[:2]
    picture = image * _uneven_light(rng, (height, width), settings.lighting)[..., None]
    picture = np.clip(picture, 0, 1) ** np.float32(rng.uniform(0.8, 1.25))
    if monochrome:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    blur = rng.uniform(*settings.blur) * np.sqrt(height * width) / _REFERENCE_SIDE
    if blur > 0.2:
        picture = ndimage.gaussian_filter(picture, (blur, blur, 0), mode="nearest", truncate=3)
    noise = np.float32(rng.uniform(*settings.noise))
    if noise > 0:
        # the noise of photons grows with the square root of the light, that of the sensor does not
        photons = np.float32(rng.random())
        amplitude = noise * np.sqrt(1 - photons + 2 * photons * picture)
        picture = picture + amplitude * rng.standard_normal(picture.shape, np.float32)
    developed: Float32[np.ndarray, "h w 3"] = np.rint(np.clip(picture, 0, 1) * 255).astype(np.float32)
    return developed / np.float32(255)


def _uneven_light(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> Float32[np.ndarray, "h w"]:
    """A slope of brightness over the image, and darker corners."""
    rows, columns = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    slope, corners = rng.normal(0, 0.12 * strength, 2), rng.uniform(0, 0.25 * strength) * (rng.random() < 0.4)
    field = 1 + slope[0] * rows[:, None] + slope[1] * columns[None]
    field = field - corners * (rows[:, None] ** 2 + columns[None] ** 2)
    return np.asarray(field, np.float32)


def draw_scene(
    seed: int | tuple[int, ...],
    size: tuple[int, int] = (128, 128),
    difficulty: float | Difficulty = 0.5,
    classes: Sequence[str] | None = None,
) -> Sample:
    """Draw a scene of shapes before a textured background, with its exact ground truth.

    A pixel belongs to the shape that is nearest to the viewer at its centre; in the image a pixel on a border mixes the
    colours of both sides by area. Every pixel has a segment and a depth. Things are told apart by their outline, stuff
    by its texture; all regions of one texture are one segment.

    Args:
        seed: The same seed, size and difficulty give the same scene, bit for bit.
        size: (H, W) in pixels.
        difficulty: From 0 (few large clear shapes) to 1 (crowded, faint, noisy), or each setting by itself.
        classes: Names of the classes that may occur; None for all.

    Raises:
        ValueError: If a side is less than 1 pixel, the difficulty is not in [0, 1], or the classes are not as
            `choose_classes` wants them.

    Example:
        >>> scene = draw_scene(7, (32, 48), difficulty=0.1)
        >>> [segment.category.name for segment in scene.segments]
        ['plain', 'star', 'cross', 'crescent', 'polygon', 'crescent', 'crescent', 'stripes', 'ring']
    """
    if min(size) < 1:
        raise ValueError(f"size must be (H, W) of at least 1 x 1 pixels, got {size}")
    settings = difficulty if isinstance(difficulty, Difficulty) else Difficulty.at(difficulty)
    rng = np.random.default_rng(seed)
    names = [category.name for category in choose_classes(classes)]
    painter = Painter(rng, size, settings, [name for name in names if name in STUFF])
    painter.paint_regions(plan_regions(rng, size, settings))
    for group in plan_groups(rng, size, settings, [name for name in names if name in THINGS]):
        painter.paint_group(group)
    canvas = painter.canvas
    return Sample.from_labels(
        photograph(rng, canvas.image, settings, monochrome=canvas.style.monochrome),
        canvas.labels,
        categories=painter.categories,
        depth=canvas.depth,
        name=_name(seed),
    )


def choose_classes(names: Sequence[str] | None) -> tuple[Category, ...]:
    """Some of the classes of made-up scenes, in order of id; for None all of them.

    Raises:
        ValueError: If a name is not that of a class, or there is no stuff, or no thing but cells, which come only in
            groups.
    """
    chosen = CATEGORIES if names is None else tuple(category for category in CATEGORIES if category.name in names)
    kinds = {category.name for category in chosen}
    unknown = set(names or ()) - kinds
    if unknown or not kinds & set(STUFF) or not kinds & set(RANDOM_OUTLINES):
        raise ValueError(
            f"classes must be some of {', '.join(RANDOM_OUTLINES)}, cell if wanted, and some of {', '.join(STUFF)}, "
            f"got {', '.join(names or ()) or 'none'}"
        )
    return chosen


class ShapeScenes(Dataset):
    """A data set of made-up scenes, drawn when they are asked for.

    Args:
        length: Number of scenes.
        size: (H, W) in pixels.
        difficulty: One for all scenes: a level in [0, 1] or a `Difficulty`; or a range of levels, from which each scene
            draws its own.
        seed: Another seed gives other scenes.
        classes: Names of the classes that may occur; None for all 20.

    Raises:
        ValueError: If the length is negative, the size less than 1 x 1, a level not in [0, 1], or the classes are not
            as `choose_classes` wants them.

    Example:
        >>> list(ShapeScenes(2, seed=5).names)
        ['shapes-5-0', 'shapes-5-1']
    """

    def __init__(
        self,
        length: int,
        size: tuple[int, int] = (128, 128),
        difficulty: float | tuple[float, float] | Difficulty = (0.0, 1.0),
        seed: int = 0,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__(choose_classes(classes))
        if length < 0 or min(size) < 1:
            raise ValueError(f"expected at least 0 scenes of at least 1 x 1 pixels, got {length} of {size}")
        if not isinstance(difficulty, Difficulty):
            for level in difficulty if isinstance(difficulty, tuple) else (difficulty,):
                Difficulty.at(level)
        self.length = length
        self.size = size
        self.difficulty = difficulty
        self.seed = seed
        self.classes = None if classes is None else tuple(classes)

    def __len__(self) -> int:
        return self.length

    @property
    def names(self) -> Sequence[str]:
        """`shapes-SEED-NUMBER`."""
        return [_name((self.seed, index)) for index in range(self.length)]

    def load(self, index: int) -> Sample:
        """Draw scene 0..len - 1."""
        difficulty = self.difficulty
        if isinstance(difficulty, tuple):
            difficulty = float(np.random.default_rng((self.seed, index, 1)).uniform(*difficulty))
        return draw_scene((self.seed, index), self.size, difficulty, self.classes)


def _name(seed: int | tuple[int, ...]) -> str:
    return "-".join(("shapes", *(str(number) for number in (seed if isinstance(seed, tuple) else (seed,)))))
