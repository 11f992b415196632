"""Grouping: the same as pixel by pixel; votes, suppression, majority, what is dropped, and maps that are not there."""

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.methods.panoptic.maps import ENCODINGS, GRID, random_numbers
from tests.reference import panoptic_decoding as reference
from upseg.data.shapes import CATEGORIES, draw_scene
from upseg.methods.panoptic import grouping
from upseg.methods.panoptic.encodings import make_encoding
from upseg.methods.panoptic.extensions import resampling
from upseg.methods.panoptic.grouping import PanopticGrouping, group_panoptic, suppress_centres
from upseg.methods.panoptic.settings import PanopticSettings
from upseg.methods.panoptic.targets import PanopticTargets
from upseg.metrics.panoptic_quality import PanopticQuality

NOTHING_DROPPED: dict[str, Any] = {
    "suppression_radius": 0.0,
    "minimum_votes": 0.0,
    "minimum_thing_area": 0.0,
    "minimum_stuff_area": 0.0,
}
PLAIN = PanopticSettings(grid=(20, 20), **NOTHING_DROPPED)
GRASS, CAT, DOG, SKY = range(4)
IS_THING = np.array([False, True, True, False])


def maps_of(
    things: np.ndarray, classes: np.ndarray, centres: dict[int, tuple[float, float]], config: PanopticSettings = PLAIN
) -> tuple[Tensor, Tensor]:
    """What a network without mistakes says: (C, h, w) and (4, h, w); `centres` in cells of the grid."""
    table = np.zeros((2, max(centres, default=0) + 1))
    for number, place in centres.items():
        table[:, number] = [(2 * p + 1) / g - 1 for p, g in zip(place, config.grid, strict=True)]
    where, inside = torch.from_numpy(table[:, things]).float(), torch.from_numpy(things > 0)
    instance = make_encoding(config).targets(where[None], inside[None])[0]
    return instance, 9 * torch.eye(4)[:, torch.from_numpy(classes)]


def scene() -> tuple[np.ndarray, np.ndarray, dict[int, tuple[float, float]]]:
    """12 x 16: two cats that touch, a dog of four pixels, grass and sky, and a cat-coloured patch of no thing."""
    things = np.zeros((12, 16), int)
    things[2:8, 1:5], things[2:8, 5:9], things[9:11, 12:14] = 1, 2, 3
    classes = np.full((12, 16), GRASS)
    classes[0] = SKY
    classes[things > 0] = np.array([0, CAT, CAT, DOG])[things[things > 0]]
    classes[0, 14:] = CAT
    return things, classes, {1: (8, 4), 2: (8, 9), 3: (16, 16)}


def grouped(changes: dict[str, Any] | None = None, maps: tuple[Tensor, Tensor] | None = None) -> PanopticGrouping:
    return group_panoptic(*(maps or maps_of(*scene())), IS_THING, replace(PLAIN, **(changes or {})), (12, 16))


class TestAgainstTheLoops:
    @pytest.mark.parametrize("name", ENCODINGS)
    @settings(max_examples=6, deadline=None)
    @given(
        seed=st.integers(0, 2**32),
        size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
        radius=st.sampled_from([0.0, 1.0, 1.5]),
        shares=st.tuples(*[st.sampled_from([0.0, 0.03, 0.1])] * 3),
        score=st.sampled_from([0.0, 0.05]),
    )
    def test_noise(
        self, name: str, seed: int, size: tuple[int, int], radius: float, shares: tuple[float, ...], score: float
    ) -> None:
        encoding, loop = ENCODINGS[name]
        generator = torch.Generator().manual_seed(seed)
        instance = torch.randn(encoding.channels, 4, 5, generator=generator)
        semantic = torch.randn(4, 4, 5, generator=generator)
        rules = reference.Rules(radius, *shares, minimum_score=score)
        config = PanopticSettings(encoding=name, frequencies=3, grid=GRID, **vars(rules))  # type: ignore[arg-type]
        extent = (3.7, 4.9)
        expected = reference.group(
            loop, (instance.double().numpy(), semantic.double().numpy()), IS_THING.tolist(), size, extent, rules
        )
        assume(expected.margin > 1e-5)
        found = group_panoptic(instance, semantic, IS_THING, config, size, extent)
        assert found.labels.tolist() == expected.labels.tolist()
        assert found.classes == expected.classes
        assert found.scores == pytest.approx(expected.scores, abs=1e-4)


