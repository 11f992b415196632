"""Instances of things and one segment for each other class, with scores that can be worked out by hand."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from upseg.methods.baiseg.grouping import Grouping, group_instances
from upseg.methods.baiseg.settings import BaisegSettings

GRASS, CAT, DOG, SKY = range(4)
IS_THING = np.array([False, True, True, False])


DRAWN = {"boundary_threshold": 0.3, "dilations": 2, "marker_ratio": 0.6}
"""Settings for boundaries as they are drawn here, wide and never certain."""


def drawn_classes() -> np.ndarray:
    """48 x 80: a block of two cats that touch at column 28, a dog, grass, and sky above and below."""
    classes = np.full((48, 80), GRASS)
    classes[:4], classes[-4:] = SKY, SKY
    classes[12:32, 10:46] = CAT
    classes[14:34, 54:72] = DOG
    return classes


def drawn_boundary() -> Tensor:
    """Weak everywhere, strong on both sides of where the cats touch."""
    boundary = torch.full((48, 80), 0.125)
    boundary[12:32, 27:29] = 0.875
    return boundary


def probabilities(classes: np.ndarray, sure: float = 1.0) -> Tensor:
    """`sure` for the class that is so; the other classes share the rest."""
    others = (1 - sure) / (len(IS_THING) - 1)
    return others + (sure - others) * torch.eye(len(IS_THING))[torch.from_numpy(classes)].permute(2, 0, 1)


def grouped(
    boundary: Tensor | None = None,
    semantic: Tensor | None = None,
    classes: np.ndarray | None = None,
    is_thing: np.ndarray = IS_THING,
    **changes: Any,
) -> Grouping:
    boundary = drawn_boundary() if boundary is None else boundary
    if semantic is None and classes is None:
        semantic = probabilities(drawn_classes())
    return group_instances(boundary, semantic, classes, is_thing, BaisegSettings(**{**DRAWN, **changes}))


def assert_consistent(found: Grouping) -> None:
    assert found.labels.dtype == np.int32
    ids = [*range(1, int(found.labels.max()) + 1)]
    assert np.unique(found.labels[found.labels > 0]).tolist() == ids == [*found.classes] == [*found.scores]


class TestWhatIsFound:
    def test_instances_first_then_the_other_classes(self) -> None:
        found = grouped()
        assert_consistent(found)
        assert [found.classes[k] for k in (4, 5)] == [GRASS, SKY]
        assert sorted(found.classes[k] for k in (1, 2, 3)) == [CAT, CAT, DOG]
        left, right, dog = (int(found.labels[24, column]) for column in (15, 40, 60))
        expected = np.array([4, 0, dog, 5])[drawn_classes()]
        expected[12:32, 10:28], expected[12:32, 28:46] = left, right
        middle = np.s_[12:32, 26:30]  # the cut may lie a pixel aside
        assert np.isin(found.labels[middle], (left, right)).all()
        expected[middle] = found.labels[middle]
        np.testing.assert_array_equal(found.labels, expected)

    def test_a_class_of_no_things_is_one_segment_though_it_is_in_pieces(self) -> None:
        labels = grouped().labels
        assert labels[0, 0] == labels[-1, -1] == 5

    def test_without_a_boundary_things_of_a_class_that_touch_are_one(self) -> None:
        found = grouped(torch.zeros(48, 80))
        assert sorted(found.classes.values()) == [GRASS, CAT, DOG, SKY]

    def test_a_given_map_leads_to_the_same_segments(self) -> None:
        own, given = grouped(), grouped(classes=drawn_classes())
        np.testing.assert_array_equal(own.labels, given.labels)
        assert own.classes == given.classes

    def test_what_has_no_class_is_void(self) -> None:
        classes = drawn_classes()
        classes[12:32, 10:46], classes[40:44] = -1, -1
        found = grouped(classes=classes)
        assert_consistent(found)
        assert sorted(found.classes.values()) == [GRASS, DOG, SKY]
        np.testing.assert_array_equal(found.labels == 0, classes == -1)

    def test_the_background_is_no_segment(self) -> None:
        with_background = grouped(background=True)
        assert GRASS not in with_background.classes.values()
        np.testing.assert_array_equal(with_background.labels == 0, drawn_classes() == GRASS)
        np.testing.assert_array_equal(with_background.labels == 4, drawn_classes() == SKY)

    @pytest.mark.parametrize("classes", [np.full((9, 11), -1), np.full((9, 11), SKY), np.full((1, 1), CAT)])
    def test_little_to_see(self, classes: np.ndarray) -> None:
        found = grouped(torch.zeros(classes.shape), classes=classes, minimum_area=0)
        assert_consistent(found)
        np.testing.assert_array_equal(found.labels, (classes >= 0).astype(np.int32))
        assert [*found.classes.values()] == np.unique(classes[classes >= 0]).tolist()

    def test_the_image_s_gradient_can_be_what_is_flooded(self) -> None:
        image = np.zeros((48, 80, 3), np.float32)
        image[:, 25:] = 1  # the cats' colours change three pixels away from the boundary
        settings = BaisegSettings(flood="image", boundary_threshold=0.3, dilations=2, marker_ratio=0.6)
        found = group_instances(drawn_boundary(), None, drawn_classes(), IS_THING, settings, image)
        row = found.labels[22]
        assert (row[10:24] == row[15]).all()
        assert (row[26:46] == row[40]).all()
        assert row[15] != row[40]


class TestScores:
    def test_by_hand(self) -> None:
        """One cat with boundary 1/8 everywhere, below the threshold, of class cat with probability 3/4."""
        classes = np.full((20, 30), CAT)
        classes[:, 20:] = SKY
        found = grouped(torch.full((20, 30), 0.125), probabilities(classes, sure=0.75))
        assert found.classes == {1: CAT, 2: SKY}
        assert found.scores == pytest.approx({1: 0.875 * 0.75, 2: 0.75}, abs=1e-6)

    def test_given_classes_are_sure(self) -> None:
        classes = np.full((20, 30), CAT)
        classes[:, 20:] = SKY
        found = grouped(torch.full((20, 30), 0.125), classes=classes)
        assert found.scores == {1: 0.875, 2: 1.0}

    def test_as_a_loop_over_the_masks(self) -> None:
        generator = torch.Generator().manual_seed(0)
        boundary = (drawn_boundary() + 0.1 * torch.rand(48, 80, generator=generator)).clamp(0, 1)
        semantic = probabilities(drawn_classes(), 0.5) + 0.3 * torch.rand(4, 48, 80, generator=generator)
        semantic = semantic / semantic.sum(0)
        found = grouped(boundary, semantic)
        assert len(found.scores) == 5
        for segment, score in found.scores.items():
            mask, position = torch.from_numpy(found.labels == segment), found.classes[segment]
            sure = semantic[position][mask].mean()
            calm = (1 - boundary[mask]).mean() if IS_THING[position] else 1.0
            assert score == pytest.approx(float(sure * calm), abs=1e-6)

    def test_doubtful_instances_become_void_other_classes_stay(self) -> None:
        boundary = drawn_boundary()
        boundary[14:34, 54:72] = 0.25  # the dog: 0.75; the cats: 7/8 inside, less along the cut
        found = grouped(boundary, minimum_score=0.76)
        assert_consistent(found)
        assert [*found.classes.values()] == [CAT, CAT, GRASS, SKY]
        np.testing.assert_array_equal(found.labels == 0, drawn_classes() == DOG)
        none = grouped(boundary, probabilities(drawn_classes(), 0.5), minimum_score=0.95)
        assert [*none.classes.values()] == [GRASS, SKY]
        assert none.scores == pytest.approx({1: 0.5, 2: 0.5})

    def test_small_instances_become_void(self) -> None:
        classes = drawn_classes()
        classes[38:42, 40:46] = DOG  # 24 pixels
        boundary = torch.zeros(48, 80)
        kept, dropped = (grouped(boundary, classes=classes, minimum_area=area) for area in (24, 25))
        assert sorted(kept.classes.values()) == [GRASS, CAT, DOG, DOG, SKY]
        assert sorted(dropped.classes.values()) == [GRASS, CAT, DOG, SKY]
        assert (dropped.labels[38:42, 40:46] == 0).all()


class TestMaps:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_other_types(self, dtype: torch.dtype) -> None:
        found = grouped(drawn_boundary().to(dtype), probabilities(drawn_classes()).to(dtype))
        np.testing.assert_array_equal(found.labels, grouped().labels)

    def test_they_are_left_as_they_are(self) -> None:
        maps = drawn_boundary(), probabilities(drawn_classes())
        before = [values.clone() for values in maps]
        grouped(*maps)
        assert all(torch.equal(*pair) for pair in zip(maps, before, strict=True))
        classes = drawn_classes()
        grouped(classes=classes)
        np.testing.assert_array_equal(classes, drawn_classes())

    def test_the_same_maps_give_the_same_bits(self) -> None:
        generator = torch.Generator().manual_seed(0)
        boundary, semantic = torch.rand(60, 70, generator=generator), torch.rand(4, 60, 70, generator=generator)
        first, second = (grouped(boundary, semantic) for _ in range(2))
        assert_consistent(first)
        np.testing.assert_array_equal(first.labels, second.labels)
        assert first.scores == second.scores

    def test_just_one_of_semantic_and_classes(self) -> None:
        with pytest.raises(ValueError, match="give either semantic or classes, got both"):
            grouped(semantic=probabilities(drawn_classes()), classes=drawn_classes())
        with pytest.raises(ValueError, match="give either semantic or classes, got neither"):
            group_instances(drawn_boundary(), None, None, IS_THING, BaisegSettings())

    @pytest.mark.parametrize("wrong", [float("nan"), -0.01, 1.01])
    def test_what_are_no_probabilities_is_refused(self, wrong: float) -> None:
        boundary, semantic = drawn_boundary(), probabilities(drawn_classes())
        boundary[3, 4] = wrong
        with pytest.raises(ValueError, match=r"boundary must hold probabilities .*check the network's weights"):
            grouped(boundary)
        semantic[1, 3, 4] = wrong
        with pytest.raises(ValueError, match="semantic must hold probabilities"):
            grouped(semantic=semantic)

    def test_maps_of_other_sizes_are_refused(self) -> None:
        plain = inspect.unwrap(group_instances)  # past the checks of the tests
        with pytest.raises(ValueError, match=r"\(48, 80\).*\(47, 80\)"):
            plain(drawn_boundary(), None, drawn_classes()[1:], IS_THING, BaisegSettings())
        with pytest.raises(ValueError, match="each of the 4 classes, got 3"):
            plain(drawn_boundary(), probabilities(drawn_classes()), None, IS_THING[1:], BaisegSettings())
