"""Where the parts of a scene go: regions of background behind, shapes alone or in groups before them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from upseg.data.shapes.outlines import RANDOM_OUTLINES, Outline, packed_cells, smooth_line, stroke, wobbly
from upseg.data.shapes.settings import THINGS, Difficulty

FARTHEST, MIDDLE, NEAREST = 10.0, 6.5, 1.0
"""Depths in metres: the background lies between the first two, the shapes between the last two."""

THINNEST = 1.6
"""Least width in pixels of what a shape is made of, so that the centres of its pixels hang together."""

ALL_THINGS = tuple(THINGS)
"""Names of the classes of things."""

_REFERENCE = 3.0  # depth in metres at which a shape has the size that the settings say
_PERSPECTIVE = 0.6  # how strongly size falls with depth; 1 would be true perspective
_MOST_IN_GROUP = 9
_SMALLEST_MEMBER = 0.75  # size of a group's smallest member, as a share of the radius


@dataclass(frozen=True)
class Group:
    """Shapes of one class that share their look.

    Attributes:
        category: Name of the class.
        members: Outlines in pixels around the group's place, which is still to be chosen; the farthest first.
        slots: For each member its (farthest, nearest) depth in metres; no two overlap.
        radius: Of one member, in pixels.
    """

    category: str
    members: list[Outline]
    slots: list[tuple[float, float]]
    radius: float


@dataclass(frozen=True)
class Region:
    """A region of background: its outline in pixels and its (farthest, nearest) depth in metres."""

    outline: Outline
    slot: tuple[float, float]


def plan_regions(rng: np.random.Generator, shape: tuple[int, int], settings: Difficulty) -> list[Region]:
    """Regions of background from back to front; the first covers the image."""
    count = int(rng.integers(settings.stuff[0], settings.stuff[1] + 1))
    height, width = shape
    everything = np.array([[0, 0], [0, width], [height, width], [height, 0]], float)
    outlines = [Outline.of_rings([everything])]
    landscape = rng.random() < 0.4
    for index in range(1, count):
        if landscape:
            level = height * (0.2 + 0.7 * (index - 0.5 + rng.uniform(-0.3, 0.3)) / count)
            outlines.append(_beyond_line(rng, shape, np.array([level, width / 2]), rng.uniform(-0.15, 0.15)))
        else:
            outlines.append(_random_region(rng, shape))
    return [Region(o, slot) for o, slot in zip(outlines, _slots(rng, count, FARTHEST, MIDDLE), strict=True)]


def _random_region(rng: np.random.Generator, shape: tuple[int, int]) -> Outline:
    """Half the plane, a patch, or a band across the image."""
    kind, size = rng.random(), np.array(shape, float)
    centre = rng.uniform(0.15, 0.85, 2) * size
    if kind < 0.45:
        return _beyond_line(rng, shape, centre, rng.uniform(0, 2 * np.pi))
    reach = float(np.sqrt(size.prod()))
    if kind < 0.75:
        return Outline.of_rings([centre + wobbly(rng, 0.5) * reach * rng.uniform(0.2, 0.5)])
    corners = rng.uniform(-0.1, 1.1, (4, 2)) * size
    axis = int(rng.integers(2))
    corners[:, axis] = np.linspace(-0.3, 1.3, 4) * size[axis]
    width = max(reach * rng.uniform(0.06, 0.25), THINNEST)
    return stroke(smooth_line(corners, 24), np.full(24, width))


def _beyond_line(
    rng: np.random.Generator, shape: tuple[int, int], through: Float64[np.ndarray, " 2"], angle: float
) -> Outline:
    """All that lies on one side of a wavy line; below it at angle 0."""
    reach = 2.0 * float(np.hypot(*shape))
    along = np.array([np.sin(angle), np.cos(angle)])
    across = np.array([along[1], -along[0]])
    at = np.linspace(-reach, reach, 96)
    wave = np.zeros(len(at))
    for frequency in rng.uniform(1, 12, 3):
        wave += rng.normal(0, 0.03) * reach / np.sqrt(frequency) * np.sin(at / reach * np.pi * frequency)
    edge = through + at[:, None] * along + wave[:, None] * across
    return Outline.of_rings([np.concatenate((edge, edge[[-1, 0]] + 2 * reach * across))])


def plan_groups(
    rng: np.random.Generator, shape: tuple[int, int], settings: Difficulty, classes: Collection[str] = ALL_THINGS
) -> list[Group]:
    """Shapes of some classes of things, from back to front."""
    total = int(rng.integers(settings.things[0], settings.things[1] + 1))
    sizes: list[int] = []
    while sum(sizes) < total:
        left = total - sum(sizes)
        most = min(left, _MOST_IN_GROUP)
        sizes.append(int(rng.integers(2, most + 1)) if most >= 2 and rng.random() < settings.grouped else 1)
    slots = _slots(rng, total, MIDDLE, NEAREST)
    groups = []
    for size in sizes:
        groups.append(_place_group(rng, shape, settings, slots[:size], classes))
        slots = slots[size:]
    return groups


def _slots(rng: np.random.Generator, count: int, far: float, near: float) -> list[tuple[float, float]]:
    """Consecutive intervals of depth from far to near, of random lengths."""
    shares = np.cumsum(rng.uniform(0.5, 1.5, count + 1))
    edges = (far * (near / far) ** (np.concatenate((np.zeros(1), shares[:count])) / shares[-1])).tolist()
    return list(pairwise(edges))


def _place_group(
    rng: np.random.Generator,
    shape: tuple[int, int],
    settings: Difficulty,
    slots: list[tuple[float, float]],
    classes: Collection[str],
) -> Group:
    low, high = settings.size
    depth = float(np.mean(slots))
    radius = low * (high / low) ** rng.random() * np.sqrt(shape[0] * shape[1]) * (_REFERENCE / depth) ** _PERSPECTIVE
    radius /= len(slots) ** 0.25  # or the groups would fill the image
    thickness = max(rng.uniform(*settings.thickness), THINNEST / (_SMALLEST_MEMBER * radius))
    category, outlines = arrange(rng, len(slots), thickness, classes)
    turn = rng.uniform(0, 2 * np.pi)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return Group(category, [o.moved(radius * turned, np.zeros(2)) for o in outlines], slots, radius)


def arrange(
    rng: np.random.Generator, count: int, thickness: float, classes: Collection[str] = ALL_THINGS
) -> tuple[str, list[Outline]]:
    """Name the class of a group and lay out its members, each of about unit radius, around the origin.

    Args:
        rng: Where the choices come from.
        count: Number of members, at least 1.
        thickness: Width of thin parts as a share of the radius.
        classes: Names of the classes to choose from; one of them at least is in `RANDOM_OUTLINES`.
    """
    if count >= 3 and rng.random() < 0.25 and "cell" in classes:
        gap = rng.uniform(0.03, 0.15) if rng.random() < 0.4 else 0.0
        spread = np.eye(2) * np.sqrt(count)
        return "cell", [cell.moved(spread, np.zeros(2)) for cell in packed_cells(rng, count, gap)]
    category = str(rng.choice([name for name in RANDOM_OUTLINES if name in classes]))
    make, alike = RANDOM_OUTLINES[category], rng.random() < 0.5
    first = make(rng, thickness)
    members = [first, *(first if alike else make(rng, thickness) for _ in range(count - 1))]
    kind = rng.random()
    if kind < 0.6:
        return category, _touching(rng, members)
    if kind < 0.8:
        return category, _in_rows(rng, members)
    places = rng.normal(0, 0.9, (count, 2)) * min(count - 1, 1)
    return category, [m.moved(_turned(rng), place) for m, place in zip(members, places, strict=True)]


def _turned(rng: np.random.Generator) -> Float64[np.ndarray, "2 2"]:
    """A random rotation with a slightly random size."""
    angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(_SMALLEST_MEMBER, 1.1)
    return size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _touching(rng: np.random.Generator, members: list[Outline]) -> list[Outline]:
    """Put each member beside one of those before it, so that they just meet."""
    placed: list[Outline] = []
    for member in members:
        turned = member.moved(_turned(rng), np.zeros(2))
        if placed:
            beside = placed[int(rng.integers(len(placed)))]
            middle = beside.vertices.mean(axis=0)
            angle = rng.uniform(0, 2 * np.pi)
            direction = np.array([np.sin(angle), np.cos(angle)])
            reach = ((beside.vertices - middle) @ direction).max() + (turned.vertices @ -direction).max()
            turned = turned.moved(np.eye(2), middle + direction * reach * rng.uniform(0.8, 1.0))
        placed.append(turned)
    return placed


def _in_rows(rng: np.random.Generator, members: list[Outline]) -> list[Outline]:
    """Put the members on a lattice, all turned alike."""
    columns = int(rng.integers(1, len(members) + 1))
    spacing = rng.uniform(1.5, 2.4, 2)
    turn = _turned(rng)
    return [m.moved(turn, spacing * divmod(index, columns)) for index, m in enumerate(members)]
