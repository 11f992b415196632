"""What settings of `cells` are refused."""

import pytest

from upseg.methods.entity.extensions.cells.settings import CellSettings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"diameter": 0.0}, "diameter must be 'auto' or a positive number of pixels, got 0.0"),
        ({"canonical": 0.0}, "canonical and enlarged must be positive"),
        ({"overlap": 1024}, "overlap must be less than tile"),
        ({"prominence": 1.5}, "prominence must be between 0 and 1"),
        ({"passes": 0}, "passes must be at least 1"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong, message) -> None:
    with pytest.raises(ValueError, match=message):
        CellSettings(**wrong)
