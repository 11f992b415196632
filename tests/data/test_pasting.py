"""Objects pasted beside others of their class: where, what of the image changes, and that the seed decides."""

from __future__ import annotations

import numpy as np
import pytest

from upseg.data.pasting import PastedObjects, Pasting, paste_objects
from upseg.data.sample import Sample
from upseg.data.transforms import SampleTransform
from upseg.segmentation import Category

CAT, SKY = Category(5, "cat"), Category(2, "sky", False)
EXACT = {"scale": (1.0, 1.0), "turn": 0.0, "gain": (1.0, 1.0), "least": 1}


def scene() -> Sample:
    """A bright cat's disc in the middle, sky above, nothing below."""
    rows, columns = np.mgrid[:60, :80]
    labels = np.where((rows - 30) ** 2 + (columns - 40) ** 2 < 64, 1, np.where(rows < 8, 2, 0))
    image = np.where(labels[..., None] == 1, 0.9, 0.1).astype(np.float32).repeat(3, 2)
    return Sample.from_labels(image, labels, categories={1: CAT, 2: SKY}, name="scene")


def pasted(count: int = 1, **changed: object) -> Sample:
    """The first of many seeds that pastes anything."""
    tried = (
        paste_objects(scene(), Pasting(count=count, **{**EXACT, **changed}), np.random.default_rng(n))
        for n in range(40)
    )
    return next(sample for sample in tried if len(sample.segments) > 2)


def test_the_copy_is_a_segment_of_its_class_that_touches_the_other() -> None:
    sample = pasted(overlap=0.3)
    cats = [s for s in sample.segments if s.category == CAT]
    assert len(cats) == 2
    assert [s.category for s in sample.segments].count(SKY) == 1  # stuff is never pasted
    one, other = (sample.segment_map == s.id for s in cats)
    grown = one | np.roll(one, 1, 0) | np.roll(one, -1, 0) | np.roll(one, 1, 1) | np.roll(one, -1, 1)
    assert (grown & other).any()
    area = (scene().segment_map == scene().segments[1].id).sum()
    assert (one | other).sum() >= 1.6 * area  # at most .3 of it upon the other, and the soft edge


def test_colours_go_where_the_segment_goes_and_nothing_given_is_changed() -> None:
    before, sample = scene(), pasted(overlap=0.3)
    cats = [s.id for s in sample.segments if s.category == CAT]
    fresh = np.isin(sample.segment_map, cats) & (before.segment_map != before.segments[1].id)
    assert sample.image[fresh].mean() > 0.7
    assert np.array_equal(sample.image[:8, :8], before.image[:8, :8])
    given = scene()
    for seed in range(5):
        paste_objects(given, Pasting(**EXACT), np.random.default_rng(seed))
    assert np.array_equal(given.image, before.image)
    assert np.array_equal(given.segment_map, before.segment_map)


def test_what_is_not_convex_or_not_whole_or_too_large_stays() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :40]
    cross = ((abs(rows - 20) < 3) | (abs(columns - 20) < 3)) & (abs(rows - 20) < 15) & (abs(columns - 20) < 15)
    image = np.zeros((40, 40, 3), np.float32)
    sample = Sample.from_labels(image, cross.astype(int), categories={1: CAT})
    settings = {**EXACT, "count": 5, "overlap": 1.0}
    assert all(len(paste_objects(sample, Pasting(solidity=0.9, **settings), rng).segments) == 1 for _ in range(5))
    assert any(len(paste_objects(sample, Pasting(solidity=0.2, **settings), rng).segments) > 1 for _ in range(5))
    assert all(len(paste_objects(sample, Pasting(largest=0.01, **settings), rng).segments) == 1 for _ in range(5))
    edge = Sample.from_labels(image, (rows < 10).astype(int), categories={1: CAT})
    assert all(len(paste_objects(edge, Pasting(**settings), rng).segments) == 1 for _ in range(5))


def test_nameless_objects_are_pasted_too() -> None:
    rows, columns = np.mgrid[:40, :40]
    disc = ((rows - 20) ** 2 + (columns - 20) ** 2 < 30).astype(int)
    sample = Sample.from_labels(np.zeros((40, 40, 3), np.float32), disc)
    many = [paste_objects(sample, Pasting(count=3, **EXACT), np.random.default_rng(n)) for n in range(5)]
    assert any(len(found.segments) > 1 for found in many)
    assert all(segment.category is None for found in many for segment in found.segments)


def test_the_seed_decides_all() -> None:
    transform = PastedObjects(SampleTransform([]), Pasting(least=1))
    found, again = ([transform(scene(), seed) for seed in range(8)] for _ in range(2))
    for one, other in zip(found, again, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.segment_map, other.segment_map)
    assert len({sample.image.tobytes() for sample in found}) > 2


@pytest.mark.parametrize(
    "wrong",
    [{"count": -1}, {"least": 0}, {"largest": 1.5}, {"overlap": -0.1}, {"scale": (2.0, 1.0)}, {"gain": (0.0, 1.0)}],
)
def test_ranges(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Pasting(**wrong)