class TestScene:
    def test_things_with_most_votes_first_then_stuff(self) -> None:
        things, classes, _ = scene()
        found = grouped()
        expected = np.select([things > 0, classes == GRASS, classes == SKY], [things, 4, 5], 0)
        np.testing.assert_array_equal(found.labels, expected)
        assert found.classes == {1: CAT, 2: CAT, 3: DOG, 4: GRASS, 5: SKY}
        assert (found.labels[0, 14:] == 0).all()  # said to be cat, but of no thing
        assert found.labels.dtype == np.int32

    def test_scores(self) -> None:
        """exp(-squared distance) for things, the probability of the class for stuff."""
        instance, semantic = maps_of(*scene())
        instance[:, 2:8, 1:3] += 0.25  # half of the first cat
        found = grouped(maps=(instance, semantic))
        doubtful = np.exp(-16 * 0.25**2)
        sure = 1 / (1 + 3 * np.exp(-9))
        assert found.scores == pytest.approx({1: (1 + doubtful) / 2, 2: 1, 3: 1, 4: sure, 5: sure}, abs=1e-4)

    def test_doubtful_things_are_dropped(self) -> None:
        instance, semantic = maps_of(*scene())
        instance[:, 2:8, 1:5] += 0.25
        kept = grouped({"minimum_score": 0.36}, (instance, semantic))
        assert [kept.classes[k] for k in sorted(kept.classes)] == [CAT, CAT, DOG, GRASS, SKY]
        dropped = grouped({"minimum_score": 0.38}, (instance, semantic))
        assert [dropped.classes[k] for k in sorted(dropped.classes)] == [CAT, DOG, GRASS, SKY]
        assert (dropped.labels[2:8, 1:5] == 0).all()

    def test_small_things_are_dropped_and_their_pixels_become_what_they_are(self) -> None:
        instance, semantic = maps_of(*scene())
        semantic[:, 9, 12:14] = 9 * torch.eye(4)[:, [GRASS, SKY]]  # two of the dog's pixels
        kept = grouped({"minimum_thing_area": 4 / 192}, (instance, semantic))
        assert (kept.labels[9:11, 12:14] == 3).all()
        dropped = grouped({"minimum_thing_area": 5 / 192}, (instance, semantic))
        assert dropped.classes == {1: CAT, 2: CAT, 3: GRASS, 4: SKY}
        assert dropped.labels[9:11, 12:14].tolist() == [[3, 4], [0, 0]]

    def test_stuff_that_covers_too_little_is_void(self) -> None:
        found = grouped({"minimum_stuff_area": 15 / 192})
        assert found.classes == {1: CAT, 2: CAT, 3: DOG, 4: GRASS}
        assert (found.labels[0] == 0).all()
        assert grouped({"minimum_stuff_area": 14 / 192}).classes[5] == SKY

    def test_the_majority_is_among_the_classes_of_things(self) -> None:
        instance, semantic = maps_of(*scene())
        semantic[:, 2:6, 1:5] = 9 * torch.eye(4)[:, GRASS, None, None]  # 16 of 24 pixels
        semantic[:, 6, 1:5] = 9 * torch.eye(4)[:, DOG, None]
        semantic[:, 7, 2:5] = 9 * torch.eye(4)[:, DOG, None]
        found = grouped(maps=(instance, semantic))
        assert found.classes[1] == DOG
        assert (found.labels[2:8, 1:5] == 1).all()

    def test_a_thing_without_any_pixel_of_a_things_class_is_given_up(self) -> None:
        instance, semantic = maps_of(*scene())
        semantic[:, 2:8, 1:5] = 9 * torch.eye(4)[:, SKY, None, None]
        found = grouped(maps=(instance, semantic))
        assert found.classes == {1: CAT, 2: DOG, 3: GRASS, 4: SKY}
        assert (found.labels[2:8, 1:5] == 4).all()

    def test_votes_of_few_are_no_centre(self) -> None:
        """The dog's pixels then go to whatever is nearest, a cat or void."""
        kept, dropped = (grouped({"minimum_votes": share / 192}) for share in (4, 5))
        assert kept.classes[3] == DOG
        assert DOG not in dropped.classes.values() or (dropped.labels[9:11, 12:14] == 0).all()
        assert len(dropped.classes) == 4

    def test_a_radius_makes_one_of_two(self) -> None:
        apart, together = (grouped({"suppression_radius": radius}) for radius in (4.9, 5.0))
        assert [*apart.classes.values()].count(CAT) == 2
        assert [*together.classes.values()].count(CAT) == 1

    def test_the_second_of_two_close_centres_gives_its_pixels_to_the_first(self) -> None:
        things, classes, centres = scene()
        maps = maps_of(things, classes, {**centres, 2: (8, 5)})
        found = grouped({"suppression_radius": 1.0}, maps)
        assert (found.labels[2:8, 1:9] == 1).all()
        assert len(np.unique(grouped(maps=maps).labels[2:8, 1:9])) == 2

    def test_nothing_but_void(self) -> None:
        instance, semantic = maps_of(np.zeros((3, 4), int), np.full((3, 4), CAT), {})
        found = group_panoptic(instance, semantic, IS_THING, PLAIN, (6, 8))
        assert not found.labels.any()
        assert found.scores == found.classes == {}


