"""The whole method: it keeps the contract of all methods, and finds what was drawn."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.methods.baiseg.drawn import (
    CAT,
    CATEGORIES,
    DOG,
    GRASS,
    IDS,
    DrawnNetwork,
    assert_agree,
    drawing,
    drawn_segmenter,
    scene,
)
from tests.methods.contract import LearnedContract, assert_valid, drawn_image
from upseg.errors import DataError, ModelError
from upseg.methods.baiseg import BaisegSegmenter, BaisegSettings
from upseg.methods.baiseg.network import BaisegNetwork
from upseg.methods.baiseg.segmenter import working_sizes
from upseg.methods.baiseg.targets import class_count
from upseg.models.registry import WEIGHTS_NAME
from upseg.segmentation import Category

SMALL = BaisegSettings(
    backbone="test_resnet",
    width=4,
    cascade=2,
    hidden=4,
    semantic_width=4,
    boundary_threshold=0.0,
    minimum_area=0,
)


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


class BaisegContract(LearnedContract):
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


class TestWithClasses(BaisegContract):
    settings = SMALL
    categories = CATEGORIES


class TestWithoutClasses(BaisegContract):
    settings = replace(SMALL, background=True, fusion=False, size=40, tile=32, overlap=8, flood="image")


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

    def test_the_stages_are_those_of_the_classes_that_are_given(self) -> None:
        segmenter, image, ids = drawn_segmenter(), drawing(scene()), IDS[scene()]
        own = segmenter.picture(image)
        assert np.array_equal(segmenter.picture(image, semantic_map=ids), own)
        assert not np.array_equal(segmenter.picture(image, semantic_map=np.full_like(ids, CAT.id)), own)
        assert drawn_segmenter(semantic=False).picture(image, semantic_map=ids).shape == own.shape
        with pytest.raises(DataError, match="must have the image's"):
            segmenter.picture(image, semantic_map=ids[1:])

    def test_weights_that_do_not_fit_are_refused(self, weights: Path) -> None:
        for changes in ({"hidden": 6}, {"semantic_width": None}, {"cascade": 3}):
            with pytest.raises(ModelError, match=r"model.safetensors: these are not the weights"):
                BaisegSegmenter(replace(SMALL, **changes), weights=weights, categories=CATEGORIES)
        with pytest.raises(ModelError, match=r"semantic.output.bias is float \(3,\), not float \(2,\)"):
            BaisegSegmenter(SMALL, weights=weights, categories=CATEGORIES[:2])

    def test_an_unknown_backbone_is_refused(self, weights: Path) -> None:
        with pytest.raises(ModelError, match="hrnet_w47"):
            BaisegSegmenter(replace(SMALL, backbone="hrnet_w47"), weights=weights, categories=CATEGORIES)

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
