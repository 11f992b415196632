"""The whole method: it keeps the contract of all methods, finds what was drawn, and cuts masks that it is given."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.methods.contract import SegmenterContract, assert_valid, drawn_image
from upseg.errors import DataError, ModelError
from upseg.inference.models import CONFIG_NAME, WEIGHTS_NAME
from upseg.methods.baiseg import BaisegSegmenter, BaisegSettings
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.methods.baiseg.segmenter import working_sizes
from upseg.methods.baiseg.semantic_maps import nearest_labels
from upseg.methods.baiseg.targets import class_count
from upseg.segmentation import Category, Segmentation, Segmenter

SMALL = BaisegSettings(
    backbone="test_resnet",
    width=4,
    cascade=2,
    hidden=4,
    semantic_width=4,
    boundary_threshold=0.0,
    minimum_area=0,
)
GRASS, CAT, DOG = CATEGORIES = (Category(7, "grass", is_thing=False), Category(3, "cat"), Category(4, "dog"))


def write_weights(settings: BaisegSettings, categories: tuple[Category, ...], path: Path) -> Path:
    """Random ones, large enough for the maps to differ from place to place."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BaisegNetwork(settings, class_count(categories, settings.background))
    weights = network.state_dict()
    grown = {
        name: 3 * value if name.endswith("weight") and value.dim() == 4 else value for name, value in weights.items()
    }
    save_file(grown, path)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("baiseg")


@pytest.fixture(scope="session")
def weights(folder: Path) -> Path:
    """Of a model of all classes."""
    return write_weights(SMALL, CATEGORIES, folder / WEIGHTS_NAME)


class BaisegContract(SegmenterContract):
    method = "baiseg"
    covers_every_pixel = False
    is_seeded = False
    settings: BaisegSettings
    categories: tuple[Category, ...] = ()

    @pytest.fixture(autouse=True)
    def _make_weights(self, folder: Path) -> None:
        self.weights = folder / f"{type(self).__name__}.safetensors"
        if not self.weights.exists():
            write_weights(self.settings, self.categories, self.weights)

    def build(self, seed: int = 0) -> BaisegSegmenter:
        return BaisegSegmenter(self.settings, weights=self.weights, categories=self.categories)

    def write_model(self, segmenter: Segmenter, folder: Path) -> None:
        super().write_model(segmenter, folder)
        config = json.loads((folder / CONFIG_NAME).read_text())
        config["classes"] = [asdict(category) for category in self.categories]
        (folder / CONFIG_NAME).write_text(json.dumps(config))
        shutil.copy(self.weights, folder / WEIGHTS_NAME)


class TestWithClasses(BaisegContract):
    settings = SMALL
    categories = CATEGORIES


class TestWithoutClasses(BaisegContract):
    settings = replace(SMALL, background=True, fusion=False, size=40, tile=32, overlap=8, flood="image")


class DrawnNetwork(nn.Module):
    """Stands in for a trained network: how blue a pixel is says whether it is a boundary, how red it is its class.

    Its boundaries are as sure as logits of -4 and 4; classes as a logit of 8 for the class and 0 for the others.
    """

    def __init__(self, classes: int = len(CATEGORIES), *, semantic: bool = True) -> None:
        super().__init__()
        self.classes, self.semantic = classes, semantic
        self.sizes: list[tuple[int, int]] = []
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.sizes.append((images.shape[-2], images.shape[-1]))
        maps = {"boundary": 8 * (images[:, 2:] - 0.5)}
        if self.semantic:
            numbers = (images[:, 0] * (self.classes - 1)).round().long()
            maps["semantic"] = 8 * F.one_hot(numbers, self.classes).permute(0, 3, 1, 2).float()
        return maps


def drawn_segmenter(
    categories: tuple[Category, ...] = CATEGORIES, *, semantic: bool = True, **changes: Any
) -> BaisegSegmenter:
    settings = BaisegSettings(**{"semantic_width": 4 if semantic else None, **changes})
    network = DrawnNetwork(class_count(categories, settings.background), semantic=semantic)
    return BaisegSegmenter(settings, categories=categories, network=network)


