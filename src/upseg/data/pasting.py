"""Objects of an image pasted into it once more, beside or upon others of their class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32
from scipy import ndimage
from skimage.morphology import convex_hull_image

from upseg.data.sample import Sample
from upseg.data.transforms import SampleTransform
from upseg.functional.label_maps import border_pixels

_TRIES = 8  # places for one object
_MARGIN = 3  # pixels around an object that is turned


@dataclass(frozen=True)
class Pasting:
    """What is pasted, and how.

    Attributes:
        count: The most objects for one sample; each sample gets a random number of them, from 0 on.
        least: Pixels that an object has at least.
        largest: Share of the image's pixels that an object has at most.
        solidity: Share of their convex hull that objects fill at least, in [0, 1]: what is nearly convex is rarely two.
        scale: Range of the factor by which an object is reduced or enlarged.
        turn: Degrees by which an object is turned at most, either way.
        gain: Range of the factor of its brightness.
        overlap: Share of its area that may lie upon others of its class.

    Raises:
        ValueError: If a value is outside its range.
    """

    count: int = 3
    least: int = 100
    largest: float = 0.25
    solidity: float = 0.0
    scale: tuple[float, float] = (0.6, 1.4)
    turn: float = 15.0
    gain: tuple[float, float] = (0.8, 1.25)
    overlap: float = 0.6

    def __post_init__(self) -> None:
        if not all(0 <= value <= 1 for value in (self.largest, self.solidity, self.overlap)):
            raise ValueError(
                f"largest, solidity and overlap must be in [0, 1], got {self.largest}, {self.solidity}, {self.overlap}"
            )
        if self.count < 0 or self.least < 1:
            raise ValueError(f"count must be at least 0 and least at least 1, got {self.count} and {self.least}")
        if not all(0 < low <= high for low, high in (self.scale, self.gain)):
            raise ValueError(f"scale and gain must be positive ranges, got {self.scale} and {self.gain}")


class PastedObjects(SampleTransform):
    """Another transform, then objects of the sample pasted into it once more so that they touch others of their class.

    An object is a connected part of all that is of one class of things, so class masks are enough to make them
    (`ClassMasks`): a part may be several objects, but its contour is one of objects. What is pasted is mirrored,
    scaled, turned, brighter or darker, and a segment of its own, at a random place where the contours of both meet.
    """

    def __init__(self, augmentation: SampleTransform, pasting: Pasting | None = None) -> None:
        super().__init__([])
        self.augmentation = augmentation
        self.pasting = pasting or Pasting()

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Transform one sample, which is not changed; all random choices come from the seed."""
        return paste_objects(self.augmentation(sample, seed), self.pasting, np.random.default_rng(seed))


def paste_objects(sample: Sample, pasting: Pasting, rng: np.random.Generator) -> Sample:
    """Paste objects of a sample, which is not changed, into it once more; the sample itself if none can be pasted."""
    count = int(rng.integers(pasting.count + 1))
    parts = _parts(sample, pasting) if count else []
    if not parts:
        return sample
    image, labels, categories = sample.image.copy(), sample.segment_map.copy(), sample.categories
    last = len(sample.segments)
    for number in rng.integers(len(parts), size=count).tolist():
        mask, box, segment = parts[number]
        hull = convex_hull_image(mask)  # type: ignore[no-untyped-call]
        if hull.sum() * pasting.solidity > mask.sum():
            continue
        colours, alpha = _turned(sample.image[box], mask, pasting, rng)
        category = categories.get(segment)
        alike = np.isin(labels, [k for k in range(1, last + 1) if categories.get(k) == category])
        place = _place(alpha > 0.5, alike, pasting.overlap, rng)
        if place is not None:
            last += 1
            _put(image, labels, colours, alpha, place, last)
            categories = categories if category is None else {**categories, last: category}
    return Sample.from_labels(
        image, labels, categories=categories, crowds=sample.crowds, depth=sample.depth, name=sample.name
    )


