"""The whole method: it keeps the contract of all methods, and says what the network detects at the right place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.methods.contract import LearnedContract, drawn_image
from tests.methods.mask_rcnn.small import CATEGORIES, SETTINGS, network, with_settings
from upseg.errors import ModelError
from upseg.methods.mask_rcnn import MaskRcnnSegmenter, MaskRcnnSettings
from upseg.methods.mask_rcnn.network import Detections
from upseg.methods.mask_rcnn.segmenter import network_size
from upseg.models.registry import WEIGHTS_NAME
from upseg.segmentation import Category


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model of two classes."""
    path = tmp_path_factory.mktemp("mask_rcnn") / WEIGHTS_NAME
    save_file(network().state_dict(), path)
    return path


class MaskRcnnContract(LearnedContract):
    method = "mask_rcnn"
    covers_every_pixel = False
    is_seeded = False
    settings: MaskRcnnSettings
    categories: tuple[Category, ...] = ()

    @pytest.fixture(autouse=True)
    def _make_weights(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.weights = tmp_path_factory.getbasetemp() / f"{type(self).__name__}.safetensors"
        if not self.weights.exists():
            save_file(network(classes=max(1, len(self.categories))).state_dict(), self.weights)

    def build(self, seed: int = 0) -> MaskRcnnSegmenter:
        return MaskRcnnSegmenter(self.settings, weights=self.weights, categories=self.categories)

    def test_random_weights_find_something(self) -> None:
        """Else the other tests would compare nothing with nothing."""
        assert len(self.build().segment(drawn_image(33, 47))) > 3


class TestWithClasses(MaskRcnnContract):
    settings = SETTINGS
    categories = CATEGORIES


class TestWithoutClasses(MaskRcnnContract):
    settings = with_settings(min_size=40, max_size=64, minimum_area=3)


class Finder(nn.Module):
    """Stands in for a network: finds what it is told, in shares of the image, and notes the sizes that it sees."""

    def __init__(self, *found: tuple[tuple[float, float, float, float], int, float]) -> None:
        super().__init__()
        self.found = found
        self.sizes: list[tuple[int, int]] = []
        self.eval()

    def detect(self, images: Tensor, settings: MaskRcnnSettings) -> list[Detections]:
        height, width = images.shape[-2:]
        self.sizes.append((height, width))
        shares = torch.tensor([box for box, _, _ in self.found]).view(-1, 4)
        boxes = shares * torch.tensor([width, height, width, height])
        return [
            Detections(
                boxes,
                torch.tensor([position for _, position, _ in self.found], dtype=torch.long),
                torch.tensor([score for _, _, score in self.found]),
                torch.ones(len(boxes), 28, 28),
            )
        ] * len(images)


LEFT, RIGHT = (0.0, 0.25, 0.625, 0.75), (0.5, 0.0, 1.0, 1.0)


def finding(*found, categories=CATEGORIES, **settings) -> MaskRcnnSegmenter:
    chosen = MaskRcnnSettings(**{"min_size": None, "max_size": None, **settings})
    segmenter = MaskRcnnSegmenter(chosen, categories=categories, network=network().eval())
    segmenter.network = Finder(*found)
    return segmenter


class TestWhatIsFound:
    @pytest.mark.parametrize("sizes", [{}, {"min_size": 60}, {"min_size": 7}, {"min_size": 60, "max_size": 61}])
    def test_things_with_their_classes_and_scores_whatever_the_network_sees(self, sizes: dict[str, int]) -> None:
        result = finding((LEFT, 1, 0.75), (RIGHT, 0, 0.5), **sizes).segment(drawn_image(32, 40))
        expected = np.zeros((32, 40), int)
        expected[:, 20:] = 1
        expected[8:24, :25] = 2
        np.testing.assert_array_equal(result.labels, expected)
        assert [(s.category.name, s.score) for s in result] == [("cell", 0.5), ("star", 0.75)]

    def test_without_classes_objects_have_none(self) -> None:
        result = finding((LEFT, 0, 0.75), categories=()).segment(drawn_image(32, 40))
        assert [(s.category, s.score, s.area) for s in result] == [(None, 0.75, 16 * 25)]

    def test_nothing_found_is_void(self) -> None:
        result = finding().segment(drawn_image(32, 40))
        assert len(result) == 0
        assert not result.labels.any()

    def test_settings_decide_what_stays(self) -> None:
        image, found = drawn_image(32, 40), [(LEFT, 1, 0.75), (RIGHT, 0, 0.5)]
        assert [s.score for s in finding(*found, minimum_score=0.6).segment(image)] == [0.75]
        assert [s.score for s in finding(*found, minimum_area=401).segment(image)] == [0.5]
        assert [s.score for s in finding(*found, minimum_visible=0.9).segment(image)] == [0.75]

    def test_a_large_photo_costs_no_map_for_each_detection(self) -> None:
        """A hundred maps of the image's size would be 3 GB."""
        many = [((0.01 * i, 0.01 * i, 0.01 * i + 0.01, 0.01 * i + 0.01), 0, 0.9) for i in range(100)]
        segmenter = finding(*many, max_size=640)
        result = segmenter.segment(np.zeros((2000, 4000, 3), np.uint8))
        assert segmenter.network.sizes == [(320, 640)]
        assert [s.area for s in result] == [20 * 40] * 100


@pytest.mark.parametrize(
    ("shape", "limits", "expected"),
    [
        ((480, 640), (800, 1333), (800, 1067)),
        ((640, 480), (800, 1333), (1067, 800)),
        ((480, 960), (800, 1333), (666, 1333)),
        ((480, 640), (None, None), (480, 640)),
        ((480, 640), (None, 320), (240, 320)),
        ((480, 640), (None, 1000), (480, 640)),
        ((480, 640), (240, None), (240, 320)),
        ((1, 1), (800, 1333), (800, 800)),
        ((1, 7), (800, 1333), (190, 1333)),
        ((1, 5000), (800, 1333), (1, 1333)),
    ],
)
def test_the_network_gets_images_of_one_shorter_side(
    shape: tuple[int, int], limits: tuple[int | None, int | None], expected: tuple[int, int]
) -> None:
    assert network_size(*shape, MaskRcnnSettings(min_size=limits[0], max_size=limits[1])) == expected


class TestModel:
    def test_predictions_are_those_of_each_image(self, weights: Path) -> None:
        segmenter = MaskRcnnSegmenter(SETTINGS, weights=weights, categories=CATEGORIES)
        first, second = segmenter.predict(torch.rand(2, 3, 33, 47))
        assert first.boxes.shape == second.boxes.shape == (SETTINGS.max_detections, 4)
        assert not torch.equal(first.boxes, second.boxes)
        assert not first.masks.requires_grad

    def test_weights_that_do_not_fit_are_refused(self, weights: Path) -> None:
        with pytest.raises(ModelError, match=r"these are not the weights of the network"):
            MaskRcnnSegmenter(with_settings(mask_layers=2), weights=weights, categories=CATEGORIES)
        with pytest.raises(ModelError, match=r"box_predictor.bbox_pred.bias is float \(12,\), not float \(8,\)"):
            MaskRcnnSegmenter(SETTINGS, weights=weights, categories=CATEGORIES[:1])

    def test_stuff_is_refused(self, weights: Path) -> None:
        sky = Category(1, "sky", is_thing=False)
        with pytest.raises(ModelError, match="mask_rcnn knows only things, but the model lists 'sky', which is stuff"):
            MaskRcnnSegmenter(SETTINGS, weights=weights, categories=(CATEGORIES[0], sky))
