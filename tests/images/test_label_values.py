from __future__ import annotations

import numpy as np
import pytest

from upseg.images.label_maps import LabelValues, StoredLabels, parse_void

VALUES = np.array([[0, 3, 255, -2]])


@pytest.mark.parametrize(
    ("values", "has_palette", "expected"),
    [
        (LabelValues(), False, [0, 3, 255, -1]),
        (LabelValues(), True, [0, 3, -1, -1]),
        (LabelValues(are_classes=True), False, [0, 3, -1, -1]),
        (LabelValues(void=frozenset()), True, [0, 3, 255, -1]),
        (LabelValues(are_classes=True, void=frozenset({0, 3})), False, [-1, -1, 255, -1]),
    ],
)
def test_numbers_are_background_void_or_labelled(values: LabelValues, has_palette, expected: list[int]) -> None:
    assert values.meaning(StoredLabels(VALUES, has_palette)).tolist() == [expected]


@pytest.mark.parametrize("has_palette", [False, True])
@pytest.mark.parametrize("are_classes", [False, True])
def test_nothing_but_0_and_255_is_asked_about(are_classes, has_palette) -> None:
    stored = StoredLabels(np.array([[0, 255]], np.uint8), has_palette)
    with pytest.raises(ValueError, match=r"only value beside 0 is 255.*void=\"none\".*--void none"):
        LabelValues(are_classes).checked(stored)
    assert LabelValues(are_classes, frozenset()).checked(stored).tolist() == [[0, 255]]
    assert LabelValues(are_classes, frozenset({255})).checked(stored).tolist() == [[0, -1]]
    beside = StoredLabels(np.array([[1, 255]], np.uint8), has_palette)
    assert LabelValues(are_classes).checked(beside)[0, 0] == 1


def test_the_meaning_can_be_said_to_people() -> None:
    assert "255 and negative numbers void, every other number a class" in str(LabelValues(are_classes=True))
    assert "in palette files 255 too), every other number a segment" in str(LabelValues())
    assert "7 and negative numbers void, every" in str(LabelValues(void=frozenset({7})))


@pytest.mark.parametrize(
    ("text", "expected"), [(None, None), ("none", set()), (7, {7}), ("0, 255", {0, 255}), ((1, 2), {1, 2})]
)
def test_an_option_names_void(text, expected) -> None:
    assert parse_void(text) == expected


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="got '7;8'"):
        parse_void("7;8")
