from __future__ import annotations

import numpy as np
import pytest

from upseg.formats import side_by_side


def filled(height, width, colour):
    return np.full((height, width, 3), colour, np.uint8)


def test_pictures_stand_in_a_row_at_one_height():
    row = side_by_side([filled(120, 100, (255, 0, 0)), filled(60, 80, (0, 0, 255))], ["one", "two"])
    red, blue = (np.all(row == colour, axis=-1) for colour in ((255, 0, 0), (0, 0, 255)))
    for mask, size in ((red, (120, 100)), (blue, (120, 160))):
        rows, columns = np.nonzero(mask)
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == size
        assert mask.sum() == size[0] * size[1]
    assert np.nonzero(red)[1].max() < np.nonzero(blue)[1].min()
    assert row.shape == (138, 266, 3) or row.shape[1] == 260 + 3 * 2


def test_captions_are_below_their_pictures():
    pictures = [filled(120, 100, 200), filled(120, 100, 200)]
    plain, captioned = side_by_side(pictures, ["", ""]), side_by_side(pictures, ["", "caption"])
    assert captioned.shape[0] > plain.shape[0]
    np.testing.assert_array_equal(captioned[: plain.shape[0]], plain)
    rows, columns = np.nonzero(captioned[plain.shape[0] :].min(axis=-1) < 128)
    assert len(rows) > 20
    assert columns.min() > 104


def test_a_long_caption_is_set_smaller():
    pictures = [filled(200, 100, 200), filled(200, 100, 200)]
    row = side_by_side(pictures, ["a very long caption for a picture", ""])
    dark = np.nonzero((row.min(axis=-1) < 128).any(axis=0))[0]
    assert dark.min() >= 2
    assert dark.max() <= 105


def test_wrong_arguments():
    with pytest.raises(ValueError, match="a caption for each, got 1 and 0"):
        side_by_side([filled(2, 2, 0)], [])
    with pytest.raises(ValueError, match="at least one picture"):
        side_by_side([], [])
