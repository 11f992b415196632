"""Outlines of shapes as polygons. Random ones have about unit radius around the origin; rows grow downwards.

And which pixels of the grid a shape covers, and how much of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from upseg.functional.polygons import fill_rings
from upseg.functional.runs import Runs

_ROUND = 40  # vertices of a smooth closed curve
_CAP = 10  # vertices of the disc that rounds a stroke's joints


@dataclass(frozen=True)
class Outline:
    """Closed rings. Those of one group are filled by the even-odd rule, so a ring in a ring is a hole.

    Groups are united.

    Attributes:
        vertices: (N, 2) corners as (row, column), ring after ring.
        offsets: (R + 1,) where each ring begins, and N.
        groups: (R,) the group of each ring, at least 1.
    """

    vertices: Float64[np.ndarray, "n 2"]
    offsets: Int64[np.ndarray, " r1"]
    groups: Int64[np.ndarray, " r"]

    @classmethod
    def of_rings(cls, rings: Sequence[Float64[np.ndarray, "_ 2"]]) -> Outline:
        """One group: the first ring filled, those within it holes."""
        offsets = np.cumsum([0, *(len(ring) for ring in rings)])
        return cls(np.concatenate(rings), offsets, np.ones(len(rings), np.int64))

    def __or__(self, other: Outline) -> Outline:
        """The union of both."""
        return Outline(
            np.concatenate((self.vertices, other.vertices)),
            np.concatenate((self.offsets, self.offsets[-1] + other.offsets[1:])),
            np.concatenate((self.groups, self.groups.max(initial=0) + other.groups)),
        )

    def moved(self, matrix: Float64[np.ndarray, "2 2"], shift: Float64[np.ndarray, " 2"]) -> Outline:
        """Each vertex v becomes matrix v + shift."""
        return Outline(self.vertices @ matrix.T + shift, self.offsets, self.groups)

    def runs(self, shape: tuple[int, int]) -> Runs:
        """The pixels whose centre lies inside each group, cut off at the borders of (H, W); groups may overlap."""
        return fill_rings(self.vertices, self.offsets, self.groups, shape)


def circle(count: int = _ROUND) -> Float64[np.ndarray, "n 2"]:
    """The corners of a regular polygon on the unit circle."""
    return polar(np.ones(count), np.arange(count) * (2 * np.pi / count))


def polar(radii: Float64[np.ndarray, " n"], angles: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 2"]:
    """Points by distance from the origin and angle in radians, clockwise on the screen from the right."""
    return np.stack((radii * np.sin(angles), radii * np.cos(angles)), axis=1)


def stroke(points: Float64[np.ndarray, "m 2"], widths: Float64[np.ndarray, " m"]) -> Outline:
    """What a round brush covers along a line through the points (at least two), where it may change its width."""
    steps = points[1:] - points[:-1]
    lengths = np.maximum(np.hypot(*steps.T), 1e-9)
    across = np.stack((-steps[:, 1], steps[:, 0]), axis=1) / lengths[:, None] / 2
    start, stop = across * widths[:-1, None], across * widths[1:, None]
    quads = np.stack((points[:-1] + start, points[1:] + stop, points[1:] - stop, points[:-1] - start), axis=1)
    discs = points[:, None] + circle(_CAP) * widths[:, None, None] / 2
    counts = np.concatenate((np.full(len(quads), 4), np.full(len(discs), _CAP)))
    return Outline(
        np.concatenate((quads.reshape(-1, 2), discs.reshape(-1, 2))),
        np.concatenate((np.zeros(1, np.int64), np.cumsum(counts))),
        np.arange(1, len(counts) + 1),
    )


def smooth_line(corners: Float64[np.ndarray, "k 2"], count: int) -> Float64[np.ndarray, "n 2"]:
    """`count` points on the Catmull-Rom spline through the corners (at least two)."""
    padded = np.concatenate((2 * corners[:1] - corners[1:2], corners, 2 * corners[-1:] - corners[-2:-1]))
    at = np.linspace(0, len(corners) - 1, count)
    piece = np.minimum(at.astype(np.int64), len(corners) - 2)
    t = (at - piece)[:, None]
    before, first, second, after = (padded[piece + k] for k in range(4))
    quadratic, cubic = 2 * before - 5 * first + 4 * second - after, 3 * (first - second) + after - before
    return np.asarray(first + 0.5 * ((second - before) * t + quadratic * t**2 + cubic * t**3))


def wobbly(rng: np.random.Generator, roughness: float, count: int = _ROUND) -> Float64[np.ndarray, "n 2"]:
    """A smooth closed curve around the origin: a circle with random waves, of greatest radius 1."""
    angles = np.arange(count) * (2 * np.pi / count)
    waves = np.arange(2, 7)
    phases, sizes = rng.uniform(0, 2 * np.pi, len(waves)), rng.normal(0, roughness, len(waves)) / waves
    radii = np.maximum(1 + (sizes * np.cos(angles[:, None] * waves + phases)).sum(axis=1), 0.2)
    return polar(radii / radii.max(), angles)


def ellipse(rng: np.random.Generator, thickness: float) -> Outline:
    """A disc to a long ellipse."""
    return Outline.of_rings([circle() * [max(rng.uniform(0.4, 1.0), thickness), 1.0]])


def polygon(rng: np.random.Generator, thickness: float) -> Outline:
    """Regular, a rectangle, or irregular with 3 to 8 corners."""
    sides, kind = int(rng.integers(3, 9)), rng.random()
    if kind < 0.3:
        return Outline.of_rings([circle(sides)])
    if kind < 0.6:
        aspect = max(rng.uniform(0.25, 1.0), thickness)
        return Outline.of_rings([np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * [0.75 * aspect, 0.75]])
    spread = np.arange(sides) + rng.uniform(-0.35, 0.35, sides)
    return Outline.of_rings([polar(rng.uniform(0.7, 1.0, sides), spread * (2 * np.pi / sides))])


def star(rng: np.random.Generator, thickness: float) -> Outline:
    """With 4 to 9 points, sometimes turned like a pinwheel."""
    points = int(rng.integers(4, 10))
    angles = np.arange(2 * points) * (np.pi / points)
    angles[1::2] += rng.choice([0.0, 0.0, 0.6]) * np.pi / points
    radii = np.ones(2 * points)
    radii[1::2] = max(rng.uniform(0.3, 0.65), thickness)
    return Outline.of_rings([polar(radii, angles)])


def ring(rng: np.random.Generator, thickness: float) -> Outline:
    """A rim around one hole, round or angular, or a plate with 2 to 4 holes."""
    corners, aspect = int(rng.choice([_ROUND, _ROUND, 3, 4, 6])), rng.uniform(0.6, 1.0)
    edge = circle(corners) * [aspect, 1.0]
    if rng.random() < 0.7:
        inner_radius = aspect * np.cos(np.pi / corners)  # where the outline comes nearest to the middle
        return Outline.of_rings([edge, edge * max(1 - thickness / inner_radius, 0.3)])
    holes = int(rng.integers(2, 5))
    centres = polar(np.full(holes, 0.5), np.arange(holes) * (2 * np.pi / holes)) * [0.6, 1.0]
    plate = circle() * [0.8, 1.0]
    return Outline.of_rings([plate, *(circle(12) * (0.55 / holes) + centre for centre in centres)])


def curve(rng: np.random.Generator, thickness: float) -> Outline:
    """A stroke: wound, an arc, a wave or a spiral; of even width or tapering."""
    kind, at = rng.random(), np.linspace(0, 1, 32)
    if kind < 0.45:
        points = smooth_line(rng.uniform(-0.9, 0.9, (int(rng.integers(3, 6)), 2)), len(at))
    elif kind < 0.65:
        points = polar(np.full(len(at), 0.85), at * rng.uniform(1.5, 5.5))
    elif kind < 0.85:
        points = np.stack((0.35 * np.sin(at * rng.uniform(4, 14)), 1.8 * at - 0.9), axis=1)
    else:
        points = polar(0.15 + 0.75 * at, at * rng.uniform(6, 12))
    return stroke(points, thickness * np.linspace(rng.choice([1.0, 1.0, 2.2]), 1, len(at)))


def blob(rng: np.random.Generator, thickness: float) -> Outline:  # noqa: ARG001 - all random outlines are called alike
    """A smooth lump, sometimes with a hole."""
    edge = wobbly(rng, rng.uniform(0.15, 0.5))
    hole = [0.35 * wobbly(rng, 0.2)] if rng.random() < 0.2 else []
    return Outline.of_rings([edge, *hole])


def crescent(rng: np.random.Generator, thickness: float) -> Outline:
    """A moon."""
    outer = polar(np.ones(_ROUND // 2), np.linspace(0.5 * np.pi, 1.5 * np.pi, _ROUND // 2))
    inner = outer[::-1] * [1, 1 - max(rng.uniform(0.35, 0.8), min(thickness, 0.9))]
    return Outline.of_rings([np.concatenate((outer, inner[1:-1]))]).moved(np.eye(2), np.array([0.0, 0.5]))


def cross(rng: np.random.Generator, thickness: float) -> Outline:
    """3 to 6 arms from the middle."""
    arms, width = int(rng.integers(3, 7)), max(rng.uniform(0.2, 0.45), thickness)
    tips = polar(np.ones(arms), np.arange(arms) * (2 * np.pi / arms))
    sides = np.stack((-tips[:, 1], tips[:, 0]), axis=1) * (width / 2)
    bars = np.stack((sides, tips + sides, tips - sides, -sides), axis=1)
    return Outline(bars.reshape(-1, 2), 4 * np.arange(arms + 1), np.arange(1, arms + 1))


def creature(rng: np.random.Generator, thickness: float) -> Outline:
    """A body with 1 to 7 thin limbs."""
    limbs = int(rng.integers(1, 8))
    found = Outline.of_rings([wobbly(rng, 0.2) * [0.45, 0.55]])
    for angle in (np.arange(limbs) + rng.uniform(-0.25, 0.25, limbs)) * (2 * np.pi / limbs):
        joints = polar(np.array([0.3, 0.7, 1.0]), angle + np.array([0, *rng.uniform(-0.35, 0.35, 2)]))
        found = found | stroke(smooth_line(joints, 8), np.linspace(1.25, 1, 8) * thickness)
    return found


RANDOM_OUTLINES: dict[str, Callable[[np.random.Generator, float], Outline]] = {
    maker.__name__: maker for maker in (ellipse, polygon, star, ring, curve, blob, crescent, cross, creature)
}
"""By the name of the class: makers that take a generator and the width of the thin parts as a share of the radius."""


def packed_cells(rng: np.random.Generator, count: int, gap: float) -> list[Outline]:
    """A convex patch of about unit radius cut into `count` convex cells that share their borders.

    Args:
        rng: Where the choices come from.
        count: Number of cells, at least 1.
        gap: Share of its radius by which each cell shrinks; 0 lets them touch.
    """
    seeds = _spread_points(rng, count)
    edge = [complex(*corner) for corner in wobbly(rng, 0.08, 20).tolist()]
    cells = []
    for seed in seeds:
        ring = edge
        for other in seeds:
            if other is not seed:
                ring = _clipped(ring, (seed + other) / 2, seed - other)
        corners = np.array([(corner.real, corner.imag) for corner in ring]).reshape(-1, 2)
        if len(corners) >= 3:
            middle = corners.mean(axis=0)
            cells.append(Outline.of_rings([middle + (corners - middle) * (1 - gap)]))
    return cells


def _spread_points(rng: np.random.Generator, count: int) -> list[complex]:
    """Points in the unit disc, each the best of eight by its distance to those before it."""
    chosen: list[complex] = []
    for _ in range(count):
        candidates = [complex(*point) for point in polar(0.9 * np.sqrt(rng.random(8)), rng.uniform(0, 7, 8)).tolist()]
        chosen.append(max(candidates, key=lambda c: min((abs(c - other) for other in chosen), default=0.0)))
    return chosen


def _clipped(ring: list[complex], point: complex, inward: complex) -> list[complex]:
    """The part of a convex polygon on one side of the line through a point. Plain numbers: the polygons are small."""
    sides = [((corner - point) * inward.conjugate()).real for corner in ring]
    kept: list[complex] = []
    for index, (corner, side) in enumerate(zip(ring, sides, strict=True)):
        before, side_before = ring[index - 1], sides[index - 1]
        if (side < 0) != (side_before < 0):
            kept.append(before + side_before / (side_before - side) * (corner - before))
        if side >= 0:
            kept.append(corner)
    return kept


_FINE = 3  # sample points along each side of a pixel; odd, so that one of them is the pixel's centre


@dataclass(frozen=True)
class Raster:
    """A shape within its bounding box on the image.

    Attributes:
        rows: The box's rows in the image.
        columns: The box's columns in the image.
        inside: (h, w) whether the pixel's centre lies in the shape: the ground truth.
        coverage: (h, w) share of the pixel's area that lies in the shape, 0 to 1: the image.
    """

    rows: slice
    columns: slice
    inside: Bool[np.ndarray, "h w"]
    coverage: Float32[np.ndarray, "h w"]

    @property
    def box(self) -> tuple[slice, slice]:
        """Index of the box in an image."""
        return self.rows, self.columns


def rasterise(outline: Outline, shape: tuple[int, int]) -> Raster | None:
    """Find the pixels of a shape; None if its bounding box lies outside the image.

    Args:
        outline: In pixels; pixel (r, c) is the unit square from corner (r, c).
        shape: (H, W) of the image.
    """
    limits = np.array(shape)
    first = np.clip(np.floor(outline.vertices.min(axis=0)), 0, limits).astype(int)
    last = np.clip(np.ceil(outline.vertices.max(axis=0)), 0, limits).astype(int)
    height, width = (last - first).tolist()
    if min(height, width) == 0:
        return None
    fine = Outline((outline.vertices - first) * _FINE, outline.offsets, outline.groups)
    runs = fine.runs((height * _FINE, width * _FINE))
    steps = np.zeros(height * width * _FINE**2 + 1, np.int16)
    np.add.at(steps, runs.starts, 1)
    np.add.at(steps, runs.stops, -1)
    filled = (np.cumsum(steps[:-1], dtype=np.int16) > 0).reshape(height * _FINE, width * _FINE)
    in_rows = np.add.reduce([filled[row::_FINE].view(np.uint8) for row in range(_FINE)], dtype=np.uint8)
    counts = np.add.reduce([in_rows[:, column::_FINE] for column in range(_FINE)], dtype=np.uint8)
    inside = filled[_FINE // 2 :: _FINE, _FINE // 2 :: _FINE].copy()
    return Raster(
        slice(int(first[0]), int(last[0])),
        slice(int(first[1]), int(last[1])),
        inside,
        counts.astype(np.float32) / np.float32(_FINE**2),
    )


def pixel_centres(raster: Raster) -> tuple[Float64[np.ndarray, "h 1"], Float64[np.ndarray, "1 w"]]:
    """Rows and columns in the image of the centres of the box's pixels."""
    rows = np.arange(raster.rows.start, raster.rows.stop) + 0.5
    columns = np.arange(raster.columns.start, raster.columns.stop) + 0.5
    return rows[:, None], columns[None]
