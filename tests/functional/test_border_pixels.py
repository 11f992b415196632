import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from upseg.functional.label_maps import border_pixels, neighbour_pairs


@given(arrays(np.int32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(-1, 3)))
def test_a_border_pixel_has_another_value_beside_it(labels: np.ndarray) -> None:
    found = border_pixels(labels)
    for row, column in np.ndindex(labels.shape):
        beside = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        inside = [labels[r, c] for r, c in beside if 0 <= r < labels.shape[0] and 0 <= c < labels.shape[1]]
        assert found[row, column] == any(value != labels[row, column] for value in inside)


def test_neighbours_share_an_edge_or_are_so_far_apart() -> None:
    labels = np.array([[1, 2, 0], [3, 2, 4]], np.int32)
    assert neighbour_pairs(labels).tolist() == [[1, 2], [1, 3], [2, 3], [2, 4]]
    assert neighbour_pairs(labels, {2}).tolist() == [[3, 4]]
