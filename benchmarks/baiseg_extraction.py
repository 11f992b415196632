"""How fast and how well does baiseg's mask extraction cut instances out of boundary maps?

Boundary maps as a network would give them are made from the ground truth of made-up scenes of 640 x 480: full strength
around regions of the class map; between touching objects a strength that varies, with gaps; blurred; at a quarter of
the resolution and enlarged; with noise. All objects are of one class, and the class map is the true one. An instance is
found if an extracted one overlaps its connected part by half or more (intersection over union); connected, since
nothing tells that two parts in different places are one object. Then the same with other settings, and time and memory
for an image of 24 megapixels.

    python benchmarks/baiseg_extraction.py [--scenes 8] [--repeats 5] [--output benchmarks/results]

Times are processor time of one thread, so that other work on the machine hardly changes them.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from harness.report import markdown_table, write_report
from scipy import ndimage

from upseg.data.shapes import ShapeScenes
from upseg.functional.label_maps import border_pixels, connected_components
from upseg.methods.baiseg.extraction import extract
from upseg.methods.baiseg.settings import BaisegSettings

PHOTO, LARGE = (480, 640), (4000, 6000)
DIFFICULTY, SEED = 0.7, 0
GOAL_SECONDS = 0.3
IS_THING = np.array([False, True])
DEFAULTS = BaisegSettings(boundary_threshold=0.3, dilations=2, marker_ratio=0.6)
VARIANTS: Mapping[str, BaisegSettings] = {
    "the default settings": DEFAULTS,
    "no dilation": replace(DEFAULTS, dilations=0),
    "one dilation": replace(DEFAULTS, dilations=1),
    "three dilations": replace(DEFAULTS, dilations=3),
    "marker_ratio 0.4": replace(DEFAULTS, marker_ratio=0.4),
    "marker_ratio 0.8": replace(DEFAULTS, marker_ratio=0.8),
    "boundary_threshold 0.2": replace(DEFAULTS, boundary_threshold=0.2),
    "boundary_threshold 0.5": replace(DEFAULTS, boundary_threshold=0.5),
    "without contours of the class map": replace(DEFAULTS, semantic_contours=False),
    "without refinement": replace(DEFAULTS, refine=False),
}


@dataclass(frozen=True)
class Scene:
    """What the extraction is given, and the truth: connected parts of instances of things."""

    classes: np.ndarray
    parts: np.ndarray


@dataclass(frozen=True)
class Damage:
    """How a boundary map differs from the truth.

    Attributes:
        weakest: Strength of the weakest boundary between two objects of one class; others lie between it and 1.
        gaps: Share of such a boundary that lies in gaps.
        gap: Length of a gap in pixels.
        stride: The map is made at this fraction of the resolution, and enlarged.
        noise: Standard deviation of smooth noise.
    """

    weakest: float = 1.0
    gaps: float = 0.0
    gap: int = 3
    stride: int = 1
    noise: float = 0.0


DAMAGES: Mapping[str, Damage] = {
    "complete": Damage(),
    "weak between objects": Damage(weakest=0.4),
    "weak, with gaps of 3 pixels": Damage(weakest=0.4, gaps=0.1),
    "weak, with gaps of 6 pixels": Damage(weakest=0.4, gaps=0.2, gap=6),
    "the gaps of 3, a quarter of the resolution": Damage(weakest=0.4, gaps=0.1, stride=4),
    "the gaps of 3, and noise": Damage(weakest=0.4, gaps=0.1, noise=0.07),
    "the gaps of 3, and twice the noise": Damage(weakest=0.4, gaps=0.1, noise=0.14),
}
TYPICAL = "the gaps of 3, and noise"


class Clock(dict[str, Any]):
    """Notes when each stage of an extraction is done."""

    def __init__(self) -> None:
        super().__init__()
        self.last = self.start = time.process_time()
        self.seconds: dict[str, float] = {}

    def __setitem__(self, stage: str, value: object) -> None:
        now = time.process_time()
        self.seconds[stage], self.last = now - self.last, now


def scenes(count: int) -> list[Scene]:
    """All things are of one class, so that whatever touches or overlaps is one region of the class map."""
    found = []
    for sample in ShapeScenes(count, PHOTO, DIFFICULTY, SEED):
        instances = np.where(
            np.isin(sample.segment_map, [s.id for s in sample.segments if s.is_thing]), sample.segment_map, 0
        )
        found.append(Scene((instances > 0).astype(np.int64), connected_components(instances)))
    return found


def boundary_map(scene: Scene, damage: Damage, seed: int) -> np.ndarray:
    rng = np.random.default_rng((SEED, seed))
    contours = border_pixels(scene.classes)
    lines = border_pixels(scene.parts) | contours
    strength = rescaled(ndimage.gaussian_filter(rng.standard_normal(lines.shape), 8)) * (1 - damage.weakest)
    strength += damage.weakest
    holes = ndimage.maximum_filter(rng.random(lines.shape) < damage.gaps / damage.gap**2, damage.gap)
    strength[holes] = 0
    drawn = np.where(contours, 1.0, strength) * lines
    boundary = torch.from_numpy(1.3 * ndimage.gaussian_filter(drawn, 0.8))[None, None]
    if damage.stride > 1:
        small = F.max_pool2d(boundary, damage.stride)
        boundary = F.interpolate(small, size=lines.shape, mode="bilinear", align_corners=False)
    noise = ndimage.gaussian_filter(rng.standard_normal(lines.shape), 1.5)
    values = boundary[0, 0].numpy() + damage.noise * noise / noise.std()
    return np.clip(values, 0, 1).astype(np.float32)


def rescaled(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / np.ptp(values)


def quality(parts: np.ndarray, labels: np.ndarray, minimum_area: int) -> tuple[int, int, int, int]:
    """True instances, those found, extracted ones, and those of them that are one."""
    count = int(labels.max()) + 1
    shared = np.bincount(parts.ravel().astype(np.int64) * count + labels.ravel(), minlength=(parts.max() + 1) * count)
    shared = shared.reshape(-1, count)
    areas, own = shared.sum(axis=1), shared.sum(axis=0)
    match = (shared >= 0.5 * (areas[:, None] + own - shared))[1:, 1:]
    large = areas[1:] >= minimum_area
    return int(large.sum()), int(match[large].any(axis=1).sum()), count - 1, int(match.any(axis=0).sum())


def measure(
    given: Sequence[Scene], damage: Damage, settings: BaisegSettings, repeats: int
) -> tuple[dict[str, Any], dict[str, float]]:
    """A row of the tables, and the seconds of the stages in the slowest scene."""
    counts, slowest = np.zeros(4, np.int64), Clock()
    for number, scene in enumerate(given):
        boundary = boundary_map(scene, damage, number)
        clocks = []
        for _ in range(repeats):
            clock = Clock()
            labels = extract(boundary, scene.classes, IS_THING, settings, stages=clock).labels
            clocks.append(clock)
        counts += quality(scene.parts, labels, settings.minimum_area)
        best = min(clocks, key=lambda clock: clock.last - clock.start)
        if best.last - best.start >= slowest.last - slowest.start:
            slowest = best
    true, hit, extracted, right = counts.tolist()
    row = {"found": hit / true, "right": right / extracted, "extracted": extracted, "true": true}
    return row | {"seconds": slowest.last - slowest.start}, slowest.seconds


def measure_large(scene: Scene) -> tuple[dict[str, Any], dict[str, float]]:
    """A row, and the seconds of the stages, for 24 megapixels full of one scene side by side."""
    tiles = -(-LARGE[0] // PHOTO[0]), -(-LARGE[1] // PHOTO[1])
    boundary, classes = (
        np.ascontiguousarray(np.tile(values, tiles)[: LARGE[0], : LARGE[1]])
        for values in (boundary_map(scene, DAMAGES[TYPICAL], 0), scene.classes)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = Clock()
    labels = extract(boundary, classes, IS_THING, DEFAULTS, stages=clock).labels
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    row = {"seconds": clock.last - clock.start, "extracted": int(labels.max()), "memory": grown / 2**10}
    return row, clock.seconds


def write(
    output: Path,
    maps: Mapping[str, dict[str, Any]],
    variants: Mapping[str, dict[str, Any]],
    large: dict[str, Any],
    stages: Mapping[str, Mapping[str, float]],
) -> None:
    headings = ("found (%)", "right (%)", "extracted", "true", "seconds")
    tables = [
        markdown_table(
            (first, *headings),
            [
                (name, 100 * row["found"], 100 * row["right"], row["extracted"], row["true"], row["seconds"])
                for name, row in rows.items()
            ],
        )
        for first, rows in (("boundary map", maps), ("settings", variants))
    ]
    names = list(next(iter(stages.values())))
    slowest = max(row["seconds"] for row in maps.values())
    write_report(
        output,
        "baiseg_extraction",
        "From boundary maps to instances",
        [
            "## Boundary maps, with the default settings",
            tables[0],
            f"## Settings, on the map called: {TYPICAL}",
            tables[1],
            "## Seconds of each stage",
            markdown_table(
                ("image", *names), [(image, *(seconds[n] for n in names)) for image, seconds in stages.items()]
            ),
        ],
        {"maps": dict(maps), "settings": dict(variants), "large": large, "stages": dict(stages)},
        [
            "found: the share of the true instances that an extracted one overlaps by half or more",
            "right: the share of the extracted instances that overlap a true one so",
            f"goal: {GOAL_SECONDS} s for 640 x 480 on one core; the slowest scene takes {slowest:.3f} s",
            f"24 megapixels: {large['seconds']:.1f} s, {large['extracted']} instances, {large['memory']:.0f} MiB more",
            "processor time of one thread; of a scene the shortest of the repeats, of a map's scenes the longest",
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=8, help="default: 8")
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    given = scenes(options.scenes)
    maps: dict[str, dict[str, Any]] = {}
    variants: dict[str, dict[str, Any]] = {}
    stages: dict[str, dict[str, float]] = {}
    for name, damage in DAMAGES.items():
        maps[name], seconds = measure(given, damage, DEFAULTS, options.repeats)
        print(name, maps[name], file=sys.stderr, flush=True)
        if name == TYPICAL:
            stages["640 x 480"] = seconds
    for name, settings in VARIANTS.items():
        variants[name], _ = measure(given, DAMAGES[TYPICAL], settings, 1)
        print(name, variants[name], file=sys.stderr, flush=True)
    large, stages["6000 x 4000"] = measure_large(given[0])
    write(options.output, maps, variants, large, stages)


if __name__ == "__main__":
    main()
