import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from upseg.errors import ImageError
from upseg.images.normalization import Pixels, to_unit_range


def test_bytes_are_divided_by_255() -> None:
    values = np.array([0, 51, 255], np.uint8)
    assert to_unit_range(values).tolist() == pytest.approx([0, 0.2, 1])
    assert to_unit_range(values).dtype == np.float32


@pytest.mark.parametrize(
    ("largest", "divisor"),
    [(0, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4096, 16383), (16384, 65535), (65535, 65535)],
)
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.int64])
def test_deeper_integers_are_divided_by_the_largest_value_of_their_bit_depth(largest, divisor, dtype) -> None:
    assert to_unit_range(np.array([0, largest], dtype)).tolist() == pytest.approx([0, largest / divisor])


@pytest.mark.parametrize(("largest", "divisor"), [(65536, 2**17 - 1), (2**32 - 1, 2**32 - 1), (2**40, 2**41 - 1)])
def test_very_deep_integers_use_as_many_bits_as_they_need(largest, divisor) -> None:
    assert to_unit_range(np.array([0, largest], np.uint64)).tolist() == pytest.approx([0, largest / divisor])


def test_eight_bit_values_are_not_stretched_when_the_image_is_dark() -> None:
    assert to_unit_range(np.array([3], np.uint8))[0] == pytest.approx(3 / 255)


def test_negative_integers_and_wide_floats_are_stretched_from_their_smallest_to_their_largest_value() -> None:
    assert to_unit_range(np.array([-1000, 0, 3000], np.int16)).tolist() == pytest.approx([0, 0.25, 1])
    assert to_unit_range(np.array([2.0, 3.0, 6.0])).tolist() == pytest.approx([0, 0.25, 1])
    assert to_unit_range(np.array([-1e308, 1e308])).tolist() == [0, 1]
    assert to_unit_range(np.array([7.0, 7.0])).tolist() == [0, 0]


def test_floats_within_the_unit_range_and_booleans_stay_as_they_are() -> None:
    assert to_unit_range(np.array([0.25, 0.5], np.float16)).tolist() == [0.25, 0.5]
    assert to_unit_range(np.array([False, True])).tolist() == [0, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad) -> None:
    with pytest.raises(ImageError, match="not a number or infinite"):
        to_unit_range(np.array([0.5, bad]))


@pytest.mark.parametrize("dtype", [np.complex64, "U3", object])
def test_values_that_are_no_real_numbers_are_refused(dtype) -> None:
    with pytest.raises(ImageError, match="booleans, integers or floats"):
        to_unit_range(np.zeros(3, dtype))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.uint32, np.int64, np.uint64, np.float32, np.float64]),
        hnp.array_shapes(max_dims=3, max_side=4),
        elements=None,
    ).filter(lambda a: bool(np.isfinite(a).all()))
)
def test_any_finite_values_end_up_in_the_unit_range_and_keep_their_order(values) -> None:
    before = values.copy()
    scaled = to_unit_range(values)
    assert np.array_equal(values, before)
    assert scaled.dtype == np.float32
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(scaled.ravel()[order]) >= 0).all()


def test_grey_is_repeated_and_the_result_is_a_new_writable_array() -> None:
    values = np.array([[[0.5]]], np.float32)
    rgb = Pixels(values).to_rgb()
    rgb[0, 0, 0] = 1
    assert rgb.tolist() == [[[1, 0.5, 0.5]]]
    assert values[0, 0, 0] == 0.5


def test_rgb_floats_are_copied_so_that_the_callers_array_is_safe() -> None:
    values = np.full((2, 2, 3), 0.5, np.float32)
    Pixels(values).to_rgb()[:] = 0
    assert (values == 0.5).all()


def test_translucent_pixels_are_put_on_white() -> None:
    values = np.array([[[255, 0, 0], [255, 0, 0], [255, 0, 0]]], np.uint8)
    rgb = Pixels(values, alpha=np.array([[255, 51, 0]], np.uint8)).to_rgb()
    assert rgb[0, 0].tolist() == [1, 0, 0]
    assert rgb[0, 1].tolist() == pytest.approx([1, 0.8, 0.8])
    assert rgb[0, 2].tolist() == [1, 1, 1]


def test_premultiplied_colours_are_not_multiplied_again() -> None:
    rgb = Pixels(np.array([[[0.2]]]), alpha=np.array([[0.2]]), premultiplied=True).to_rgb()
    assert rgb[0, 0].tolist() == pytest.approx([1, 1, 1])


def test_colours_and_alpha_of_different_depth_in_one_file_are_scaled_apart() -> None:
    values, alpha = np.full((1, 1, 3), 4095, np.uint16), np.full((1, 1), 65535, np.uint16)
    assert Pixels(values, alpha).to_rgb().tolist() == [[[1, 1, 1]]]


def test_alpha_outside_its_range_is_refused() -> None:
    with pytest.raises(ImageError, match=r"alpha must be in \[0, 1\]"):
        Pixels(np.zeros((1, 1, 3)), alpha=np.array([[255.0]])).to_rgb()


def test_channels_are_picked_in_the_order_asked_for_with_alpha_last() -> None:
    pixels = Pixels(np.array([[[10, 20, 30]]], np.uint8), alpha=np.array([[40]], np.uint8))
    assert (pixels.pick([3, 0, 0]).to_rgb() * 255).round().tolist() == [[[40, 10, 10]]]
    assert (pixels.pick([1]).to_rgb() * 255).round().tolist() == [[[20, 20, 20]]]
    with pytest.raises(ImageError, match="only 0 to 3"):
        pixels.pick([4])


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 1)])
def test_an_image_without_pixels_is_refused(shape) -> None:
    with pytest.raises(ImageError, match="empty"):
        Pixels(np.zeros(shape, np.uint8)).to_rgb()


@pytest.mark.parametrize("count", [2, 5])
def test_an_image_with_another_number_of_channels_asks_which_to_use(count) -> None:
    with pytest.raises(ImageError, match=f"this one has {count}.*--channels"):
        Pixels(np.zeros((2, 2, count), np.uint8)).to_rgb()
