"""Stretching of contrast by percentiles."""

import numpy as np
import pytest

from upseg.functional.contrast import stretch_contrast


def test_the_percentiles_become_0_and_1_and_what_lies_beyond_is_cut() -> None:
    image = np.linspace(10, 20, 1001).reshape(7, 143, 1).repeat(3, 2)
    found = stretch_contrast(image, dark=10.0, bright=90.0)
    assert (found.dtype, found.shape) == (np.float32, image.shape)
    np.testing.assert_allclose(found.ravel(), np.clip((image.ravel() - 11) / 8, 0, 1), atol=1e-6)


def test_channels_are_stretched_alike_so_that_a_hue_stays() -> None:
    blue = np.zeros((8, 8, 3))
    blue[2:5, 2:5] = (0.0, 0.1, 0.2)
    found = stretch_contrast(blue)
    assert found[3, 3].tolist() == pytest.approx([0, 0.5, 1], abs=0.02)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_an_image_of_one_value_has_no_contrast(value: float) -> None:
    assert not stretch_contrast(np.full((1, 5, 3), value)).any()


def test_large_images_are_sampled_and_come_out_nearly_the_same() -> None:
    image = np.random.default_rng(0).random((900, 900, 3))
    low, high = np.percentile(image, (1.0, 99.8))
    np.testing.assert_allclose(stretch_contrast(image), np.clip((image - low) / (high - low), 0, 1), atol=0.005)
