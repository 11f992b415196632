"""The whole method: it keeps the contract of all methods, and finds objects whatever their size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.methods.contract import LearnedContract, drawn_image
from tests.methods.entity.extensions.cells.test_grouping import disks
from upseg.errors import ModelError
from upseg.methods.entity.extensions.cells import CellSegmenter, CellSettings
from upseg.methods.entity.extensions.cells.grouping import FoundCells
from upseg.methods.entity.extensions.cells.network import CellMaps, CellNetwork
from upseg.methods.entity.extensions.cells.segmenter import restored
from upseg.methods.entity.extensions.cells.targets import inner_distance, log_diameters
from upseg.metrics.cell_matching import match_cells
from upseg.models.registry import WEIGHTS_NAME
from upseg.segmentation import Category

SMALL = {"backbone": "mobilenetv3_small_050", "channels": (8, 8, 8, 8)}
OPTIONS = {"foreground": 0.4, "largest": 64, "tile": 64, "overlap": 16, "minimum_area": 0.0}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / WEIGHTS_NAME
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = CellNetwork(**SMALL).state_dict()
        save_file({name: values.contiguous() for name, values in state.items()}, path)
    return path


class TestContract(LearnedContract):
    method = "cells"
    covers_every_pixel = False
    is_seeded = False

    @pytest.fixture(autouse=True)
    def _find_weights(self, weights: Path) -> None:
        self.weights = weights

    def build(self, seed: int = 0) -> CellSegmenter:
        return CellSegmenter(CellSettings(**SMALL, **OPTIONS), weights=self.weights)


class Oracle(nn.Module):
    """Sees bright pixels as objects, and knows connected ones' depth and size in the pixels that it is shown."""

    def __init__(self, canonical: float) -> None:
        super().__init__()
        self.canonical = canonical
        self.seen: list[tuple[int, int]] = []
        self.training = False

    def forward(self, images: torch.Tensor) -> CellMaps:
        from upseg.functional.label_maps import connected_components

        self.seen.append((int(images.shape[2]), int(images.shape[3])))
        inside = images[:, 1] > 0.5
        labels = [connected_components(one.numpy().astype(np.int32)) for one in inside]
        depth = torch.stack([torch.from_numpy(inner_distance(one)) for one in labels])
        sizes = torch.stack([torch.from_numpy(log_diameters(one, self.canonical)) for one in labels])
        foreground = torch.where(inside, 5.0, -5.0)
        return CellMaps(foreground, torch.full_like(foreground, -5.0), torch.logit(depth, 1e-3), sizes)


def bright_disks(radius: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    centres = [(r, c) for r in range(2 * radius, side, 3 * radius) for c in range(2 * radius, side, 3 * radius)]
    labels = disks(centres, radius, side)
    return np.where(labels > 0, np.uint8(200), np.uint8(30))[..., None].repeat(3, 2), labels


@pytest.mark.parametrize("radius", [4, 9, 24, 60])
def test_objects_of_any_size_are_seen_at_the_canonical_one(radius: int) -> None:
    image, labels = bright_disks(radius, 14 * radius)
    network = Oracle(22.0)
    found = CellSegmenter(CellSettings(passes=3, largest=256), network=network).segment(image)
    assert match_cells(labels, found.labels, [0.75])[0].average_precision == 1
    assert found.provenance["diameter"] == pytest.approx(2 * radius, rel=0.25)
    scale = network.seen[-1][0] / image.shape[0]
    assert 2 * radius * scale == pytest.approx(18, rel=0.25)


def test_a_given_diameter_is_taken_as_it_is() -> None:
    image, _ = bright_disks(6, 80)
    network = Oracle(22.0)
    found = CellSegmenter(CellSettings(diameter=24.0), network=network).segment(image)
    assert network.seen == [(73, 73)]  # 80 x 22 / 24
    assert found.provenance["diameter"] == 24


def test_mirror_images_are_averaged_and_large_ones_tiled() -> None:
    image, labels = bright_disks(9, 150)
    network = Oracle(22.0)
    settings = CellSettings(diameter=22.0, flips=True, tile=96, overlap=32)
    found = CellSegmenter(settings, network=network).segment(image)
    assert len(network.seen) == 4 * 4  # four tiles, four mirrors
    assert match_cells(labels, found.labels, [0.75])[0].average_precision == 1


def test_predict_and_group_are_the_two_halves() -> None:
    image, labels = bright_disks(9, 90)
    segmenter = CellSegmenter(CellSettings(), network=Oracle(22.0))
    maps = segmenter.predict(torch.from_numpy(image).permute(2, 0, 1)[None] / 200)
    assert maps.shape == (1, 4, 90, 90)
    assert match_cells(labels, segmenter.group(maps[0]), [0.9])[0].average_precision == 1
    assert segmenter.group(maps[0], (45, 30)).shape == (45, 30)


def test_labels_are_brought_back_with_their_scores() -> None:
    found = FoundCells(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 7]], np.int32), {1: 0.5, 7: 0.6})
    labels, scores = restored(found, (6, 6))
    assert (labels[0, 0], labels[2, 2], labels[5, 5], labels[0, 5]) == (1, 1, 7, 0)
    assert scores == {1: 0.5, 7: 0.6}
    assert restored(FoundCells(np.eye(9, dtype=np.int32), {1: 0.5}), (1, 1))[0].shape == (1, 1)


def test_classes_are_refused() -> None:
    with pytest.raises(ModelError, match="the method cells knows no classes"):
        CellSegmenter(CellSettings(), categories=(Category(1, "a"),), network=Oracle(22.0))


def test_an_image_in_which_nothing_is_found_is_no_obstacle() -> None:
    assert len(CellSegmenter(CellSettings(), network=Oracle(22.0)).segment(drawn_image(20, 30) // 8)) >= 0
    dark = np.zeros((40, 50, 3), np.uint8)
    assert len(CellSegmenter(CellSettings(), network=Oracle(22.0)).segment(dark)) == 0