class TestTruth:
    @pytest.mark.parametrize("size", [(300, 400), (257, 311)])
    def test_targets_come_back_as_the_segments_that_they_were_made_from(self, size: tuple[int, int]) -> None:
        """With the default settings, from maps of 8/14 of the scene's size."""
        config, quality = PanopticSettings(), PanopticQuality(CATEGORIES)
        targets_of = PanopticTargets(CATEGORIES, grid=config.grid)
        is_thing = np.array([category.is_thing for category in CATEGORIES])
        for seed in range(2):
            scene = draw_scene((0, seed), size, 0.5)
            targets = targets_of(scene)
            instance = make_encoding(config).targets(targets["centre"][None], targets["inside"][None])[0]
            semantic = 9 * F.one_hot(targets["semantic"], len(CATEGORIES)).permute(2, 0, 1).float()
            extent = size[0] * 8 / 14, size[1] * 8 / 14
            found = group_panoptic(instance, semantic, is_thing, config, size, extent)
            truth = {segment: category.id for segment, category in scene.categories.items()}
            named = {segment: CATEGORIES[number].id for segment, number in found.classes.items()}
            quality.update(scene.segment_map, truth, found.labels, named, scene.crowds)
        assert quality.compute()["rq"] > 0.98
        assert quality.compute()["pq"] > 0.9


