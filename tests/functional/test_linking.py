import numpy as np
import pytest

from upseg.functional.linking import PlaneLinker, tracks_text


def bar(*stretches: tuple[int, int, int], length: int = 20) -> np.ndarray:
    labels = np.zeros((1, length), np.int32)
    for number, start, stop in stretches:
        labels[0, start:stop] = number
    return labels


def test_segments_keep_the_id_of_what_they_overlap_whatever_number_they_have() -> None:
    linker = PlaneLinker(0.3)
    first = linker.add(bar((1, 0, 6), (2, 10, 16)))
    second = linker.add(bar((2, 1, 7), (1, 11, 17)))
    assert np.array_equal(first, bar((1, 0, 6), (2, 10, 16)))
    assert np.array_equal(second, bar((1, 1, 7), (2, 11, 17)))
    assert linker.spans == {1: (0, 1), 2: (0, 1)}


def test_the_larger_overlap_has_the_object_and_the_other_segment_begins_anew() -> None:
    linker = PlaneLinker(0.2)
    linker.add(bar((1, 0, 10)))
    assert np.array_equal(linker.add(bar((1, 0, 3), (2, 3, 10))), bar((2, 0, 3), (1, 3, 10)))


@pytest.mark.parametrize(("least", "identity"), [(0.5, 1), (0.51, 2)])  # 6 of 12 pixels are shared
def test_pairs_below_the_least_iou_are_not_joined(least: float, identity: int) -> None:
    linker = PlaneLinker(least)
    linker.add(bar((1, 0, 9)))
    assert linker.add(bar((1, 3, 12)))[0, 5] == identity


def test_what_a_plane_lacks_has_ended() -> None:
    linker = PlaneLinker(0.5)
    for plane in (bar((1, 0, 5)), bar((1, 10, 15)), bar((1, 0, 5))):
        linker.add(plane)
    assert linker.spans == {1: (0, 0), 2: (1, 1), 3: (2, 2)}
    assert tracks_text(linker.spans) == "1 0 0 0\n2 1 1 0\n3 2 2 0\n"
    assert np.array_equal(linker.add(bar()), bar())


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        PlaneLinker(0.0)
    linker = PlaneLinker(0.5)
    linker.add(bar())
    with pytest.raises(ValueError, match="one size"):
        linker.add(bar(length=9))
