import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.reference import panoptic_targets as reference
from upseg.data.batches import ClassTargets, Collate
from upseg.data.sample import Sample
from upseg.methods.panoptic.encodings import PositionalEncoding
from upseg.methods.panoptic.losses import panoptic_losses
from upseg.methods.panoptic.targets import PanopticTargets, boundary_distances, centres_of_mass
from upseg.segmentation import Category

CAT, SKY, DOG = Category(5, "cat"), Category(2, "sky", False), Category(9, "dog")
CLASSES = {1: CAT, 2: CAT, 3: SKY, 4: DOG}  # by label; 5 has no class


def sample_of(labels: np.ndarray, **options: object) -> Sample:
    options = {"categories": CLASSES} | options
    return Sample.from_labels(np.zeros((*labels.shape, 3), np.float32), labels.astype(np.int32), **options)


def two_cats() -> Sample:
    """28 x 56 pixels: a cat of 14 x 14, one of 14 x 7 right of it and touching it, nothing else."""
    labels = np.zeros((28, 56), np.int32)
    labels[7:21, 14:28] = 1
    labels[7:21, 28:35] = 2
    return sample_of(labels)


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.int32, st.tuples(st.integers(1, 17), st.integers(1, 17)), elements=st.integers(0, 5)),
    st.sampled_from([(14, 8), (16, 8), (4, 2), (3, 4), (1, 1)]),
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.sampled_from([0.0, 0.25]),
    st.sampled_from([1.5, 20.0]),
)
def test_targets_are_those_of_the_slow_version(
    labels: np.ndarray, sizes: tuple[int, int], grid: tuple[int, int], minimum: float, reach: float
) -> None:
    labels.flat[0] = 1  # a sample without segments is another case
    sample = sample_of(labels, crowds={4})
    found = PanopticTargets([SKY, CAT, DOG], *sizes, grid=grid, minimum_weight=minimum, reach=reach)(sample)
    expected = reference.targets(
        sample.segment_map,
        {s.id for s in sample.segments if s.is_thing},
        {s.id for s in sample.segments if s.is_crowd},
        {s.id: [SKY, CAT, DOG].index(s.category) for s in sample.segments if s.category},
        patch=sizes[0],
        upsampling=sizes[1],
        grid=grid,
        minimum=minimum,
        reach=reach,
    )
    assert found.keys() == {*expected, "depth"}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].numpy(), values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_kinds_and_sizes_of_the_maps() -> None:
    found = PanopticTargets([CAT])(sample_of(np.ones((15, 29))))
    assert {name: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for name, t in found.items()} == {
        "centre": ("float32", (2, 9, 17)),  # 8 / 14 of the image's sides, rounded up
        "inside": ("bool", (9, 17)),
        "instances": ("int64", (9, 17)),
        "semantic": ("int64", (9, 17)),
        "instance_weight": ("float32", (9, 17)),
        "semantic_weight": ("float32", (9, 17)),
        "depth": ("float32", (9, 17)),
    }


def test_centres_by_hand() -> None:
    found = PanopticTargets([CAT], grid=(80, 40))(two_cats())
    u, v = found["centre"]
    # rows 7 to 20 have their middle at 14 of 28: that of the image
    assert u.unique().tolist() == [0.0]
    # columns 14 to 27 have it at 21 of 56, columns 28 to 34 at 31.5 of 56; half a cell of 40 is kept off the ends
    assert v[found["instances"] == 1].unique().tolist() == pytest.approx([(2 * 21 / 56 - 1) * (1 - 1 / 40)])
    assert v[found["instances"] == 2].unique().tolist() == pytest.approx([(2 * 31.5 / 56 - 1) * (1 - 1 / 40)])
    assert not v[~found["inside"]].any()


def test_centres_are_those_of_the_whole_map() -> None:
    labels = np.zeros((16, 16), np.int32)
    labels[0, 0] = labels[1, 1:16:2] = 1  # patch 16: of rows 0 and 1 only row 1 is looked at, and odd columns
    found = PanopticTargets([CAT], patch=16)(sample_of(labels))
    middle = (0 + sum(range(1, 16, 2))) / 9 + 0.5
    expected = (2 * middle / 16 - 1) * (1 - 1 / 80)
    assert found["centre"][1][found["inside"]].unique().tolist() == pytest.approx([expected])


