"""The paper's label map, and its connected parts."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.dynaseg_grouping import connected_parts, numbered_by_first_pixel
from upseg.methods.dynaseg.grouping import group_labels


class TestLabels:
    @settings(max_examples=30, deadline=None)
    @given(height=st.integers(1, 8), width=st.integers(1, 8), clusters=st.integers(1, 4), seed=st.integers(0, 999))
    def test_against_loops(self, height: int, width: int, clusters: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        response = generator.integers(0, 3, (clusters, height, width))  # with ties
        best = np.array(
            [[max(range(clusters), key=lambda j: (response[j, r, c], -j)) for c in range(width)] for r in range(height)]
        )
        given_response = torch.from_numpy(response).float()[None]
        np.testing.assert_array_equal(group_labels(given_response, connected=True), connected_parts(best))
        np.testing.assert_array_equal(group_labels(given_response, connected=False), numbered_by_first_pixel(best))

    def test_parts_that_do_not_touch(self) -> None:
        label = np.array([[2, 0, 2], [0, 0, 2], [2, 1, 0]])
        response = torch.from_numpy(np.stack([label == j for j in range(3)])).float()[None]
        assert group_labels(response, connected=False).tolist() == [[1, 2, 1], [2, 2, 1], [1, 3, 2]]
        assert group_labels(response, connected=True).tolist() == [[1, 2, 3], [2, 2, 3], [4, 5, 6]]
