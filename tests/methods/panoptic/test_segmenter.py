"""The whole method: it keeps the contract of all methods, names what was painted, and predicts depth if asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.methods.contract import LearnedContract, drawn_image
from tests.methods.panoptic.painted import CATEGORIES, Paint, PaintedNetwork, painted_segmenter, painting
from upseg.errors import ModelError
from upseg.methods.panoptic import PanopticSegmenter, PanopticSettings
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.methods.panoptic.segmenter import network_size
from upseg.models.registry import WEIGHTS_NAME
from upseg.segmentation import Category, DepthSegmenter

SMALL = {"backbone": "test_vit", "layers": (1, 2), "decoder_channels": (8, 6, 4), "size": 40, "grid": (12, 12)}
ALL = ("semantic", "instance", "depth")


def write_weights(settings: PanopticSettings, categories: tuple[Category, ...], path: Path) -> Path:
    """Random ones, large enough for the maps to differ from place to place."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = PanopticNetwork(
            settings.backbone,
            settings.layers,
            settings.decoder_channels,
            output_channels(settings, categories),
            patch=settings.patch,
        )
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("panoptic")


@pytest.fixture(scope="session")
def weights(folder: Path) -> Path:
    """Of a model of all heads."""
    return write_weights(PanopticSettings(**SMALL, heads=ALL), CATEGORIES, folder / WEIGHTS_NAME)


class PanopticContract(LearnedContract):
    method = "panoptic"
    covers_every_pixel = False
    is_seeded = False
    settings: PanopticSettings
    categories: tuple[Category, ...] = ()

    @pytest.fixture(autouse=True)
    def _make_weights(self, folder: Path) -> None:
        self.weights = folder / f"{type(self).__name__}.safetensors"
        if not self.weights.exists():
            write_weights(self.settings, self.categories, self.weights)

    def build(self, seed: int = 0) -> PanopticSegmenter:
        return PanopticSegmenter(self.settings, weights=self.weights, categories=self.categories)


class TestAllTasks(PanopticContract):
    settings = PanopticSettings(**SMALL, heads=ALL, minimum_stuff_area=0.0)
    categories = CATEGORIES


class TestInstancesAlone(PanopticContract):
    settings = PanopticSettings(**{**SMALL, "size": None}, heads=("instance",), encoding="bins")


class TestClassesAlone(PanopticContract):
    settings = PanopticSettings(**SMALL, heads=("semantic",), minimum_stuff_area=0.0)
    categories = CATEGORIES
    covers_every_pixel = True


# two cats, one inside the other's bounding box, a dog, and grass
PAINTS = (
    Paint((0, 160, 0), 0, None, -1.0),
    Paint((255, 0, 0), 1, (0.25, 0.25), 2.0),
    Paint((255, 0, 255), 1, (0.6, 0.3), 1.0),
    Paint((0, 0, 255), 2, (0.5, 0.8), 0.0),
)


def scene(height: int = 60, width: int = 80) -> np.ndarray:
    """The numbers of the paints; borders are at even rows and columns: none goes through a pixel of the maps."""
    numbers = np.zeros((height, width), int)
    numbers[6:28, 4:34] = 1
    numbers[28:46, 10:30] = 2
    numbers[20:40, 54:74] = 3
    return numbers


