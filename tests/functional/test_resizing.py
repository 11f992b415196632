"""Resizing: the identity, constants, and smoothing where an image is reduced."""

import pytest
import torch

from upseg.functional.resizing import resize_image, scaled_area, scaled_size


def test_an_image_that_has_the_size_is_returned_itself() -> None:
    image = torch.rand(1, 3, 4, 5)
    assert resize_image(image, (4, 5)) is image


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 10)])
def test_a_constant_stays_one(size: tuple[int, int]) -> None:
    torch.testing.assert_close(resize_image(torch.full((2, 3, 4, 5), 0.3), size), torch.full((2, 3, *size), 0.3))


def test_reducing_smooths_first() -> None:
    stripes = torch.arange(64).remainder(2).float().expand(1, 1, 64, 64)
    reduced = resize_image(stripes, (16, 16))[..., 1:-1, 1:-1]
    torch.testing.assert_close(reduced, torch.full_like(reduced, 0.5))


def test_sizes_and_areas_are_rounded_and_no_side_vanishes() -> None:
    assert scaled_size(5, 30, 0.5) == (2, 15)
    assert scaled_size(1, 300, 0.1) == (1, 30)
    assert scaled_area(10, 50, 200) == 2
    assert scaled_area(11, 100, 200) == 6
