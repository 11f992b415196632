import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from upseg.data.sample import IGNORE, Sample
from upseg.methods.entity.targets import EntityTargets, erode
from upseg.segmentation import Category


def sample_of(labels: np.ndarray, **options: object) -> Sample:
    return Sample.from_labels(np.zeros((*labels.shape, 3), np.float32), labels, **options)


def test_a_square_loses_two_pixels_on_each_side() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[4:14, 5:15] = 1
    eroded = EntityTargets()(sample_of(labels))["labels"].numpy()
    expected = np.zeros((20, 20), np.int64)
    expected[4:14, 5:15] = IGNORE
    expected[6:12, 7:13] = 1
    np.testing.assert_array_equal(eroded, expected)


def test_the_edge_of_the_image_erodes_nothing() -> None:
    labels = np.full((7, 9), 1, np.int32)
    assert (EntityTargets()(sample_of(labels))["labels"] == 1).all()


def test_touching_entities_are_eroded_on_both_sides() -> None:
    labels = np.repeat(np.array([[1] * 6 + [2] * 6], np.int32), 8, axis=0)
    row = EntityTargets(3)(sample_of(labels))["labels"][3].tolist()
    assert row == [1] * 5 + [IGNORE] * 2 + [2] * 5


def test_an_entity_that_is_too_thin_is_gone_and_crowds_are_ignored() -> None:
    labels = np.zeros((12, 12), np.int32)
    labels[2:4, :] = 1
    labels[6:, :] = 2
    targets = EntityTargets()(sample_of(labels, crowds={2}, categories={2: Category(1, "people")}))["labels"]
    assert set(targets[2:4].flatten().tolist()) == {IGNORE}
    assert set(targets[6:].flatten().tolist()) == {IGNORE}


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-1, 3)),
    st.sampled_from([1, 3, 5]),
)
def test_a_pixel_is_kept_if_all_around_it_is_of_its_entity(labels: np.ndarray, side: int) -> None:
    eroded, reach = erode(labels, side), side // 2
    height, width = labels.shape
    for row in range(height):
        for column in range(width):
            around = labels[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
            value = labels[row, column]
            assert eroded[row, column] == (value if value <= 0 or (around == value).all() else IGNORE)


def test_the_seed_is_that_of_the_pixels() -> None:
    generator = np.random.default_rng(0)
    image = generator.random((6, 6, 3), np.float32)
    labels = np.ones((6, 6), np.int32)
    seeds = [int(EntityTargets()(Sample.from_labels(pixels, labels))["seed"]) for pixels in (image, image, image * 0.5)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert EntityTargets()(Sample.from_labels(image, labels))["seed"].dtype == torch.int64


@pytest.mark.parametrize("erosion", [0, 2, -3])
def test_only_odd_squares_have_a_middle(erosion: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        EntityTargets(erosion)
