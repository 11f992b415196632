"""Maps of classes and their contours: by hand, against the slow version, void, and that instances have no say."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.reference import baiseg as reference
from upseg.data.batches import ClassTargets, Collate
from upseg.data.sample import Sample
from upseg.methods.baiseg.losses import LossWeights, baiseg_losses
from upseg.methods.baiseg.targets import BaisegTargets, class_count, fill_void, semantic_positions, things
from upseg.segmentation import Category

CAT, SKY, DOG = Category(5, "cat"), Category(2, "sky", False), Category(9, "dog")
CLASSES = {1: CAT, 2: CAT, 3: SKY, 4: DOG}  # by label; 5 has no class


def sample_of(labels: np.ndarray, **options: object) -> Sample:
    options = {"categories": CLASSES} | options
    return Sample.from_labels(np.zeros((*labels.shape, 3), np.float32), labels.astype(np.int32), **options)


def rows_of(text: str) -> np.ndarray:
    """One row for each word, one label for each digit."""
    return np.array([[int(digit) for digit in word] for word in text.split()])


class TestClasses:
    def test_how_many(self) -> None:
        assert class_count((), background=False) == 1
        assert class_count((), background=True) == 2
        assert class_count([CAT, SKY], background=False) == 2
        assert class_count([CAT, SKY], background=True) == 3

    def test_which_are_things(self) -> None:
        assert things((), background=False).tolist() == [True]
        assert things((), background=True).tolist() == [False, True]
        assert things([CAT, SKY, DOG], background=False).tolist() == [True, False, True]
        assert things([SKY, CAT], background=True).tolist() == [False, False, True]

    @pytest.mark.parametrize(
        ("categories", "background", "expected"),
        [
            ([SKY, CAT], False, [[-1, 1, 1, 0, -1, -1]]),
            ([SKY, CAT], True, [[0, 2, 2, 1, -1, -1]]),
            ([], False, [[-1, 0, 0, 0, 0, 0]]),
            ([], True, [[0, 1, 1, 1, 1, 1]]),
        ],
    )
    def test_positions(self, categories: list[Category], background: bool, expected: list[list[int]]) -> None:
        found = semantic_positions(sample_of(rows_of("012345")), categories, background)
        assert found.dtype == np.int64
        assert found.tolist() == expected

    def test_crowds_have_their_class(self) -> None:
        sample = sample_of(rows_of("0123"), crowds={1, 2})
        assert semantic_positions(sample, [SKY, CAT], background=True).tolist() == [[0, 2, 2, 1]]

    def test_positions_are_within_the_count(self) -> None:
        sample = sample_of(rows_of("012345"))
        for categories in ([], [CAT], [SKY, DOG, CAT]):
            for background in (False, True):
                positions = semantic_positions(sample, categories, background)
                assert positions.max() == class_count(categories, background) - 1


class TestTargets:
    def test_by_hand_with_background(self) -> None:
        found = BaisegTargets([CAT, DOG], background=True)(
            sample_of(rows_of("0000000 0112200 0112200 0112440 0000000"))
        )
        assert found["classes"].tolist() == rows_of("0000000 0111100 0111100 0111220 0000000").tolist()
        # two cats touch and have no contour between them
        expected = rows_of("0111100 1111110 1100110 1111111 0111110")
        assert found["boundary"].int().tolist() == expected.tolist()
        assert found["valid"].all()
        assert {name: tensor.dtype for name, tensor in found.items()} == {
            "classes": torch.int64,
            "boundary": torch.bool,
            "valid": torch.bool,
        }

    def test_contours_lie_in_the_middle_of_a_band_of_void(self) -> None:
        found = BaisegTargets([CAT, SKY])(sample_of(rows_of("111000000333 111000000333")))
        assert found["boundary"].int().tolist() == rows_of("000001100000 000001100000").tolist()
        assert found["valid"].all()
        assert found["classes"].tolist() == [[0] * 3 + [-1] * 6 + [1] * 3] * 2

    def test_nothing_is_known_in_wide_void(self) -> None:
        labels = np.zeros((40, 40), np.int32)
        labels[:, :5] = 1
        labels[:, 35:] = 3
        found = BaisegTargets([CAT, SKY], void_reach=8)(sample_of(labels))
        assert torch.equal(found["valid"], torch.from_numpy(labels > 0))
        assert not found["boundary"].any()
        narrow = BaisegTargets([CAT, SKY], void_reach=15)(sample_of(labels))
        assert narrow["valid"].all()
        assert narrow["boundary"].nonzero()[:, 1].unique().tolist() == [19, 20]

    def test_a_band_stays_known_beside_wide_void(self) -> None:
        labels = np.full((32, 60), 3, np.int32)
        labels[8:24, 8:24] = 0  # a band of 4 pixels around a cat
        labels[12:20, 12:20] = 1
        labels[:, 40:] = 0
        found = BaisegTargets([CAT, SKY], void_reach=4)(sample_of(labels))
        assert found["valid"][:, :40].all()
        assert not found["valid"][:, 40:].any()
        row = found["boundary"][16].nonzero()[:, 0].tolist()
        assert row == [9, 10, 21, 22]
        ring = np.zeros(labels.shape, bool)
        ring[9:23, 9:23] = True
        ring[11:21, 11:21] = False
        assert not found["boundary"].numpy()[~ring].any()

    @settings(max_examples=30, deadline=None)
    @given(
        arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 5)),
        st.sampled_from([[], [CAT], [SKY, DOG, CAT]]),
        st.booleans(),
        st.integers(0, 3),
    )
    def test_are_those_of_the_slow_version(
        self, labels: np.ndarray, categories: list[Category], background: bool, reach: int
    ) -> None:
        sample = sample_of(labels)
        found = BaisegTargets(categories, background, reach)(sample)
        classes = semantic_positions(sample, categories, background)
        np.testing.assert_array_equal(found["classes"].numpy(), classes)
        void = classes < 0
        valid = ~reference.wide_void(classes, reach) | ~void
        np.testing.assert_array_equal(found["valid"].numpy(), valid)
        if void.all():
            assert not found["boundary"].any()
            return
        filled, _ = fill_void(classes, reach)
        assert all(filled[p] in nearest for p, nearest in reference.nearest_classes(classes).items())
        np.testing.assert_array_equal(found["boundary"].numpy(), reference.contours(filled) & valid)

    @settings(max_examples=30, deadline=None)
    @given(
        arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4)),
        st.sampled_from([[], [CAT], [SKY, DOG, CAT]]),
        st.booleans(),
        st.integers(0, 2**32 - 1),
    )
    def test_instances_have_no_say(
        self, classes: np.ndarray, categories: list[Category], background: bool, seed: int
    ) -> None:
        """However the pixels of a class are divided among instances, and whatever their ids are."""
        table = {1: CAT, 2: SKY, 3: DOG}  # 4 has no class
        merged = sample_of(classes, categories=table)
        generator = np.random.default_rng(seed)
        # each pixel goes to one of five instances of its class, of ids without any order
        ids = generator.permutation(np.arange(1, 26)).reshape(5, 5)
        shuffled = np.where(classes > 0, ids[classes, generator.integers(0, 5, classes.shape)], 0)
        kinds = {int(ids[number, k]): category for number, category in table.items() for k in range(5)}
        crowds = {int(value) for value in ids[:, 0]}
        split = sample_of(shuffled, categories=kinds, crowds=crowds)
        targets = BaisegTargets(categories, background, void_reach=2)
        expected, found = targets(merged), targets(split)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert torch.equal(found[name], values), name

    def test_instances_have_no_say_in_the_loss(self) -> None:
        labels = np.zeros((16, 16), np.int32)
        labels[4:12, 2:8], labels[4:12, 8:14] = 1, 2
        collate = Collate(BaisegTargets([CAT], background=True))
        generator = torch.Generator().manual_seed(0)
        outputs = {
            "boundary": torch.randn(1, 1, 16, 16, generator=generator),
            "semantic": torch.randn(1, 2, 16, 16, generator=generator),
            "projection": torch.randn(1, 1, 8, 8, generator=generator),
        }
        instances = (labels, np.where(labels > 0, 3 - labels, 0), np.minimum(labels, 1))
        losses = [
            baiseg_losses(
                outputs,
                collate([sample_of(each)]).targets,
                LossWeights(anchors=8, keys=8),
                torch.Generator().manual_seed(1),
            )
            for each in instances
        ]
        assert losses[0]["contrast"] > 0
        assert len({loss["total"].item() for loss in losses}) == 1

    @pytest.mark.parametrize("background", [False, True])
    def test_a_mirrored_image_has_mirrored_targets(self, background: bool) -> None:
        labels = np.random.default_rng(0).integers(0, 5, (7, 7)).repeat(4, 0).repeat(4, 1)
        targets = BaisegTargets([CAT, SKY, DOG], background)
        plain, mirrored = targets(sample_of(labels)), targets(sample_of(labels[:, ::-1]))
        for name in ("classes", "valid"):
            assert torch.equal(plain[name].flip(-1), mirrored[name]), name
        if background:  # void as far from two classes goes to either
            assert torch.equal(plain["boundary"].flip(-1), mirrored["boundary"])

    def test_everything_void(self) -> None:
        found = BaisegTargets([CAT])(sample_of(np.zeros((3, 4))))
        assert (found["classes"] == -1).all()
        assert not found["valid"].any()
        assert not found["boundary"].any()
        background = BaisegTargets([CAT], background=True)(sample_of(np.zeros((3, 4))))
        assert (background["classes"] == 0).all()
        assert background["valid"].all()
        assert not background["boundary"].any()

    def test_classes_may_come_later(self) -> None:
        targets = BaisegTargets()
        assert isinstance(targets, ClassTargets)
        assert targets.categories == ()
        targets.categories = (SKY, CAT)
        assert targets(sample_of(rows_of("123")))["classes"].tolist() == [[1, 1, 0]]

    def test_workers_can_have_them(self) -> None:
        targets = BaisegTargets([CAT], background=True, void_reach=3)
        copied = pickle.loads(pickle.dumps(targets))
        assert (copied.categories, copied.background, copied.void_reach) == ((CAT,), True, 3)

    def test_a_negative_reach_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"void_reach must be at least 0 pixels .* got -1"):
            BaisegTargets(void_reach=-1)


def test_filling_leaves_its_input_alone() -> None:
    classes = np.array([[0, -1, -1, 1]])
    filled, valid = fill_void(classes, 5)
    assert filled.tolist() == [[0, 0, 1, 1]]
    assert valid.all()
    assert classes.tolist() == [[0, -1, -1, 1]]


class TestPasted:
    def test_segments_of_a_class_have_contours_where_theirs_are_asked_for(self) -> None:
        sample = sample_of(rows_of("1111 1122 1122"))  # 1 and 2 are cats
        assert not BaisegTargets([CAT])(sample)["boundary"].any()
        found = BaisegTargets([CAT], contours="segments")(sample)
        assert found["boundary"].int().tolist() == [[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 1, 0]]
        assert found["classes"].unique().tolist() == [0]

    def test_nothing_is_known_of_the_background_far_away(self) -> None:
        sample = sample_of(rows_of("1100000 1100000"))
        found = BaisegTargets([CAT], background=True, background_reach=2)(sample)
        assert found["valid"].int().tolist() == [[1, 1, 1, 1, 0, 0, 0]] * 2
        assert found["boundary"].int().tolist() == [[0, 1, 1, 0, 0, 0, 0]] * 2
        assert BaisegTargets([CAT], background=True)(sample)["valid"].all()

    def test_a_band_without_width_is_refused(self) -> None:
        with pytest.raises(ValueError, match="background_reach"):
            BaisegTargets([CAT], background_reach=0)
