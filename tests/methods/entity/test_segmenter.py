"""The whole method: it keeps the contract of all methods, finds what was drawn, and stays within its memory."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.methods.contract import LearnedContract, drawn_image
from upseg.errors import ModelError
from upseg.methods.entity import EntitySegmenter, EntitySettings
from upseg.methods.entity.extensions.picture import colour_features
from upseg.methods.entity.network import EntityNetwork
from upseg.methods.entity.segmenter import level_sizes
from upseg.models.registry import WEIGHTS_NAME
from upseg.segmentation import Category, EmbeddingSegmenter

SMALL = {"backbone": "convnext_atto", "channels": 8, "dimensions": 6}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small network."""
    path = tmp_path_factory.mktemp("entity") / WEIGHTS_NAME
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(EntityNetwork(**SMALL).state_dict(), path)
    return path


class EntityContract(LearnedContract):
    method = "entity"

    @pytest.fixture(autouse=True)
    def _find_weights(self, weights: Path) -> None:
        self.weights = weights


class TestSeveralResolutions(EntityContract):
    def build(self, seed: int = 0) -> EntitySegmenter:
        settings = EntitySettings(**SMALL, size=12, scales=(1.0, 2.0), tile=24, overlap=8, seed=seed)
        return EntitySegmenter(settings, weights=self.weights)


class TestCells(EntityContract):
    covers_every_pixel = False

    def build(self, seed: int = 0) -> EntitySegmenter:
        settings = EntitySettings(
            **SMALL,
            background="void",
            size=None,
            window=16,
            connected=True,
            minimum_area=4,
            fill_holes=True,
            trim=1,
            seed=seed,
        )
        return EntitySegmenter(settings, weights=self.weights)


class ColourNetwork(nn.Module):
    """Stands in for a trained network: the strongest colour around a pixel is its line, its sign another in each call.

    Args:
        reach: How far around; what is much smaller is not seen.
        sharp: Whether there are only three lines; else they are as mixed as the colours.
    """

    def __init__(self, reach: int = 0, *, sharp: bool = True) -> None:
        super().__init__()
        self.reach, self.sharp = reach, sharp
        self.calls = 0
        self.sizes: list[tuple[int, int]] = []
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        self.sizes.append((images.shape[-2], images.shape[-1]))
        padded = F.pad(images, [self.reach] * 4, mode="replicate")
        blurred = F.avg_pool2d(padded, 2 * self.reach + 1, stride=1)
        lines = F.one_hot(blurred.argmax(dim=1), 3).movedim(3, 1).float() if self.sharp else blurred
        return lines * (-1) ** self.calls


def colour_segmenter(reach: int = 0, *, sharp: bool = True, **changes: object) -> EntitySegmenter:
    network = ColourNetwork(reach, sharp=sharp)
    return EntitySegmenter(EntitySettings(dimensions=3, **changes), network=network)


def coloured(labels: np.ndarray) -> np.ndarray:
    """Red, green and blue for 1, 2 and 3."""
    return (np.eye(4)[labels][..., 1:] * 255).astype(np.uint8)