class TestWhatIsFound:
    @pytest.mark.parametrize("encoding", ["positional", "rgb", "bins"])
    def test_things_and_stuff_with_their_classes(self, encoding: str) -> None:
        numbers = scene()
        result = painted_segmenter(PAINTS, encoding=encoding).segment(painting(numbers, PAINTS))
        assert [segment.category for segment in result] == [CATEGORIES[i] for i in (0, 1, 2, 1)]
        expected = np.array([1, 2, 4, 3])[numbers]
        # between two pixels of the maps borders are where the interpolated codes are nearer to the other centre
        inner = np.ones(numbers.shape, bool)
        for axis in (0, 1):
            for step in (-2, -1, 1, 2):
                inner &= np.roll(numbers, step, axis) == numbers
        np.testing.assert_array_equal(result.labels[inner], expected[inner])
        assert (result.labels == expected).mean() > 0.97

    def test_scores_are_the_confidence(self) -> None:
        """The codes are those of the centres, up to the distance to the nearest cell of the grid."""
        result = painted_segmenter(PAINTS, grid=(80, 80)).segment(painting(scene(), PAINTS))
        assert all(0.5 < segment.score <= 1 for segment in result)
        assert result[1].score > 0.99

    @pytest.mark.parametrize("size", [41, 60, 80, 161])
    def test_results_are_of_the_images_size_whatever_the_networks(self, size: int) -> None:
        numbers = scene()
        segmenter = painted_segmenter(PAINTS, size=size)
        result = segmenter.segment(painting(numbers, PAINTS))
        assert segmenter.network.sizes == [(round(60 * size / 80), size)]
        assert result.shape == (60, 80)
        assert [segment.category.name for segment in result] == ["grass", "cat", "dog", "cat"]
        assert (result.labels == np.array([1, 2, 4, 3])[numbers]).mean() > 0.93

    @pytest.mark.parametrize("shape", [(61, 81), (60, 81), (61, 80)])
    def test_padding_of_the_network_does_not_shift_anything(self, shape: tuple[int, int]) -> None:
        numbers = scene(*shape)
        result = painted_segmenter(PAINTS).segment(painting(numbers, PAINTS))
        for segment, number in ((2, 1), (4, 2), (3, 3)):
            rows, columns = np.nonzero(numbers == number)
            found = np.nonzero(result.labels == segment)
            assert (found[0].mean(), found[1].mean()) == pytest.approx((rows.mean(), columns.mean()), abs=0.3)

    def test_areas_and_scores_decide_what_stays(self) -> None:
        image = painting(scene(), PAINTS)  # 660, 360 and 400 of 4800 pixels
        few = painted_segmenter(PAINTS, minimum_thing_area=0.1).segment(image)
        assert [segment.category.name for segment in few] == ["grass", "cat"]
        assert (few.labels == 0).sum() == pytest.approx(760, abs=60)
        none = painted_segmenter(PAINTS, minimum_thing_area=0.2, minimum_stuff_area=0.9).segment(image)
        assert len(none) == 0

    def test_without_classes_things_have_none_and_stuff_is_void(self) -> None:
        numbers = scene()
        result = painted_segmenter(PAINTS, heads=("instance",)).segment(painting(numbers, PAINTS))
        assert [segment.category for segment in result] == [None] * 3
        assert ((result.labels == 0) == (numbers == 0)).mean() > 0.97

    def test_without_instances_each_class_is_one_segment(self) -> None:
        numbers = scene()
        result = painted_segmenter(PAINTS, heads=("semantic",)).segment(painting(numbers, PAINTS))
        assert [segment.category.name for segment in result] == ["grass", "cat", "dog"]
        assert (result.labels == np.array([1, 2, 2, 3])[numbers]).mean() > 0.97


class TestDepth:
    def test_metres_are_those_of_the_network(self) -> None:
        segmenter = painted_segmenter(PAINTS, heads=ALL, maximum_depth=10.0)
        assert isinstance(segmenter, DepthSegmenter)
        numbers, image = scene(), painting(scene(), PAINTS)
        result, depth = segmenter.segment_with_depth(image)
        assert result == segmenter.segment(image)
        assert depth.is_metric
        assert depth.shape == result.shape
        expected = 10 / (1 + np.exp(-np.array([paint.depth for paint in PAINTS])))
        for number, place in enumerate([(2, 2), (16, 18), (38, 20), (30, 64)]):
            assert numbers[place] == number
            assert depth.values[place] == pytest.approx(expected[number], rel=1e-5)
        assert depth.values[30, 52:56].tolist() == sorted(depth.values[30, 52:56])  # no step between two pixels

    def test_relative_disparity_is_stretched(self) -> None:
        _, depth = painted_segmenter(PAINTS, heads=ALL).segment_with_depth(painting(scene(), PAINTS))
        assert not depth.is_metric
        assert (depth.values[2, 2], depth.values[16, 18]) == pytest.approx((0, 1), abs=1e-4)
        assert depth.values[38, 20] == pytest.approx(2 / 3, abs=1e-4)

    def test_depth_follows_the_image_beyond_the_networks_padding(self) -> None:
        paints = (Paint((0, 0, 0), 0, None, 0.0), Paint((255, 255, 255), 0, None, 3.0))
        numbers = np.zeros((5, 41), int)
        numbers[:, 20:] = 1
        _, depth = painted_segmenter(paints, heads=ALL, size=82).segment_with_depth(painting(numbers, paints))
        assert (depth.values[0] > 0.5).sum() == pytest.approx(21, abs=1)

    def test_depth_that_rounds_to_nothing_is_known_all_the_same(self) -> None:
        paints = (Paint((0, 0, 0), 0, None, -200.0), Paint((255, 255, 255), 0, None, 200.0))
        segmenter = painted_segmenter(paints, heads=ALL, maximum_depth=10.0)
        _, depth = segmenter.segment_with_depth(painting(np.repeat([[0, 1]], 8, axis=1), paints))
        assert depth.values.min() == np.float32(0.001)
        assert depth.values.max() == 10

    def test_a_model_without_depth_says_so(self) -> None:
        with pytest.raises(ModelError, match="this model predicts no depth: its heads are semantic, instance"):
            painted_segmenter(PAINTS).segment_with_depth(painting(scene(), PAINTS))


@pytest.mark.parametrize(
    ("shape", "longer", "expected"),
    [
        ((480, 640), 840, (630, 840)),
        ((640, 480), 840, (840, 630)),
        ((3000, 2000), 840, (840, 560)),
        ((480, 640), None, (480, 640)),
        ((1, 5000), 840, (1, 840)),
        ((1, 1), 40, (40, 40)),
    ],
)
def test_the_network_gets_images_of_one_longer_side(
    shape: tuple[int, int], longer: int | None, expected: tuple[int, int]
) -> None:
    assert network_size(*shape, longer) == expected


