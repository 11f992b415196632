from __future__ import annotations

import json

import pytest

from tests.formats.strategies import labels_of
from upseg.errors import FormatError
from upseg.formats.metadata import Facts, assemble, facts_from_text, facts_to_text, reading, size_of
from upseg.functional.label_maps import label_checksum
from upseg.segmentation import Category, Segmentation

CAT = Category(3, "cat")


def test_text_by_hand():
    segmentation = Segmentation.from_labels(
        labels_of("123"), scores={2: 0.5}, categories={1: CAT, 3: CAT}, parents={3: 1}, provenance={"seed": 1}
    )
    text = facts_to_text(segmentation)
    assert json.loads(text) == {
        "upseg": 1,
        "segments": 3,
        "checksum": label_checksum(segmentation.labels),
        "provenance": {"seed": 1},
        "scores": [None, 0.5, None],
        "parents": [None, None, 1],
        "categories": [{"id": 3, "name": "cat", "is_thing": True}],
        "category_numbers": [0, None, 0],
    }
    checksum = label_checksum(segmentation.labels)
    assert facts_from_text(text) == Facts(3, {2: 0.5}, {1: CAT, 3: CAT}, {3: 1}, {"seed": 1}, checksum=checksum)


def test_two_categories_may_share_an_id_where_the_format_allows():
    dog = Category(3, "dog", is_thing=False)
    segmentation = Segmentation.from_labels(labels_of("12"), categories={1: CAT, 2: dog})
    assert facts_from_text(facts_to_text(segmentation)).categories == {1: CAT, 2: dog}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upseg": 2}, "of version 2, this upseg reads up to 1"),
        ({"upseg": None}, "version must be an integer, got None"),
        ({"segments": True}, "number of segments must be an integer, got True"),
        ({"scores": [1.0]}, "scores must be a list of 2 entries"),
        ({"scores": ["high", None]}, "score of segment 1 must be a number, got 'high'"),
        ({"parents": [None, 1.5]}, "parent of segment 2 must be an integer, got 1.5"),
        ({"categories": [7], "category_numbers": [0, 0]}, "a category must be a JSON object, got 7"),
        ({"categories": [{"name": "x"}]}, "a category's id must be an integer"),
        ({"provenance": []}, r"the provenance must be a JSON object, got \[\]"),
    ],
)
def test_texts_that_are_not_ours(change, message):
    data = {"upseg": 1, "segments": 2, "provenance": {}} | change
    with pytest.raises(ValueError, match=message):
        facts_from_text(json.dumps(data))


@pytest.mark.parametrize(
    ("labels", "facts", "message"),
    [
        ("12", Facts(1), r"ids must be 0\.\.1"),
        ("1.", Facts(2), "list segment 2, which has no pixel"),
        ("1.", Facts(1, parents={1: 2}), r"parents must be ids 1\.\.1, got 2"),
        ("1.", Facts(parents={1: 2}), "parent must be a segment of the label map"),
    ],
)
def test_maps_and_facts_that_contradict_each_other(labels, facts, message):
    with pytest.raises(ValueError, match=message):
        assemble(labels_of(labels), facts)


def test_facts_of_other_programs_follow_their_segments():
    again = assemble(labels_of("95."), Facts(scores={5: 0.25}, categories={9: CAT}))
    assert [(s.score, s.category) for s in again] == [(None, CAT), (0.25, None)]


def test_sizes():
    assert size_of(2, 3) == (2, 3)
    for height, width in ((0, 3), (3, -1), (1 << 20, 1 << 20)):
        with pytest.raises(ValueError, match="at least 1 and at most"):
            size_of(height, width)


def test_one_error_that_names_the_file(tmp_path):
    def fail(error):
        with reading(tmp_path / "a.png", "a label PNG"):
            raise error

    with pytest.raises(FormatError, match=r"a\.png: cannot be read as a label PNG: some reason$"):
        fail(ValueError("some reason"))
    with pytest.raises(FormatError, match=r"cannot be read as a label PNG: EOFError$"):
        fail(EOFError())
    with pytest.raises(FormatError, match=r"^as it is$"):
        fail(FormatError("as it is"))
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