def test_a_mirrored_image_has_mirrored_targets() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (7, 7)).repeat(4, 0).repeat(4, 1)  # 28 x 28
    targets = PanopticTargets([CAT, SKY, DOG])
    plain, mirrored = targets(sample_of(labels)), targets(sample_of(labels[:, ::-1]))
    for name in ("inside", "semantic", "instance_weight", "semantic_weight"):
        assert torch.equal(plain[name].flip(-1), mirrored[name]), name
    torch.testing.assert_close(plain["centre"][0].flip(-1), mirrored["centre"][0])
    torch.testing.assert_close(plain["centre"][1].flip(-1), -mirrored["centre"][1])


def test_distances_by_hand() -> None:
    labels = np.array([[1] * 5, [1] * 5, [1] * 3 + [2] * 2])
    squared = [[8, 5, 2, 1, 1], [5, 2, 1, 0, 0], [4, 1, 0, 0, 0]]
    np.testing.assert_allclose(boundary_distances(labels), np.sqrt(squared), rtol=1e-6)
    assert np.isinf(boundary_distances(np.zeros((3, 4), int))).all()


def test_centres_of_ids_that_do_not_occur_are_unknown() -> None:
    np.testing.assert_array_equal(
        centres_of_mass(np.array([[-1, 3, 3, 0]])), [[np.nan] * 3 + [0], [np.nan] * 3 + [1.5]]
    )
    assert centres_of_mass(np.zeros((0, 0), int)).shape == (2, 1)


def test_weights_are_one_at_boundaries_and_fall_off() -> None:
    labels = np.zeros((14, 140), np.int32)
    labels[:, :70] = 1
    weights = PanopticTargets([CAT], reach=10.0)(sample_of(labels))["instance_weight"]
    row = weights[3].tolist()
    expected = [math.exp(-(d**2) / 100) for d in range(40)]
    assert row == pytest.approx(expected[::-1] + expected, rel=1e-6)


def test_each_task_can_do_without_edge_distance_sampling() -> None:
    sample = sample_of(two_cats().segment_map, crowds={2})
    both, neither = PanopticTargets([CAT])(sample), PanopticTargets([CAT], edge_sampling=())(sample)
    semantic = PanopticTargets([CAT], edge_sampling=["semantic"])(sample)
    instance = PanopticTargets([CAT], edge_sampling=["instance"])(sample)
    for of_semantic, of_instance, found in ((both, neither, semantic), (neither, both, instance)):
        assert torch.equal(found["semantic_weight"], of_semantic["semantic_weight"])
        assert torch.equal(found["instance_weight"], of_instance["instance_weight"])
    assert not torch.equal(both["semantic_weight"], neither["semantic_weight"])
    # without it every pixel counts 1, except where nothing is known: in crowds, and where there is no class
    assert torch.equal(neither["instance_weight"], (neither["instances"] >= 0).float())
    assert torch.equal(neither["semantic_weight"], (neither["semantic"] >= 0).float())
    assert (neither["instances"] < 0).any()


def test_stuff_far_from_things_counts_if_all_boundaries_do() -> None:
    labels = np.full((28, 280), 3, np.int32)
    labels[:, :140] = 5
    near = PanopticTargets([SKY])(sample_of(labels, categories={3: SKY, 5: Category(6, "sea", False)}))
    assert not near["semantic_weight"].any()
    assert not near["instance_weight"].any()
    every = PanopticTargets([SKY], semantic_boundaries="segments")(
        sample_of(labels, categories={3: SKY, 5: Category(6, "sea", False)})
    )
    assert every["semantic_weight"][:, 80].tolist() == [1.0] * 16
    assert not every["instance_weight"].any()


def test_a_minimum_weight_reaches_images_without_boundaries() -> None:
    found = PanopticTargets([SKY], minimum_weight=0.25)(sample_of(np.full((14, 14), 3)))
    assert found["instance_weight"].unique().tolist() == [0.25]


def test_void_may_count_less() -> None:
    sample = sample_of(two_cats().segment_map, crowds={2})
    paper, less = (PanopticTargets([CAT], void_weight=weight)(sample) for weight in (1.0, 0.25))
    changed = {name for name in paper if not torch.equal(paper[name], less[name])}
    assert changed == {"instance_weight"}
    ratio = torch.where(paper["instances"] == 0, 0.25, 1.0)
    torch.testing.assert_close(less["instance_weight"], ratio * paper["instance_weight"])
    assert all((paper["instances"] == kind).any() for kind in (-1, 0, 1))