def scene(height: int = 60, width: int = 90) -> np.ndarray:
    labels = np.ones((height, width), int)
    labels[:, width // 2 :] = 2
    labels[height // 3 : height // 2, width // 6 : width // 3] = 3
    return labels


class TestWhatIsFound:
    @pytest.mark.parametrize("changes", [{"size": None}, {"size": 60}, {"size": 20}, {"tile": 32, "overlap": 10}])
    def test_lines_that_differ_are_segments(self, changes: dict[str, object]) -> None:
        labels = scene()
        result = colour_segmenter(**changes).segment(coloured(labels))
        np.testing.assert_array_equal(result.labels, labels)
        assert [s.score for s in result] == pytest.approx([1, 1, 1], abs=1e-3)

    def test_a_finer_resolution_adds_what_it_sees_with_its_parent(self) -> None:
        labels = np.ones((96, 96), int)
        labels[40:56, 40:56] = 3
        coarse = colour_segmenter(4, size=24, scales=(1.0,)).segment(coloured(labels))
        assert len(coarse) == 1
        fine = colour_segmenter(4, size=24, scales=(1.0, 4.0), minimum_added_area=9).segment(coloured(labels))
        assert [s.parent for s in fine] == [None, 1]
        rows, columns = np.nonzero(fine.labels == 2)
        assert (rows.mean(), columns.mean()) == pytest.approx((47.5, 47.5), abs=1)
        few = colour_segmenter(4, size=24, scales=(1.0, 4.0), minimum_added_area=500).segment(coloured(labels))
        assert len(few) == 1

    def test_a_finer_resolution_moves_borders_to_their_place(self) -> None:
        labels = scene(100, 100)
        coarse = colour_segmenter(size=16, scales=(1.0,)).segment(coloured(labels))
        fine = colour_segmenter(size=16, scales=(1.0, 2.5, 20.0)).segment(coloured(labels))
        assert (coarse.labels != labels).any()
        np.testing.assert_array_equal(fine.labels, labels)

    def test_tiles_leave_no_seams(self) -> None:
        image = np.asarray(drawn_image(70, 110), np.float32) / 255
        changes = {"sharp": False, "size": None, "bandwidth": 10.0}
        whole, tiled = (colour_segmenter(3, tile=tile, overlap=16, **changes).segment(image) for tile in (200, 48))
        assert len(whole) > 1
        assert (whole.labels == tiled.labels).mean() >= 0.99

    def test_minimum_areas_are_in_pixels_of_the_image(self) -> None:
        labels = np.ones((80, 80), int)
        labels[16:32, 16:32] = 2  # 256 pixels, of which a quarter of the size leaves 16
        for area, count in ((200, 2), (300, 1)):
            result = colour_segmenter(size=20, scales=(1.0,), minimum_area=area).segment(coloured(labels))
            assert result.labels.max() == count

    @pytest.mark.parametrize("changes", [{"size": None}, {"size": 40, "scales": (1.0,)}])
    def test_rims_are_trimmed_by_pixels_of_the_image(self, changes: dict[str, object]) -> None:
        labels = np.ones((80, 80), int)  # red is the line of the background
        labels[16:48, 16:48] = 2
        expected = np.zeros_like(labels)
        expected[20:44, 20:44] = 1
        result = colour_segmenter(background="void", trim=4, **changes).segment(coloured(labels))
        np.testing.assert_array_equal(result.labels, expected)


class TestFeatures:
    def test_a_result_has_the_picture_that_is_drawn_alone(self) -> None:
        image = coloured(scene())
        result = colour_segmenter().segment(image)
        np.testing.assert_array_equal(result.features, colour_segmenter().picture(image))
        colours = {tuple(result.features[labelled][0]) for labelled in result.masks()}
        assert len(colours) == 3  # each segment has a colour of its own
        np.testing.assert_array_equal(result.filter(min_area=500).features, result.features)
        assert result.crop(1).features is None

    def test_it_is_of_the_lowest_resolution_and_of_bounded_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        segmenter = colour_segmenter(size=20, scales=(1.0, 3.0))
        assert segmenter.segment(coloured(scene())).features.shape == (20, 30, 3)
        monkeypatch.setattr("upseg.methods.entity.segmenter.PICTURE_PIXELS", 150)
        assert segmenter.segment(coloured(scene())).features.shape == (10, 15, 3)

    def test_many_pixels_have_the_colours_of_a_sample_of_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.manual_seed(0)
        features = F.normalize(torch.randn(8, 40, 50) * torch.linspace(0.2, 3, 8)[:, None, None], dim=0)
        whole = colour_features(features).astype(int)
        monkeypatch.setattr("upseg.methods.entity.extensions.picture.SAMPLES", 1000)
        some = colour_features(features).astype(int)
        assert 0 < np.abs(whole - some).mean() < 12


class TestResolutions:
    @pytest.mark.parametrize(
        ("shape", "changes", "expected"),
        [
            ((1000, 2000), {}, [(384, 768), (576, 1152), (768, 1536), (1000, 2000)]),
            ((3000, 2000), {}, [(576, 384), (864, 576), (1152, 768), (1728, 1152)]),
            ((480, 640), {}, [(384, 512), (480, 640)]),
            ((400, 500), {}, [(384, 480)]),
            ((384, 384), {}, [(384, 384)]),
            ((20, 30), {}, [(20, 30)]),
            ((1, 1), {}, [(1, 1)]),
            ((1, 5000), {}, [(1, 5000)]),
            ((1000, 2000), {"size": None}, [(1000, 2000)]),
            ((1000, 1000), {"size": 100, "scales": (0.5, 3.0)}, [(50, 50), (300, 300)]),
        ],
    )
    def test_they_grow_up_to_the_image(
        self, shape: tuple[int, int], changes: dict[str, object], expected: list[tuple[int, int]]
    ) -> None:
        assert level_sizes(*shape, EntitySettings(**changes)) == expected

    def test_none_has_more_pixels_than_its_features_may_take(self) -> None:
        settings = EntitySettings(memory=0.25)
        sizes = level_sizes(4000, 6000, settings)
        assert sizes == [(384, 576), (576, 864)]
        (largest,) = level_sizes(4000, 6000, EntitySettings(memory=0.25, size=None))
        assert largest == (591, 887)
        assert largest[0] * largest[1] == pytest.approx(settings.max_pixels, rel=0.01)

    def test_the_network_sees_each_resolution_in_tiles(self) -> None:
        segmenter = colour_segmenter(size=20, scales=(1.0, 2.0), tile=32, overlap=0)
        segmenter.segment(coloured(scene()))
        assert segmenter.network.sizes == [(20, 30), (32, 32), (32, 28), (8, 32), (8, 28)]

    def test_progress_counts_tiles_and_resolutions(self) -> None:
        calls: list[tuple[int, int]] = []
        segmenter = colour_segmenter(size=20, scales=(1.0, 2.0), tile=32, overlap=0)
        segmenter.segment(coloured(scene()), progress=lambda *call: calls.append(call))
        assert calls == [(done, 7) for done in range(1, 8)]


class TestEmbedding:
    def test_features_that_are_kept_give_the_same_segments(self) -> None:
        segmenter = colour_segmenter(size=None)
        image = coloured(scene())
        embedding = segmenter.embed(image)
        found = segmenter.segment_embedding(embedding, (60, 90))
        assert np.array_equal(found.labels, segmenter.segment(image).labels)
        assert isinstance(segmenter, EmbeddingSegmenter)

    def test_another_bandwidth_groups_lines_that_are_farther_apart_and_is_noted(self) -> None:
        segmenter = colour_segmenter(size=None)
        lines = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0]]).T.reshape(3, 1, 2).repeat(1, 12, 6)  # 37 degrees apart
        found = {bandwidth: segmenter.segment_embedding([lines], (12, 12), bandwidth) for bandwidth in (20.0, 60.0)}
        assert [len(result) for result in found.values()] == [2, 1]
        assert found[60.0].provenance["settings"]["bandwidth"] == 60.0

    def test_pixels_of_one_object_are_alike_and_those_of_others_are_not(self) -> None:
        segmenter = colour_segmenter(size=None)
        labels = scene()
        alike = segmenter.similarity(segmenter.embed(coloured(labels)), 0.5, 0.5)
        assert alike.shape == labels.shape
        own = labels == labels[30, 45]
        assert alike[own].min() > 0.99
        assert alike[~own].max() < 0.9

    def test_the_picture_of_features_is_as_large_as_they_are(self) -> None:
        segmenter = colour_segmenter(size=None)
        assert segmenter.picture_of(segmenter.embed(coloured(scene()))).shape == (60, 90, 3)


