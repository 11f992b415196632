from __future__ import annotations

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.samples import Numbered
from upseg.data.mixing import Draw, MixedSamples, MixtureSampler, WeightedDataset, apportion
from upseg.data.shapes import ShapeScenes
from upseg.data.transforms import Augmentation, SampleTransform
from upseg.errors import DataError


def mixture(weights=(2.0, 1.0), sizes=(7, 5), length: int | None = 9) -> MixedSamples:
    sets = [Numbered(name, size) for name, size in zip("ab", sizes, strict=True)]
    return MixedSamples([WeightedDataset(*pair) for pair in zip(sets, weights, strict=True)], None, length)


def draws(samples: MixedSamples, epoch: int, **options) -> list[Draw]:
    sampler = MixtureSampler(samples, **options)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


def test_shares_follow_the_weights():
    assert apportion([2.0, 1.0], 9) == [6, 3]
    assert apportion([1.0, 1.0, 1.0], 8) == [3, 3, 2]
    assert apportion([0.7, 0.2, 0.1], 5) == [4, 1, 0]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.integers(0, 200))
def test_shares_add_up_and_are_within_one_of_the_exact_ones(weights, total):
    shares = apportion(weights, total)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - total * weight / sum(weights)) < 1 + 1e-6


def test_an_epoch_draws_from_each_data_set_its_share_in_mixed_order():
    samples = mixture((2.0, 1.0), (70, 50), 90)
    found = draws(samples, 0)
    assert collections.Counter(draw.source for draw in found) == {0: 60, 1: 30}
    first = [draw.source for draw in found[:30]]
    assert 10 < first.count(0) < 29
    assert len({draw.seed for draw in found}) == 90


def test_every_sample_is_drawn_before_any_is_drawn_again():
    samples = mixture((2.0, 1.0), (7, 5), 9)
    stream = collections.defaultdict(list)
    for epoch in range(14):
        for draw in draws(samples, epoch):
            stream[draw.source].append(draw.item)
    for source, (size, quota) in enumerate(((7, 6), (5, 3))):
        counts = collections.Counter(stream[source])
        assert set(counts) == set(range(size))
        assert max(counts.values()) - min(counts.values()) <= 1
        assert sum(counts.values()) == 14 * quota


def test_draws_depend_on_seed_and_epoch_alone():
    samples = mixture()
    assert draws(samples, 3) == draws(mixture(), 3)
    assert draws(samples, 3) != draws(samples, 4)
    assert draws(samples, 3) != draws(samples, 3, seed=1)
    seeds = [draw.seed for epoch in range(4) for draw in draws(samples, epoch)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_draws_of_one(processes):
    samples = mixture((2.0, 1.0), (70, 50), 90)
    alone = draws(samples, 2)
    parts = [draws(samples, 2, processes=processes, rank=rank) for rank in range(processes)]
    assert len({len(part) for part in parts}) == 1
    together = [draw for group in zip(*parts, strict=True) for draw in group]
    assert together[:90] == alone
    assert together[90:] == alone[: len(together) - 90]


def test_a_draw_reads_its_sample_and_transforms_it_with_its_seed():
    plain = mixture()
    assert plain[Draw(1, 3, 0)].name == "b3"
    augment = Augmentation((8, 8))
    augmented = MixedSamples(plain.sources, augment, 9)
    found = augmented[Draw(0, 2, 77)]
    np.testing.assert_array_equal(found.image, augment(plain[Draw(0, 2, 0)], 77).image)


def test_an_epoch_has_as_many_draws_as_there_are_samples_unless_told():
    assert len(mixture(length=None)) == 12
    assert len(mixture(length=9)) == 9


def test_the_recipe_of_three_and_shapes():
    sources = [
        WeightedDataset(Numbered(name, 9), weight) for name, weight in (("coco", 6.0), ("ade", 2.0), ("cihp", 1.0))
    ]
    samples = MixedSamples([*sources, WeightedDataset(ShapeScenes(4, (12, 16)), 1.0)], SampleTransform([]), 20)
    names = collections.Counter(samples[draw].name.rstrip("0123456789-") for draw in draws(samples, 0))
    assert names == {"coco": 12, "ade": 4, "cihp": 2, "shapes": 2}


def test_damaged_samples_raise_or_are_replaced_by_the_next():
    strict = MixedSamples([WeightedDataset(Numbered("a", 4, damaged=[1, 2]))])
    with pytest.raises(DataError, match="a1 is damaged"):
        strict[Draw(0, 1, 0)]
    lenient = MixedSamples([WeightedDataset(Numbered("a", 4, [1, 2], "skip"))])
    with pytest.warns(UserWarning, match="a[12] is damaged"):
        assert lenient[Draw(0, 1, 0)].name == "a3"
    hopeless = MixedSamples([WeightedDataset(Numbered("a", 2, [0, 1], "skip"))])
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(DataError, match="all 2 samples of Numbered"):
        hopeless[Draw(0, 1, 0)]


def test_mixtures_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least one data set"):
        MixedSamples([])
    with pytest.raises(ValueError, match=r"\[9, 0\] draws"):
        mixture((1000.0, 1.0), length=9)
    with pytest.raises(ValueError, match="must be positive"):
        WeightedDataset(Numbered("a", 1), 0.0)
    with pytest.raises(DataError, match="Numbered has none"):
        WeightedDataset(Numbered("a", 0))


def test_without_weights_data_sets_share_by_size_and_what_is_seen_often_is_told_of() -> None:
    sources = [WeightedDataset(Numbered("large", 30)), WeightedDataset(Numbered("small", 2))]
    assert MixedSamples(sources, None, 64).quotas == [60, 4]
    assert MixedSamples(sources).repeated() == []
    halves = [WeightedDataset(source.dataset, 1.0) for source in sources]
    assert MixedSamples(halves, None, 40).repeated() == []  # ten times, and no more
    assert MixedSamples(halves, None, 42).repeated() == ["Numbered: each of its 2 samples is seen 10 times in an epoch"]