def test_nothing_is_known_about_instances_where_nothing_is_labelled() -> None:
    depth = np.ones((14, 14), np.float32)
    sample = Sample(np.zeros((14, 14, 3), np.float32), np.zeros((14, 14), np.int32), (), depth)
    found = PanopticTargets([CAT], edge_sampling=())(sample)
    assert (found["instances"] == -1).all()
    assert (found["semantic"] == -1).all()
    assert not found["instance_weight"].any()
    assert not found["semantic_weight"].any()
    assert not found["inside"].any()
    assert (found["depth"] == 1).all()


def test_depth_is_taken_at_pixel_centres_and_is_0_where_it_is_none() -> None:
    depth = np.arange(1, 15, dtype=np.float32)[None].repeat(14, 0)
    row = PanopticTargets()(sample_of(np.ones((14, 14)), depth=depth))["depth"][2].tolist()
    assert row == [1, 3, 5, 7, 8, 10, 12, 14]  # the pixels at 0.875, 2.625, 4.375 ...
    bad = np.array([[np.nan, np.inf, -np.inf, -1, 0, 2]], np.float32)
    assert PanopticTargets(patch=8)(sample_of(np.ones((1, 6)), depth=bad))["depth"].tolist() == [[0, 0, 0, 0, 0, 2]]
    inverse = PanopticTargets(patch=8, inverse_depth=True)(sample_of(np.ones((1, 6)), depth=bad))
    assert inverse["depth"].tolist() == [[0, 0, 0, 0, 0, 0.5]]
    assert not PanopticTargets()(two_cats())["depth"].any()


def test_classes_may_come_later_and_without_them_there_is_no_semantic_target() -> None:
    targets = PanopticTargets()
    assert isinstance(targets, ClassTargets)
    found = targets(two_cats())
    assert not {"semantic", "semantic_weight"} & found.keys()
    with pytest.raises(ValueError, match="the head semantic needs the targets semantic"):
        panoptic_losses({"semantic": torch.zeros(1, 3, 16, 32)}, found, PositionalEncoding())
    targets.categories = (SKY, CAT)
    assert targets(two_cats())["semantic"].unique().tolist() == [-1, 1]


def test_a_perfect_prediction_has_no_loss() -> None:
    encoding = PositionalEncoding()
    batch = Collate(PanopticTargets([SKY, CAT], grid=encoding.grid))([two_cats(), two_cats()])
    outputs = {
        "instance": encoding.targets(batch.targets["centre"], batch.targets["inside"]),
        "semantic": 50 * torch.nn.functional.one_hot(batch.targets["semantic"].clamp(min=0), 2).permute(0, 3, 1, 2),
    }
    losses = panoptic_losses({name: output.float() for name, output in outputs.items()}, batch.targets, encoding)
    assert losses["instance"].item() == pytest.approx(0, abs=1e-6)
    assert losses["semantic"].item() == pytest.approx(0, abs=1e-6)
    assert losses["dice"].item() < 0.05


def test_workers_can_have_them() -> None:
    targets = pickle.loads(pickle.dumps(PanopticTargets([CAT])))
    assert torch.equal(targets(two_cats())["instances"], PanopticTargets([CAT])(two_cats())["instances"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 0}, "patch and upsampling must be at least 1"),
        ({"upsampling": 0}, "patch and upsampling must be at least 1"),
        ({"grid": (80, 1)}, "grid at least 2"),
        ({"edge_sampling": ["depth"]}, "edge_sampling must be a list of semantic, instance or empty"),
        ({"edge_sampling": "semantic"}, "edge_sampling must be a list"),
        ({"minimum_weight": 1.5}, r"minimum_weight must be in \[0, 1\]"),
        ({"minimum_weight": math.nan}, "minimum_weight must be"),
        ({"void_weight": -0.1}, r"void_weight must be in \[0, 1\], got -0.1"),
        ({"void_weight": math.nan}, "void_weight must be"),
        ({"reach": 0.0}, "reach above 0"),
        ({"reach": math.inf}, "reach above 0"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PanopticTargets(**options)
