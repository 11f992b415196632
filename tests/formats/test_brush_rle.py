import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tests.data.sources.trees import studio_run_lengths
from upseg.formats.brush_rle import decode_brush, encode_brush

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))


@settings(deadline=None)
@given(mask=masks)
def test_masks_survive(mask) -> None:
    packed = encode_brush(mask)
    assert all(0 <= byte <= 255 for byte in packed)
    assert np.array_equal(decode_brush(packed, mask.shape), mask)
    assert np.array_equal(decode_brush(studio_run_lengths(mask), mask.shape), mask)


def test_by_hand() -> None:
    # 8 bytes; words of 8 bits; lengths of 3, 4, 8, 16 bits; 4 times 0 and 4 times 255, both with 16 bits of length
    bits = f"{8:032b}" + "00111" + "0010001101111111" + f"111{3:016b}{0:08b}" + f"111{3:016b}{255:08b}" + "0"
    bits += "0" * (-len(bits) % 8)
    packed = [int(bits[n : n + 8], 2) for n in range(0, len(bits), 8)]
    assert (
        encode_brush(np.array([[False, True]]))[: len(packed)] == packed[: len(encode_brush(np.array([[False, True]])))]
    )
    assert decode_brush(packed, (1, 2)).tolist() == [[False, True]]


def test_long_runs_are_several() -> None:
    mask = np.zeros((300, 400), bool)
    mask[20:280] = True
    assert np.array_equal(decode_brush(encode_brush(mask), mask.shape), mask)


@settings(deadline=None)
@given(data=st.data(), mask=masks)
def test_damage_is_one_kind_of_error(data, mask) -> None:
    packed = encode_brush(mask)
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert decode_brush(packed, mask.shape).shape == mask.shape
    except ValueError as error:
        assert "brush mask" in str(error)  # noqa: PT017 - either may come of it


@pytest.mark.parametrize("packed", [[], [0] * 3, [256], ["a"], [[1]], encode_brush(np.ones((2, 3), bool))[:-3]])
def test_what_is_none_is_refused(packed) -> None:
    with pytest.raises(ValueError, match="brush mask"):
        decode_brush(packed, (2, 3))
