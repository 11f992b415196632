"""From maps to objects: touching disks are parted, noise makes no objects."""

import numpy as np
import pytest

from upseg.methods.entity.extensions.cells.grouping import PixelMaps, group_cells, typical_diameter
from upseg.methods.entity.extensions.cells.targets import inner_distance, log_diameters, touching_borders
from upseg.metrics.cell_matching import match_cells


def disks(centres: list[tuple[int, int]], radius: int, side: int = 64) -> np.ndarray:
    """Disks as a label map; pixels of two belong to the nearer."""
    rows, columns = np.mgrid[:side, :side]
    distances = np.stack([(rows - r) ** 2 + (columns - c) ** 2 for r, c in centres])
    return np.where(distances.min(0) <= radius**2, distances.argmin(0) + 1, 0).astype(np.int32)


def perfect(labels: np.ndarray, noise: float = 0.0) -> PixelMaps:
    rng = np.random.default_rng(0)
    inside = (labels > 0).astype(np.float32)
    distance = inner_distance(labels) + noise * rng.standard_normal(labels.shape).astype(np.float32)
    border = touching_borders(labels, 2.0).astype(np.float32)
    return PixelMaps(inside * np.float32(0.9), border, distance.astype(np.float32), log_diameters(labels, 10.0))


TOUCHING = disks([(20, 14), (20, 30), (36, 22), (50, 50)], 9)


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("border_weight", [0.0, 0.5])
def test_touching_disks_are_parted(noise: float, border_weight: float) -> None:
    found = group_cells(perfect(TOUCHING, noise), border_weight=border_weight)
    assert match_cells(TOUCHING, found.labels, [0.9])[0].true_positives == 4
    assert set(found.scores) == set(np.unique(found.labels)) - {0}
    assert list(found.scores.values()) == pytest.approx([0.9] * 4)


def test_the_foreground_decides_what_is_inside() -> None:
    maps = perfect(TOUCHING)
    assert (group_cells(maps).labels > 0).tolist() == (TOUCHING > 0).tolist()
    assert not group_cells(maps, foreground=0.95).labels.any()


def test_a_prominence_above_all_makes_one_object_of_each_part() -> None:
    found = group_cells(perfect(TOUCHING), prominence=1.0, border_weight=0.0, smoothing=0.0)
    assert len(found.scores) == 2


def test_small_and_doubtful_objects_are_left_out_and_holes_filled() -> None:
    labels = disks([(20, 20), (50, 50)], 8)
    labels[5:7, 50:52] = 3
    maps = perfect(labels)
    assert len(group_cells(maps, minimum_area=5.0).scores) == 2
    assert len(group_cells(maps, minimum_area=4.0).scores) == 3
    maps.foreground[labels == 2] = 0.6
    assert len(group_cells(maps, minimum_area=5.0, minimum_score=0.7).scores) == 1
    maps.foreground[20, 20] = 0.0
    assert group_cells(maps).labels[20, 20] > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (6, 5)])
def test_maps_without_objects_and_full_of_one(shape: tuple[int, int]) -> None:
    nothing = PixelMaps(*(np.zeros(shape, np.float32) for _ in range(4)))
    assert not group_cells(nothing).labels.any()
    everything = PixelMaps(*(np.ones(shape, np.float32) for _ in range(4)))
    assert np.unique(group_cells(everything).labels).tolist() == [1]


def test_the_typical_diameter_is_the_median_of_the_objects() -> None:
    maps = perfect(TOUCHING)
    found = group_cells(maps)
    assert typical_diameter(maps, found, 10.0) == pytest.approx(18, rel=0.06)
    assert typical_diameter(maps, found, 10.0, least=5) is None


def test_crumbs_do_not_make_the_typical_diameter_small() -> None:
    labels = disks([(20, 20), (44, 44)], 9)
    labels[2, 2:12:3] = range(3, 7)
    maps = perfect(labels)
    assert typical_diameter(maps, group_cells(maps, smoothing=0.0), 10.0) == pytest.approx(18, rel=0.06)