class TestMaps:
    def test_without_classes_things_have_none(self) -> None:
        found = group_panoptic(maps_of(*scene())[0], None, np.zeros(0, bool), PLAIN, (12, 16))
        np.testing.assert_array_equal(found.labels, scene()[0])
        assert found.scores == {1: 1, 2: 1, 3: 1}
        assert found.classes == {}

    def test_without_instances_every_class_is_one_segment(self) -> None:
        _, classes, _ = scene()
        found = group_panoptic(None, maps_of(*scene())[1], IS_THING, PLAIN, (12, 16))
        np.testing.assert_array_equal(found.labels, classes + 1)
        assert found.classes == {1: GRASS, 2: CAT, 3: DOG, 4: SKY}

    @pytest.mark.parametrize("size", [(37, 50), (5, 3), (1, 1)])
    def test_any_size_in_any_number_of_bands_and_blocks(
        self, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        maps = maps_of(*scene())
        whole = group_panoptic(*maps, IS_THING, PLAIN, size, (11.5, 15.2))
        assert whole.labels.shape == size
        assert set(np.unique(whole.labels)) - {0} == whole.classes.keys() == whole.scores.keys()
        monkeypatch.setattr(resampling, "BAND_PIXELS", 60)
        monkeypatch.setattr(resampling, "BLOCK_VALUES", 200)
        monkeypatch.setattr(grouping, "CACHED_VALUES", 500)
        pieces = group_panoptic(*maps, IS_THING, PLAIN, size, (11.5, 15.2))
        np.testing.assert_array_equal(pieces.labels, whole.labels)
        assert pieces.classes == whole.classes
        assert pieces.scores == pytest.approx(whole.scores, abs=1e-4)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_other_types_and_layouts(self, dtype: torch.dtype) -> None:
        maps = [values.to(dtype) for values in maps_of(*scene())]
        last = [values[None].contiguous(memory_format=torch.channels_last)[0] for values in maps]
        for instance, semantic in (maps, last):
            found = group_panoptic(instance, semantic, IS_THING, PLAIN, (12, 16))
            np.testing.assert_array_equal(found.labels, grouped().labels)

    def test_the_maps_are_left_as_they_are(self) -> None:
        maps = maps_of(*scene())
        before = [values.clone() for values in maps]
        group_panoptic(*maps, IS_THING, PLAIN, (24, 30))
        assert all(torch.equal(*pair) for pair in zip(maps, before, strict=True))

    def test_the_same_maps_give_the_same_bits(self) -> None:
        instance, semantic = random_numbers(0, 16, 30, 40).float(), random_numbers(1, 4, 30, 40).float()
        first, second = (group_panoptic(instance, semantic, IS_THING, PLAIN, (60, 70)) for _ in range(2))
        np.testing.assert_array_equal(first.labels, second.labels)
        assert first.scores == second.scores

    def test_maps_that_do_not_fit_are_refused(self) -> None:
        instance, semantic = maps_of(*scene())
        with pytest.raises(ValueError, match=r"got \(16, 12, 16\) and \(4, 11, 16\)"):  # past the checks of the tests
            inspect.unwrap(group_panoptic)(instance, semantic[:, 1:], IS_THING, PLAIN, (12, 16))
        with pytest.raises(ValueError, match="a semantic map or both, of one height and width, got none"):
            group_panoptic(None, None, IS_THING, PLAIN, (12, 16))
        with pytest.raises(ValueError, match="each of the 4 classes, got 3"):
            inspect.unwrap(group_panoptic)(instance, semantic, IS_THING[1:], PLAIN, (12, 16))

    @pytest.mark.parametrize("spoilt", [0, 1])
    def test_numbers_that_are_none_are_refused(self, spoilt: int) -> None:
        maps = maps_of(*scene())
        maps[spoilt][0, 3, 3] = float("nan")
        with pytest.raises(ValueError, match=r"must be finite.*check the network's weights"):
            group_panoptic(*maps, IS_THING, PLAIN, (12, 16))


class TestSuppression:
    def test_by_hand(self) -> None:
        votes = np.array([[0, 5, 4, 0], [9, 0, 0, 4], [0, 0, 1, 0]])
        every = [[1, 0], [0, 1], [0, 2], [1, 3], [2, 2]]
        assert suppress_centres(votes).tolist() == every
        assert suppress_centres(votes, 1.0).tolist() == [[1, 0], [0, 1], [1, 3], [2, 2]]
        assert suppress_centres(votes, 1.5).tolist() == [[1, 0], [0, 2], [2, 2]]
        assert suppress_centres(votes, 100.0).tolist() == [[1, 0]]
        assert suppress_centres(votes, 0.0, 4.5).tolist() == [[1, 0], [0, 1]]
        assert suppress_centres(votes, 0.0, 10.0).shape == (0, 2)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.7]), st.integers(0, 4))
    def test_as_the_loop(self, seed: int, radius: float, minimum: int) -> None:
        votes = np.random.default_rng(seed).integers(0, 7, (6, 7))
        table = {cell: int(votes[cell]) for cell in np.ndindex(votes.shape) if votes[cell]}
        expected = reference.surviving_centres(table, radius, minimum)
        assert [tuple(cell) for cell in suppress_centres(votes, radius, float(minimum)).tolist()] == expected