class TestParts:
    """`predict` and `group`, and what they make together."""

    def test_features_are_of_unit_length(self, weights: Path) -> None:
        segmenter = EntitySegmenter(EntitySettings(**SMALL), weights=weights)
        features = segmenter.predict(torch.rand(2, 3, 33, 47))
        assert features.shape == (2, 6, 33, 47)
        torch.testing.assert_close(features.norm(dim=1), torch.ones(2, 33, 47))
        assert not features.requires_grad

    def test_one_resolution_is_prediction_and_grouping(self, weights: Path) -> None:
        segmenter = EntitySegmenter(EntitySettings(**SMALL, size=None), weights=weights)
        image = drawn_image(33, 47)
        features = segmenter.predict(torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None])[0]
        grouped = segmenter.group(features)
        result = segmenter.segment(image)
        assert len(result) == len(np.unique(grouped[grouped > 0]))
        assert len(np.unique(np.stack([grouped, result.labels]).reshape(2, -1), axis=1).T) <= len(result) + 1

    def test_groups_can_be_asked_for_at_another_size(self) -> None:
        labels = scene(30, 45)
        segmenter = colour_segmenter(size=None)
        features = segmenter.predict(torch.from_numpy(coloured(labels) / np.float32(255)).permute(2, 0, 1)[None])[0]
        larger = segmenter.group(features, (60, 90))
        assert larger.shape == (60, 90)
        assert (larger[::2, ::2] == segmenter.group(features)).mean() > 0.97


