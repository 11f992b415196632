"""Closing, holes and the semantic filter: small maps by hand, and the slow reference."""

import numpy as np
import pytest

from tests.reference import baiseg_extraction as slow
from upseg.methods.baiseg.extraction.refinement import close_masks, remove_small_objects, semantic_filter


def map_of(*rows: str) -> np.ndarray:
    return np.array([[int(letter) for letter in row] for row in rows], np.int32)


THINGS = np.array([False, True, True])


def test_closing_fills_a_notch_and_leaves_the_outline() -> None:
    block = np.zeros((11, 13), np.int32)
    block[2:9, 2:11] = 1
    notched = block.copy()
    notched[2:6, 6] = 0
    result = close_masks(notched, 5)
    assert np.array_equal(result[3:], block[3:])
    assert not result[:2].any()


def test_a_disc_of_one_pixel_only_fills_holes() -> None:
    labels = map_of("11111", "10001", "10101", "11111")
    assert np.array_equal(close_masks(labels, 1), np.ones((4, 5), np.int32))
    notch = map_of("11011", "11011", "11111")
    assert np.array_equal(close_masks(notch, 1), notch)


def test_holes_belong_to_nobody_if_two_instances_or_the_edge_are_beside_them() -> None:
    assert np.array_equal(close_masks(map_of("1111", "1002", "1111"), 1), map_of("1111", "1002", "1111"))
    assert np.array_equal(close_masks(map_of("1111", "1001", "1011"), 1), map_of("1111", "1001", "1011"))
    assert np.array_equal(close_masks(map_of("1111", "1221", "1111"), 1), map_of("1111", "1221", "1111"))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("diameter", [1, 3, 5, 7])
def test_it_agrees_with_the_slow_reference(seed: int, diameter: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (5, 6)), np.ones((3, 4))).astype(np.int32)
    labels[rng.random(labels.shape) < 0.2] = 0
    result = close_masks(labels, diameter)
    assert np.array_equal(result, slow.closed(labels, diameter))
    assert np.array_equal(result[labels > 0], labels[labels > 0])


def test_an_instance_gets_the_class_of_most_of_its_pixels_and_loses_the_others() -> None:
    labels = map_of("1112220", "1112220")
    classes = map_of("1112220", "1122122").astype(np.int64)
    kept, kinds = semantic_filter(labels, classes, THINGS, 0)
    assert np.array_equal(kept, map_of("1112220", "1102020"))
    assert kinds == {1: 1, 2: 2}
    uncut, same_kinds = semantic_filter(labels, classes, THINGS, 0, cut=False)
    assert np.array_equal(uncut, labels)
    assert same_kinds == kinds


def test_what_is_no_thing_belongs_to_no_instance() -> None:
    labels = np.ones((2, 4), np.int32)
    classes = np.array([[0, 0, 0, -1], [1, 2, 2, 2]], np.int64)
    for cut in (True, False):
        kept, kinds = semantic_filter(labels, classes, THINGS, 0, cut=cut)
        assert kept.tolist() == [[0, 0, 0, 0], [int(not cut), 1, 1, 1]]
        assert kinds == {1: 2}


def test_an_instance_of_mostly_no_thing_is_dropped() -> None:
    labels = np.ones((2, 4), np.int32)
    for classes in ([[0, 0, 0, 0], [0, 1, 1, 1]], [[0, -1, -1, -1], [-1, 1, 1, 1]], [[0] * 4] * 2):
        nothing, no_kinds = semantic_filter(labels, np.array(classes, np.int64), THINGS, 0)
        assert not nothing.any()
        assert no_kinds == {}


def test_parts_that_are_too_small_go() -> None:
    labels = map_of("110333", "110033", "001000", "220000")
    expected = map_of("110333", "110033", "000000", "000000")
    assert np.array_equal(remove_small_objects(labels, 3), expected)
    assert np.array_equal(remove_small_objects(labels, 1), labels)
    kept, kinds = semantic_filter(labels, np.ones(labels.shape, np.int64), THINGS, 3)
    assert np.array_equal(kept, expected)
    assert kinds == {1: 1, 3: 1}


def test_empty_maps() -> None:
    empty = np.zeros((0, 3), np.int32)
    assert close_masks(empty, 5).shape == (0, 3)
    assert semantic_filter(empty, empty.astype(np.int64), THINGS, 20)[1] == {}
