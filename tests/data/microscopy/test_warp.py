"""Windows of images: what they show is where it should be, and image and label map stay together."""

import math

import numpy as np
import pytest

from upseg.data.microscopy.warp import Window, draw_window, warp


def scene() -> tuple[np.ndarray, np.ndarray]:
    """An image of 40x60 with two objects, each in a colour of its own."""
    labels = np.zeros((40, 60), np.int32)
    labels[8:20, 10:18], labels[25:33, 40:56] = 1, 2
    image = np.zeros((40, 60, 3), np.float32)
    image[labels == 1] = (1.0, 0.0, 0.5)
    image[labels == 2] = (0.0, 1.0, 0.5)
    return image, labels


def test_a_window_of_the_images_own_scale_is_a_crop() -> None:
    image, labels = scene()
    shown, seen = warp(image, labels, Window(20, (17.5, 19.5), 1.0))
    np.testing.assert_allclose(shown, image[8:28, 10:30], atol=1e-5)
    np.testing.assert_array_equal(seen > 0, labels[8:28, 10:30] > 0)


def test_a_quarter_turn_and_a_mirror_move_every_pixel() -> None:
    image, labels = scene()
    _, turned = warp(image, labels, Window(20, (17.5, 19.5), 1.0, angle=math.pi / 2))
    np.testing.assert_array_equal(turned > 0, np.rot90(labels[8:28, 10:30] > 0, k=-1))
    _, mirrored = warp(image, labels, Window(20, (17.5, 19.5), 1.0, mirrored=True))
    np.testing.assert_array_equal(mirrored > 0, labels[8:28, 10:30][:, ::-1] > 0)


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 3.0])
def test_areas_grow_with_the_square_of_the_factor(factor: float) -> None:
    image, labels = scene()
    _, seen = warp(image, labels, Window(round(60 * factor), (19.5, 29.5), factor))
    inside = seen[round(10 * factor) : round(50 * factor)]
    assert np.count_nonzero(inside) == pytest.approx((96 + 128) * factor**2, rel=0.2)


@pytest.mark.parametrize("seed", range(8))
def test_colours_and_labels_stay_together(seed: int) -> None:
    image, labels = scene()
    rng = np.random.default_rng(seed)
    shown, seen = warp(image, labels, draw_window(labels, 48, float(rng.uniform(0.8, 2)), rng, on_object=1.0))
    # bilinear edges aside, what is coloured is an object
    assert np.mean((shown[..., 2] > 0.25) == (seen > 0)) > 0.97
    assert (seen > 0).any()


def test_objects_in_the_mirror_beyond_the_edge_are_others() -> None:
    image, labels = scene()
    _, seen = warp(image, labels, Window(100, (19.5, 29.5), 1.0))
    assert int(seen.max()) > 2


def test_windows_look_beyond_the_edge_only_where_they_must() -> None:
    _, labels = scene()
    rng = np.random.default_rng(0)
    for _ in range(50):
        row, column = draw_window(labels, 20, 1.0, rng, on_object=0.5).centre
        assert 10 <= row <= 30
        assert 10 <= column <= 50
    assert draw_window(labels, 400, 1.0, rng, on_object=0.5).centre == (20, 30)