_Part = tuple[Bool[np.ndarray, "h w"], tuple[slice, slice], int]


def _parts(sample: Sample, pasting: Pasting) -> list[_Part]:
    """Connected parts of the classes of things that are whole and neither small nor large: mask, window and segment."""
    height, width = sample.shape
    most = pasting.largest * height * width
    found: list[_Part] = []
    for segment in sample.segments:
        if not segment.is_thing or segment.is_crowd:
            continue
        numbered, _ = ndimage.label(sample.segment_map == segment.id)
        for number, box in enumerate(ndimage.find_objects(numbered), start=1):
            rows, columns = box
            whole = rows.start > 0 and columns.start > 0 and rows.stop < height and columns.stop < width
            mask = numbered[box] == number
            if whole and pasting.least <= mask.sum() <= most:
                found.append((mask, box, segment.id))
    return found


def _turned(
    image: Float32[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], pasting: Pasting, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "h2 w2 3"], Float32[np.ndarray, "h2 w2"]]:
    """Colours of the object, and how much of each pixel is the object's; larger than it by a margin."""
    factor, angle = rng.uniform(*pasting.scale), np.deg2rad(rng.uniform(-pasting.turn, pasting.turn))
    mirror = np.diag([1.0, rng.choice([-1.0, 1.0])])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ mirror
    height, width = mask.shape
    corners = np.abs(turn) @ np.array([height, width]) * factor
    size = np.ceil(corners).astype(int) + 2 * _MARGIN
    back = np.linalg.inv(turn) / factor
    offset = (np.array([height, width]) - 1) / 2 - back @ ((size - 1) / 2)

    def moved(values: np.ndarray, mode: str) -> Float32[np.ndarray, "h2 w2"]:
        result: np.ndarray = ndimage.affine_transform(values, back, offset, tuple(size), np.float32, 1, mode)
        return result

    colours = np.stack([moved(image[..., channel], "nearest") for channel in range(3)], axis=-1)
    alpha = ndimage.gaussian_filter(moved(mask.astype(np.float32), "constant"), rng.uniform(0.3, 1.0))
    return np.clip(colours * np.float32(rng.uniform(*pasting.gain)), 0, 1), np.clip(alpha, 0, 1)


def _place(
    mask: Bool[np.ndarray, "h w"], alike: Bool[np.ndarray, "hi wi"], overlap: float, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Row and column, which may lie outside, of a mask's corner in an image in which it touches what is alike."""
    own, others = (np.argwhere(shape & border_pixels(shape.view(np.uint8))) for shape in (mask, alike))
    if not (len(own) and len(others)):
        return None
    for _ in range(_TRIES):
        row, column = (others[rng.integers(len(others))] - own[rng.integers(len(own))]).tolist()
        inside, outside = _windows(mask.shape, alike.shape, (row, column))
        visible = mask[inside]
        upon = (visible & alike[outside]).sum()
        if visible.sum() > 0.5 * mask.sum() and upon <= overlap * mask.sum():
            return row, column
    return None


def _put(
    image: Float32[np.ndarray, "hi wi 3"],
    labels: Int32[np.ndarray, "hi wi"],
    colours: Float32[np.ndarray, "h w 3"],
    alpha: Float32[np.ndarray, "h w"],
    place: tuple[int, int],
    number: int,
) -> None:
    inside, outside = _windows(alpha.shape, labels.shape, place)
    share = alpha[inside][..., None]
    image[outside] += share * (colours[inside] - image[outside])
    labels[outside][alpha[inside] > 0.5] = number


def _windows(
    size: tuple[int, ...], whole: tuple[int, ...], place: tuple[int, int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of something of a size that lies within the whole when its corner is at a place; in it, in the whole."""
    starts = [max(0, -at) for at in place]
    stops = [max(0, min(length, full - at)) for length, full, at in zip(size, whole, place, strict=True)]
    inside = tuple(slice(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True))
    return inside, tuple(slice(s.start + at, s.stop + at) for s, at in zip(inside, place, strict=True))