def scene(scale: int = 1) -> np.ndarray:
    """48 x 80: 1 and 2 are cats that touch, 3 is a dog that touches the second, 0 is grass."""
    numbers = np.zeros((48, 80), int)
    numbers[8:40, 8:28], numbers[8:40, 28:50], numbers[14:34, 50:72] = 1, 2, 3
    return numbers.repeat(scale, 0).repeat(scale, 1)


CLASSES = np.array([0, 1, 1, 2])
"""Of the scene's numbers: positions in `CATEGORIES`."""
IDS = np.array([category.id for category in CATEGORIES])[CLASSES]


def drawing(numbers: np.ndarray, classes: np.ndarray = CLASSES, width: int = 2) -> np.ndarray:
    """What `DrawnNetwork` reads the scene from: the cats are told apart by a boundary alone, so many pixels wide."""
    image = np.zeros((*numbers.shape, 3), np.uint8)
    image[..., 0] = np.rint(255 * classes / max(1, classes.max()))[numbers]
    rows, columns = np.nonzero((numbers[:, :-1] == 1) & (numbers[:, 1:] == 2))
    for step in range(width):
        image[rows, columns + 1 - width // 2 + step, 2] = 255
    return image


def assert_agree(result: Segmentation, numbers: np.ndarray, least: float = 0.99) -> None:
    """Each number is one segment, up to the pixels along the cut between the cats."""
    expected = Segmentation.from_labels(numbers + 1).labels
    assert len(result) == len(np.unique(numbers))
    assert (result.labels == expected).mean() >= least


class TestWhatIsFound:
    def test_instances_with_their_classes_and_scores(self) -> None:
        result = drawn_segmenter().segment(drawing(scene()))
        assert_agree(result, scene())
        assert [segment.category for segment in result] == [GRASS, CAT, CAT, DOG]
        calm, sure = 1 / (1 + np.exp(-4)), 1 / (1 + 2 * np.exp(-8))
        assert result[1].score == pytest.approx(sure, abs=1e-5)
        assert result[4].score == pytest.approx(sure * calm, abs=1e-5)
        assert all(0.9 < segment.score < sure * calm for segment in (result[2], result[3]))  # they have the boundary

    def test_without_the_boundary_the_cats_are_one(self) -> None:
        image = drawing(scene())
        image[..., 2] = 0
        result = drawn_segmenter().segment(image)
        assert [segment.category for segment in result] == [GRASS, CAT, DOG]

    def test_a_background_is_void(self) -> None:
        segmenter = drawn_segmenter((CAT, DOG), background=True)
        result = segmenter.segment(drawing(scene()))
        assert [segment.category for segment in result] == [CAT, CAT, DOG]
        np.testing.assert_array_equal(result.labels == 0, scene() == 0)

    def test_without_classes_segments_have_none(self) -> None:
        numbers = np.where(scene() == 3, 0, scene())
        result = drawn_segmenter((), background=True).segment(drawing(numbers, np.array([0, 1, 1])))
        assert [segment.category for segment in result] == [None, None]
        np.testing.assert_array_equal(result.labels == 0, numbers == 0)

    @pytest.mark.parametrize("changes", [{"tile": 40, "overlap": 16}, {"size": 160}, {"size": 80}, {"flood": "image"}])
    def test_tiles_and_sizes(self, changes: dict[str, Any]) -> None:
        assert_agree(drawn_segmenter(**changes).segment(drawing(scene())), scene(), 0.98)

    def test_the_network_may_see_less_than_is_cut(self) -> None:
        segmenter = drawn_segmenter(size=80)
        result = segmenter.segment(drawing(scene(2), width=4))
        assert segmenter.network.sizes == [(48, 80)]
        assert result.shape == (96, 160)
        assert [segment.category for segment in result].count(CAT) == 2

    def test_images_above_max_pixels_are_cut_at_fewer(self) -> None:
        segmenter = drawn_segmenter(max_pixels=48 * 80)
        result = segmenter.segment(drawing(scene(3), width=6))
        assert segmenter.network.sizes == [(48, 80)]
        assert_agree(result, scene(3), 0.97)

    def test_minimum_areas_are_in_pixels_of_the_image(self) -> None:
        numbers = scene(2)  # the dog has 4 * 440 pixels, of which 440 are left
        kept, dropped = (drawn_segmenter(max_pixels=48 * 80, minimum_area=area) for area in (1500, 2000))
        assert DOG in {segment.category for segment in kept.segment(drawing(numbers))}
        assert DOG not in {segment.category for segment in dropped.segment(drawing(numbers))}

    def test_progress_counts_tiles_and_the_extraction(self) -> None:
        calls: list[tuple[int, int]] = []
        segmenter = drawn_segmenter(tile=40, overlap=0)
        segmenter.segment(drawing(scene()), progress=lambda *call: calls.append(call))
        assert len(segmenter.network.sizes) > 1
        assert calls == [(k, len(calls)) for k in range(1, len(segmenter.network.sizes) + 2)]


class TestGivenMaps:
    """Another opinion on what class each pixel has: a ground truth, or another model's."""

    def test_by_the_ids_of_the_classes(self) -> None:
        own = drawn_segmenter().segment(drawing(scene()))
        for dtype in (np.uint8, np.int64):
            given = drawn_segmenter(semantic=False).segment(drawing(scene()), IDS[scene()].astype(dtype))
            np.testing.assert_array_equal(given.labels, own.labels)
            assert [segment.category for segment in given] == [GRASS, CAT, CAT, DOG]
            assert given[1].score == 1

    def test_the_models_own_opinion_does_not_count_then(self) -> None:
        ids = IDS[scene()]
        ids[scene() == 0] = 0
        ids[scene() == 3] = CAT.id
        for background in (False, True):
            result = drawn_segmenter(background=background).segment(drawing(scene()), ids)
            assert {segment.category for segment in result} == {CAT}
            np.testing.assert_array_equal(result.labels == 0, ids == 0)

    def test_splitting_is_segmenting_with_a_map(self) -> None:
        segmenter, ids = drawn_segmenter(semantic=False), IDS[scene()]
        assert segmenter.split(drawing(scene()), ids) == segmenter.segment(drawing(scene()), ids)

    def test_a_segmentation_has_its_own_classes(self) -> None:
        bird = Category(16, "bird")
        labels = scene()
        given = Segmentation.from_labels(labels, categories={1: bird, 2: bird, 3: GRASS}, provenance={"method": "x"})
        result = drawn_segmenter().segment(drawing(labels), given)
        assert [segment.category for segment in result] == [bird, bird, GRASS]
        np.testing.assert_array_equal(result.labels == 0, labels == 0)
        assert result.provenance["semantic_map"] == {"method": "x"}

    def test_which_pixels_are_one_segment_of_it_makes_no_difference(self) -> None:
        labels = scene()
        together = Segmentation.from_labels(np.array([0, 1, 1, 2])[labels], categories={1: CAT, 2: DOG})
        apart = Segmentation.from_labels(
            labels * 2 - (np.arange(80) % 2) * (labels > 0),
            categories=dict.fromkeys((1, 2, 3, 4), CAT) | dict.fromkeys((5, 6), DOG),
        )
        segmenter = drawn_segmenter(semantic=False)
        assert segmenter.segment(drawing(labels), together) == segmenter.segment(drawing(labels), apart)

    def test_segments_without_a_class_are_all_one_class_of_things(self) -> None:
        result = drawn_segmenter(semantic=False).segment(drawing(scene()), Segmentation.from_labels(scene()))
        assert [segment.category for segment in result] == [None, None]  # nothing is between the second cat and the dog

    def test_a_model_without_classes_takes_each_number_as_one(self) -> None:
        ids = np.array([0, 255, 255, 9])[scene()].astype(np.uint8)
        result = drawn_segmenter((), semantic=False).segment(drawing(scene()), ids)
        assert [segment.category for segment in result] == [None] * 3
        np.testing.assert_array_equal(result.labels == 0, ids == 0)

    def test_a_class_may_have_the_id_0(self) -> None:
        cell = Category(0, "cell")
        ids = np.where(scene() > 0, 0, -1)
        result = drawn_segmenter((cell,), semantic=False).segment(drawing(scene()), ids)
        assert {segment.category for segment in result} == {cell}
        np.testing.assert_array_equal(result.labels == 0, scene() == 0)

    @pytest.mark.parametrize("background", [False, True])
    def test_nothing_in_it(self, background: bool) -> None:
        nothing = np.zeros((48, 80), np.int64)
        for given in (nothing, Segmentation.from_labels(nothing)):
            for categories in ((), CATEGORIES):
                segmenter = drawn_segmenter(categories, semantic=False, background=background)
                assert len(segmenter.segment(drawing(scene()), given)) == 0

    @pytest.mark.parametrize("changes", [{"max_pixels": 4000}, {"size": 333}])
    def test_no_segment_goes_beyond_its_class_at_any_size(self, changes: dict[str, Any]) -> None:
        numbers = scene(2)
        result = drawn_segmenter(semantic=False, **changes).segment(drawing(numbers), IDS[numbers])
        for segment in result:
            assert np.unique(IDS[numbers][result.mask(segment.id)]).tolist() == [segment.category.id]
        assert (result.labels > 0).mean() > 0.97

    def test_the_map_is_not_changed(self) -> None:
        ids = IDS[scene()]
        drawn_segmenter(semantic=False).segment(drawing(scene()), ids)
        np.testing.assert_array_equal(ids, IDS[scene()])

    def test_a_model_of_boundaries_alone_needs_one(self) -> None:
        with pytest.raises(ModelError, match=r"finds boundaries alone.*`upseg split`, or segment\(image, semantic_map"):
            drawn_segmenter(semantic=False).segment(drawing(scene()))

    def test_maps_that_do_not_fit_are_refused(self) -> None:
        segmenter = drawn_segmenter(semantic=False)
        for given in (IDS[scene()][1:], Segmentation.from_labels(scene()[1:])):
            with pytest.raises(DataError, match=r"the image's \(H, W\) \(48, 80\), got one of \(47, 80\)"):
                segmenter.split(drawing(scene()), given)
        with pytest.raises(DataError, match="has the ids 5, 255, but the classes of the model have 3, 4, 7; give what"):
            segmenter.split(drawing(scene()), np.array([7, 255, 3, 5])[scene()])


@pytest.mark.parametrize(
    ("shape", "changes", "seen", "worked"),
    [
        ((480, 640), {}, (480, 640), (480, 640)),
        ((4000, 6000), {}, (1633, 2449), (1633, 2449)),
        ((480, 640), {"size": 416}, (312, 416), (480, 640)),
        ((480, 640), {"size": 1280}, (960, 1280), (960, 1280)),
        ((4000, 6000), {"size": 600}, (400, 600), (1633, 2449)),
        ((100, 100), {"size": 1000, "max_pixels": 90_000}, (300, 300), (300, 300)),
        ((1, 5000), {"size": 100}, (1, 100), (1, 5000)),
        ((1, 1), {"size": 40}, (40, 40), (40, 40)),
    ],
)
def test_the_network_sees_one_size_and_another_is_cut(
    shape: tuple[int, int], changes: dict[str, int], seen: tuple[int, int], worked: tuple[int, int]
) -> None:
    assert working_sizes(*shape, BaisegSettings(**changes)) == (seen, worked)


class TestNearestLabels:
    def test_by_hand(self) -> None:
        labels = np.array([[1, 2, 3], [4, 5, 6]])
        assert nearest_labels(labels, (4, 3)).tolist() == [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]]
        assert nearest_labels(labels, (2, 1)).tolist() == [[2], [5]]
        assert nearest_labels(labels, (1, 2)).tolist() == [[4, 6]]
        assert nearest_labels(labels, (2, 3)) is labels

    @pytest.mark.parametrize("size", [(7, 11), (8, 12), (13, 30), (20, 23), (700, 1100)])
    def test_larger_and_back_is_the_same(self, size: tuple[int, int]) -> None:
        labels = np.arange(77).reshape(7, 11)
        np.testing.assert_array_equal(nearest_labels(nearest_labels(labels, size), (7, 11)), labels)