class TestModel:
    def test_predictions_are_the_maps_of_the_network(self, weights: Path) -> None:
        segmenter = PanopticSegmenter(PanopticSettings(**SMALL, heads=ALL), weights=weights, categories=CATEGORIES)
        maps = segmenter.predict(torch.rand(2, 3, 33, 47))
        shapes = {head: tuple(values.shape) for head, values in maps.items()}
        assert shapes == {"semantic": (2, 3, 17, 24), "instance": (2, 16, 17, 24), "depth": (2, 1, 17, 24)}
        assert not any(values.requires_grad for values in maps.values())

    def test_saves_and_loads_itself(self, weights: Path, tmp_path: Path) -> None:
        settings = PanopticSettings(**SMALL, heads=ALL, minimum_stuff_area=0.0)
        segmenter = PanopticSegmenter(settings, weights=weights, categories=CATEGORIES)
        again = PanopticSegmenter.from_pretrained(segmenter.save_pretrained(tmp_path / "model"), "cpu")
        assert (again.settings, again.categories) == (settings, CATEGORIES)
        image = drawn_image(33, 47)
        (expected, expected_depth), (result, depth) = (one.segment_with_depth(image) for one in (segmenter, again))
        assert result == expected
        np.testing.assert_array_equal(depth.values, expected_depth.values)

    def test_another_patch_than_the_backbones_own_is_kept(self, weights: Path, tmp_path: Path) -> None:
        settings = PanopticSettings(**SMALL, heads=ALL, patch=8, minimum_stuff_area=0.0)
        trained = write_weights(settings, CATEGORIES, tmp_path / WEIGHTS_NAME)
        segmenter = PanopticSegmenter(settings, weights=trained, categories=CATEGORIES)
        again = PanopticSegmenter.from_pretrained(segmenter.save_pretrained(tmp_path / "model"), "cpu")
        assert (again.settings.patch, again.network.backbone.patch) == (8, 8)
        images = torch.rand(1, 3, 33, 47)
        maps, expected = again.predict(images), segmenter.predict(images)
        assert maps["instance"].shape[-2:] == (33, 47)  # with the backbone's own 16 it is half of that
        assert all(torch.equal(values, expected[head]) for head, values in maps.items())
        assert again.segment(drawn_image(33, 47)) == segmenter.segment(drawn_image(33, 47))
        with pytest.raises(ModelError, match=r"these are not the weights .*patch_embed"):
            PanopticSegmenter(settings, weights=weights, categories=CATEGORIES)

    def test_weights_that_do_not_fit_are_refused(self, weights: Path) -> None:
        for changes in ({"frequencies": 3}, {"heads": ("semantic", "instance")}):
            settings = PanopticSettings(**{**SMALL, "heads": ALL, **changes})
            with pytest.raises(ModelError, match=r"model.safetensors: these are not the weights .* projections"):
                PanopticSegmenter(settings, weights=weights, categories=CATEGORIES)
        with pytest.raises(ModelError, match=r"projections.semantic.bias is float \(3,\), not float \(2,\)"):
            PanopticSegmenter(PanopticSettings(**SMALL, heads=ALL), weights=weights, categories=CATEGORIES[:2])

    def test_an_unknown_backbone_is_refused(self, weights: Path) -> None:
        settings = PanopticSettings(**{**SMALL, "backbone": "vit_bsae"}, heads=ALL)
        with pytest.raises(ModelError, match="vit_bsae"):
            PanopticSegmenter(settings, weights=weights, categories=CATEGORIES)

    def test_classes_come_with_the_task_semantic(self, weights: Path) -> None:
        with pytest.raises(ModelError, match="this one has the heads semantic, instance and lists 0 classes"):
            PanopticSegmenter(PanopticSettings(**SMALL), weights=weights)
        with pytest.raises(ModelError, match="this one has the heads instance and lists 3 classes"):
            PanopticSegmenter(PanopticSettings(**SMALL, heads=("instance",)), weights=weights, categories=CATEGORIES)

    def test_autocast_does_not_reach_the_grouping(self) -> None:
        image = painting(scene(), PAINTS)
        segmenter = painted_segmenter(PAINTS)
        expected = segmenter.segment(image)
        with torch.autocast("cpu", torch.bfloat16):
            assert segmenter.segment(image) == expected

    def test_maps_that_are_not_finite_are_refused(self) -> None:
        class Broken(PaintedNetwork):
            def forward(self, images: Tensor) -> dict[str, Tensor]:
                return {head: values * float("nan") for head, values in super().forward(images).items()}

        settings = PanopticSettings(size=None, grid=(20, 20))
        segmenter = PanopticSegmenter(settings, categories=CATEGORIES, network=Broken(settings, PAINTS))
        with pytest.raises(ValueError, match="must be finite"):
            segmenter.segment(painting(scene(), PAINTS))
