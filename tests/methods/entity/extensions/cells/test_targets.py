"""Targets of cells: hand-made maps."""

import numpy as np
import pytest
import torch

from upseg.data.sample import IGNORE, Sample
from upseg.methods.entity.extensions.cells.targets import (
    CellTargets,
    inner_distance,
    log_diameters,
    touching_borders,
)


def test_the_inner_distance_is_1_where_an_object_is_deepest() -> None:
    labels = np.zeros((9, 11), np.int32)
    labels[2:7, 1:6], labels[4, 8] = 1, 2
    found = inner_distance(labels)
    row = [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]
    assert found[4, 1:6].tolist() == pytest.approx(row)
    assert found[2, 1:6].tolist() == pytest.approx([1 / 3] * 5)
    assert found[4, 8] == 1
    assert not found[labels == 0].any()


def test_an_object_that_the_edge_cuts_is_deepest_there() -> None:
    labels = np.zeros((7, 6), np.int32)
    labels[:, :3] = 1
    assert inner_distance(labels)[3].tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0, 0, 0])
    whole = np.ones((3, 4), np.int32)
    assert inner_distance(whole).tolist() == np.ones((3, 4)).tolist()


def test_touching_neighbours_have_their_own_depths() -> None:
    labels = np.zeros((5, 8), np.int32)
    labels[1:4, 1:4], labels[1:4, 4:7] = 1, 2
    found = inner_distance(labels)
    assert found[2].tolist() == pytest.approx([0, 0.5, 1, 0.5, 0.5, 1, 0.5, 0])


def test_borders_are_where_two_objects_are_near() -> None:
    labels = np.zeros((5, 9), np.int32)
    labels[:, :3], labels[:, 4:8] = 1, 2
    assert touching_borders(labels, 1.0)[2].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert touching_borders(labels, 2.0)[2].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert not touching_borders(np.where(labels == 1, 1, 0).astype(np.int32), 2.0).any()


def test_sizes_are_logarithms_of_diameters() -> None:
    labels = np.zeros((4, 40), np.int32)
    labels[:, :10], labels[0, 20] = 1, 2
    found = log_diameters(labels, 2.0)
    assert found[0, 0] == pytest.approx(np.log(np.sqrt(40 * 4 / np.pi) / 2))
    assert found[0, 20] == pytest.approx(np.log(np.sqrt(4 / np.pi) / 2))
    assert found[0, 30] == 0


def test_a_crowd_is_ignored_and_an_empty_image_has_targets() -> None:
    labels = np.zeros((6, 6), np.int32)
    labels[1:3, 1:3], labels[4:, 4:] = 5, 9
    sample = Sample.from_labels(np.zeros((6, 6, 3), np.float32), labels, crowds=[9])
    found = CellTargets(4.0)(sample)
    assert found["labels"][5, 5] == IGNORE
    assert found["labels"].dtype == torch.int64
    assert found["distance"][5, 5] == 0
    empty = CellTargets()(Sample.from_labels(np.zeros((3, 4, 3), np.float32), np.zeros((3, 4), np.int32)))
    assert {name: tuple(values.shape) for name, values in empty.items()} == dict.fromkeys(
        ("labels", "border", "distance", "size"), (3, 4)
    )
    assert not any(values.any() for values in empty.values())


@pytest.mark.parametrize("wrong", [{"diameter": 0.0}, {"border": 0.5}])
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="diameter must be positive and border at least 1"):
        CellTargets(**wrong)