class TestModel:
    def test_weights_that_do_not_fit_are_refused(self, weights: Path, tmp_path: Path) -> None:
        with pytest.raises(
            ModelError, match=r"model.safetensors: these are not the weights .* of another shape or type \(dec"
        ):
            EntitySegmenter(EntitySettings(**{**SMALL, "channels": 12}), weights=weights)

    def test_files_that_hold_no_weights_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "text.safetensors").write_text("no weights")
        for name in ("absent.safetensors", "text.safetensors"):
            with pytest.raises(ModelError, match=f"{name}: this is not a readable safetensors file"):
                EntitySegmenter(EntitySettings(**SMALL), weights=tmp_path / name)

    def test_an_unknown_backbone_is_refused(self, weights: Path) -> None:
        with pytest.raises(ModelError, match="convnext_atom"):
            EntitySegmenter(EntitySettings(**{**SMALL, "backbone": "convnext_atom"}), weights=weights)

    def test_classes_are_refused(self, weights: Path) -> None:
        with pytest.raises(ModelError, match="knows no classes, but the model lists 1"):
            EntitySegmenter(EntitySettings(**SMALL), weights=weights, categories=(Category(1, "cell"),))

    def test_a_network_in_training_is_refused_and_others_are_left_as_they_are(self) -> None:
        network = ColourNetwork().train()
        with pytest.raises(ValueError, match=r"training mode; call its eval\(\)"):
            EntitySegmenter(EntitySettings(**SMALL), network=network)
        assert network.training

    def test_autocast_does_not_reach_the_grouping(self) -> None:
        labels = scene()
        with torch.autocast("cpu", torch.bfloat16):
            result = colour_segmenter(size=None).segment(coloured(labels))
        np.testing.assert_array_equal(result.labels, labels)


MEMORY = """
import resource
import numpy as np, torch
from upseg.methods.entity import EntitySegmenter, EntitySettings

class Network(torch.nn.Module):
    def forward(self, images):
        return images.repeat(1, 43, 1, 1)[:, :128] - 0.4

settings = EntitySettings(memory=0.1, tile=256, overlap=32, threads=1)
segmenter = EntitySegmenter(settings, network=Network().eval())
segmenter.segment(np.zeros((64, 64, 3), np.uint8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows, columns = np.mgrid[:3000, :4000].astype(np.uint16)
image = np.stack([rows // 20 % 256, columns // 20 % 256, (rows + columns) // 40 % 256], axis=-1).astype(np.uint8)
result = segmenter.segment(image)
assert result.shape == (3000, 4000) and len(result) > 1
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


@pytest.mark.slow
def test_memory_is_that_of_the_setting_and_not_of_the_image() -> None:
    """12 megapixels: full-size features would take 5.7 GiB; image, label maps and 0.1 GiB of features take 0.4."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(MEMORY)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.8
