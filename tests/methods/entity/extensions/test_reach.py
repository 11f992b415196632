"""Which entities are near each other, against the loop; `test_segment_space.py` has Eq. 7 among neighbours."""

import pytest
import torch

from tests.methods.entity.scenes import mixed_labels
from tests.reference import entity as loops
from upseg.methods.entity.extensions.reach import neighbour_table


def test_by_hand() -> None:
    labels = torch.zeros(1, 5, 12, dtype=torch.int64)
    labels[0, 0, 0:2], labels[0, 0:3, 4], labels[0, 4, 11], labels[0, 0, 2] = 1, 2, 3, -1
    # between 1 and 2 lie two columns, between 2 and 3 six columns and one row
    assert not neighbour_table(labels, 3, 1)[0, 1, 2]
    assert neighbour_table(labels, 3, 2)[0, 1, 2]
    assert not neighbour_table(labels, 3, 5)[0, 2, 3]
    assert neighbour_table(labels, 3, 6)[0, 2, 3]


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_against_the_loop(reach: int) -> None:
    generator = torch.Generator().manual_seed(reach)
    labels = torch.full((2, 20, 30), 0)
    for entity in range(1, 9):
        y, x = (int(torch.randint(0, n, (), generator=generator)) for n in (18, 27))
        labels[entity % 2, y : y + 2, x : x + 3] = entity
    table = neighbour_table(labels, 9, reach)
    for image in range(2):
        present = loops.entities_of(labels[image].numpy())
        for k in range(10):
            for other in range(10):
                always = k == other or 0 in (k, other)
                both = k in present and other in present
                near = both and loops.gap_between(labels[image].numpy(), k, other) <= reach
                assert bool(table[image, k, other]) == (always or near), (image, k, other)


def test_negative_reach() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        neighbour_table(mixed_labels(0), 5, -1)