class TestModel:
    def test_predictions_are_the_maps_of_the_network(self, weights: Path) -> None:
        segmenter = BaisegSegmenter(SMALL, weights=weights, categories=CATEGORIES)
        maps = segmenter.predict(torch.rand(2, 3, 33, 47))
        assert {name: tuple(values.shape) for name, values in maps.items()} == {
            "boundary": (2, 1, 33, 47),
            "semantic": (2, 3, 33, 47),
        }
        assert not any(values.requires_grad for values in maps.values())

    def test_all_settings_are_in_the_provenance(self, weights: Path) -> None:
        segmenter = BaisegSegmenter(SMALL, weights=weights, categories=CATEGORIES)
        provenance = segmenter.segment(drawn_image(9, 11)).provenance
        assert provenance == {"method": "baiseg", "settings": asdict(SMALL)}
        given = segmenter.segment(drawn_image(9, 11), np.full((9, 11), CAT.id)).provenance
        assert given == {**provenance, "semantic_map": {}}

    def test_saves_and_loads_itself(self, weights: Path, tmp_path: Path) -> None:
        segmenter = BaisegSegmenter(SMALL, weights=weights, categories=CATEGORIES)
        again = BaisegSegmenter.from_pretrained(segmenter.save_pretrained(tmp_path / "model"), "cpu")
        assert (again.settings, again.categories) == (SMALL, CATEGORIES)
        assert again.segment(drawn_image(33, 47)) == segmenter.segment(drawn_image(33, 47))

    def test_a_model_of_boundaries_alone(self, tmp_path: Path) -> None:
        settings = replace(SMALL, semantic_width=None, contrast_dimensions=0, attention=False)
        segmenter = BaisegSegmenter(settings, weights=write_weights(settings, (), tmp_path / WEIGHTS_NAME))
        assert segmenter.predict(torch.rand(1, 3, 33, 47)).keys() == {"boundary"}
        image, ids = drawn_image(33, 47), np.ones((33, 47), np.uint8)
        result = segmenter.split(image, ids)
        assert_valid(result, (33, 47))
        assert len(result) >= 1
        again = BaisegSegmenter.from_pretrained(segmenter.save_pretrained(tmp_path / "model"), "cpu")
        assert again.split(image, ids) == result

    def test_weights_in_half_precision_are_computed_with_in_full(self, weights: Path, tmp_path: Path) -> None:
        halves = {
            name: value.half() if value.is_floating_point() else value for name, value in load_file(weights).items()
        }
        save_file(halves, tmp_path / "half.safetensors")
        segmenter = BaisegSegmenter(SMALL, weights=tmp_path / "half.safetensors", categories=CATEGORIES)
        assert {value.dtype for value in segmenter.network.parameters()} == {torch.float32}

    def test_weights_that_do_not_fit_are_refused(self, weights: Path) -> None:
        for changes in ({"hidden": 6}, {"semantic_width": None}, {"cascade": 3}):
            with pytest.raises(ModelError, match=r"model.safetensors: these are not the weights"):
                BaisegSegmenter(replace(SMALL, **changes), weights=weights, categories=CATEGORIES)
        with pytest.raises(ModelError, match=r"semantic.output.bias is float \(3,\), not float \(2,\)"):
            BaisegSegmenter(SMALL, weights=weights, categories=CATEGORIES[:2])

    def test_an_unknown_backbone_is_refused(self, weights: Path) -> None:
        with pytest.raises(ModelError, match="hrnet_w47"):
            BaisegSegmenter(replace(SMALL, backbone="hrnet_w47"), weights=weights, categories=CATEGORIES)

    def test_either_weights_or_a_network(self, weights: Path) -> None:
        with pytest.raises(ValueError, match="give either weights"):
            BaisegSegmenter(SMALL, categories=CATEGORIES)
        with pytest.raises(ValueError, match="give either weights"):
            BaisegSegmenter(SMALL, categories=CATEGORIES, weights=weights, network=DrawnNetwork())

    def test_a_network_in_training_is_refused_and_left_as_it_is(self) -> None:
        network = DrawnNetwork().train()
        with pytest.raises(ValueError, match=r"training mode; call its eval\(\)"):
            BaisegSegmenter(SMALL, categories=CATEGORIES, network=network)
        assert network.training

    def test_autocast_does_not_reach_the_extraction(self) -> None:
        segmenter = drawn_segmenter()
        expected = segmenter.segment(drawing(scene()))
        with torch.autocast("cpu", torch.bfloat16):
            assert segmenter.segment(drawing(scene())) == expected

    def test_maps_that_are_not_finite_are_refused(self) -> None:
        class Broken(DrawnNetwork):
            def forward(self, images: Tensor) -> dict[str, Tensor]:
                return {name: values * float("nan") for name, values in super().forward(images).items()}

        segmenter = BaisegSegmenter(BaisegSettings(), categories=CATEGORIES, network=Broken())
        with pytest.raises(ValueError, match="boundary must hold probabilities"):
            segmenter.segment(drawing(scene()))
