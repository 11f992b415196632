"""What every method must keep, whatever it computes: the test of each method's segmenter subclasses this contract."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from upseg.errors import ImageError, ModelError
from upseg.functional.label_maps import canonical_order, segment_areas, segment_boxes
from upseg.models.learned import LearnedSegmenter
from upseg.models.registry import CONFIG_NAME, METHODS, WEIGHTS_NAME, load_model
from upseg.segmentation import DepthSegmenter, PictureSegmenter, Segmentation, Segmenter, Splitter

SIZES = [(1, 1), (1, 7), (7, 1), (5, 3), (33, 47)]
"""Sizes that no stride, window or tile divides."""


def drawn_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: two colours on a slope, a dark rectangle, and noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    image = np.where((columns + rows / 3 < width * 0.6)[..., None], [200, 150, 90], [60, 90, 160])
    image[height // 4 : height // 2, width // 3 : width // 2] = [30, 40, 30]
    return np.clip(image + generator.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def random_states() -> tuple[bytes, str]:
    """The global random states that a segmenter must leave alone; not Python's own, which beartype's checks draw on."""
    return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state())  # noqa: NPY002


def assert_valid(result: Segmentation, shape: tuple[int, int]) -> None:
    """The label map has the image's size and canonical ids, and the table of segments says what is in it."""
    assert isinstance(result, Segmentation)
    assert result.shape == shape
    assert result.labels.dtype == np.int32
    assert result.labels.min() >= 0
    np.testing.assert_array_equal(canonical_order(result.labels)[0], result.labels)
    assert [s.id for s in result] == list(range(1, int(result.labels.max()) + 1))
    assert [s.area for s in result] == segment_areas(result.labels)[1:].tolist()
    assert [s.bbox for s in result] == segment_boxes(result.labels)
    assert all(s.score is None or 0 <= s.score <= 1 for s in result)


class SegmenterContract:
    """Subclass it in the test module of each method and say how its segmenter is made.

    Attributes:
        method: The method's name, a key of `METHODS`.
        covers_every_pixel: Whether the method never leaves a pixel void.
        is_seeded: Whether the method draws random numbers, and so has a setting `seed`.
    """

    method: str
    covers_every_pixel = True
    is_seeded = True

    def build(self, seed: int = 0) -> Segmenter:
        """A new segmenter, made to be quick; the same seed gives the same one."""
        raise NotImplementedError

    def write_model(self, segmenter: Segmenter, folder: Path) -> None:
        """Write a model folder; methods with weights extend this by their weights."""
        provenance = segmenter.segment(drawn_image(5, 3)).provenance
        config = {"method": provenance["method"], "settings": dict(provenance["settings"])}
        (folder / CONFIG_NAME).write_text(json.dumps(config))

    def test_is_a_segmenter(self) -> None:
        segmenter = self.build()
        assert isinstance(segmenter, Segmenter)

    def test_its_row_says_what_it_can(self) -> None:
        segmenter, row = self.build(), METHODS[self.method]
        ways = [getattr(segmenter, name) for name in ("segment", "split") if hasattr(segmenter, name)]
        assert {"progress" in inspect.signature(way).parameters for way in ways} == {row.reports_progress}
        assert row.splits_masks == isinstance(segmenter, Splitter)
        assert (
            row.predicts_depth == isinstance(segmenter, DepthSegmenter) == hasattr(segmenter.settings, "predicts_depth")
        )
        assert row.learned == isinstance(segmenter, LearnedSegmenter)
        assert bool(row.pictures) == isinstance(segmenter, PictureSegmenter)

    def test_its_pictures_can_be_drawn(self) -> None:
        segmenter = self.build()
        for kind in METHODS[self.method].pictures:
            if getattr(segmenter.settings, "steps", 1):  # nothing to see where nothing is fitted
                picture = segmenter.picture(drawn_image(33, 47), kind, 2)
                assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
                assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1

    @pytest.mark.parametrize("size", SIZES)
    def test_any_size(self, size: tuple[int, int]) -> None:
        result = self.build().segment(drawn_image(*size))
        assert_valid(result, size)
        if self.covers_every_pixel:
            assert result.labels.min() >= 1

    def test_the_same_seed_gives_the_same_answer(self) -> None:
        image = drawn_image(33, 47)
        segmenter = self.build(seed=3)
        torch.manual_seed(1)
        first = segmenter.segment(image)
        segmenter.segment(drawn_image(9, 11, seed=5))  # another image in between leaves no trace
        torch.manual_seed(2)
        assert segmenter.segment(image) == first
        assert self.build(seed=3).segment(image) == first

    def test_global_random_states_are_left_as_they_were(self) -> None:
        before = random_states()
        self.build(seed=7).segment(drawn_image(17, 23))
        assert random_states() == before

    def test_global_torch_settings_are_left_as_they_were(self) -> None:
        def switches() -> tuple[object, ...]:
            return (
                torch.is_grad_enabled(),
                torch.get_num_threads(),
                torch.get_default_dtype(),
                torch.are_deterministic_algorithms_enabled(),
                torch.is_autocast_enabled("cpu"),
            )

        before = switches()
        self.build().segment(drawn_image(9, 11))
        assert switches() == before

    @pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode])
    def test_works_where_gradients_are_switched_off(self, switch: Callable[[], AbstractContextManager[None]]) -> None:
        image = drawn_image(9, 11)
        expected = self.build().segment(image)
        with switch():
            assert self.build().segment(image) == expected

    def test_provenance_says_how_it_came_to_be(self) -> None:
        provenance = self.build(seed=3).segment(drawn_image(9, 11)).provenance
        assert provenance["method"] == self.method
        assert self.method in METHODS
        assert provenance["settings"].get("seed") == (3 if self.is_seeded else None)
        assert json.loads(json.dumps(provenance, allow_nan=False)) == provenance

    def test_a_saved_result_is_the_same_when_loaded(self, tmp_path: Path) -> None:
        result = self.build().segment(drawn_image(17, 23))
        for name in ("result.png", "result.npz", "result.json"):
            assert Segmentation.load(result.save(tmp_path / name)) == result

    def test_a_saved_model_gives_the_same_answer_when_loaded(self, tmp_path: Path) -> None:
        image = drawn_image(17, 23)
        segmenter = self.build(seed=3)
        self.write_model(segmenter, tmp_path)
        assert load_model(tmp_path, device="cpu").segment(image) == segmenter.segment(image)

    @pytest.mark.parametrize("value", [0, 128, 255])
    def test_constant_image(self, value: int) -> None:
        assert_valid(self.build().segment(np.full((17, 13, 3), value, np.uint8)), (17, 13))

    def test_the_image_is_not_changed(self) -> None:
        image = drawn_image(17, 23)
        images = [image, image.astype(np.float32) / 255, torch.from_numpy(image.astype(np.float32) / 255).movedim(2, 0)]
        copies = [np.asarray(kind).copy() for kind in images]
        results = [self.build().segment(kind) for kind in images]
        for kind, copy in zip(images, copies, strict=True):
            np.testing.assert_array_equal(np.asarray(kind), copy)
        assert results[0] == results[1] == results[2]

    def test_a_read_only_image_is_no_obstacle(self) -> None:
        image = drawn_image(9, 11)
        image.flags.writeable = False
        assert_valid(self.build().segment(image), (9, 11))

    def test_what_is_no_image_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="there is no such file"):
            self.build().segment(tmp_path / "absent.png")
        with pytest.raises(ImageError):
            self.build().segment(np.zeros((0, 4, 3), np.uint8))

    def test_progress_only_grows(self) -> None:
        if not METHODS[self.method].reports_progress:
            pytest.skip("this method does not report progress")
        calls: list[tuple[int, int]] = []
        image = drawn_image(17, 23)
        result = self.build().segment(image, progress=lambda done, total: calls.append((done, total)))
        assert calls
        done, totals = zip(*calls, strict=True)
        assert len(set(totals)) == 1
        assert all(earlier < later for earlier, later in pairwise(done))
        assert 0 < done[0] <= done[-1] <= totals[0]
        assert result == self.build().segment(image)


class LearnedContract(SegmenterContract):
    """What every method with weights must keep beside.

    Attributes:
        weights: A safetensors file with the weights that `build` loads.
    """

    weights: Path

    def build(self, seed: int = 0) -> LearnedSegmenter[Any, Any]:
        raise NotImplementedError

    def write_model(self, segmenter: Segmenter, folder: Path) -> None:
        super().write_model(segmenter, folder)
        config = json.loads((folder / CONFIG_NAME).read_text())
        classes = [asdict(category) for category in self.build().categories]
        (folder / CONFIG_NAME).write_text(json.dumps({**config, "classes": classes}))
        shutil.copy(self.weights, folder / WEIGHTS_NAME)

    def with_weights(self, path: Path) -> LearnedSegmenter[Any, Any]:
        """The same segmenter with other weights."""
        made = self.build()
        return type(made)(made.settings, weights=path, categories=made.categories)

    def test_all_settings_are_in_the_provenance(self) -> None:
        segmenter = self.build()
        provenance = segmenter.segment(drawn_image(9, 11)).provenance
        assert provenance["settings"] == json.loads(json.dumps(asdict(segmenter.settings)))

    def test_saves_and_loads_itself(self, tmp_path: Path) -> None:
        segmenter = self.build()
        again = type(segmenter).from_pretrained(segmenter.save_pretrained(tmp_path / "model"), "cpu")
        assert (again.settings, again.categories) == (segmenter.settings, segmenter.categories)
        assert again.segment(drawn_image(33, 47)) == segmenter.segment(drawn_image(33, 47))

    def test_weights_in_half_precision_are_computed_with_in_full(self, tmp_path: Path) -> None:
        stored = load_file(self.weights)
        halves = {k: value.half() if value.is_floating_point() else value for k, value in stored.items()}
        save_file(halves, tmp_path / "half.safetensors")
        segmenter = self.with_weights(tmp_path / "half.safetensors")
        assert {value.dtype for value in segmenter.network.parameters()} == {torch.float32}

    def test_other_weights_are_refused(self, tmp_path: Path) -> None:
        some = load_file(self.weights)
        lost = some.pop(sorted(some)[0])
        save_file({**some, "extra": lost}, tmp_path / "other.safetensors")
        with pytest.raises(ModelError, match=r"1 missing \(.*\); 1 unknown \(extra\); the settings of the network"):
            self.with_weights(tmp_path / "other.safetensors")

    def test_either_weights_or_a_network_that_is_not_in_training(self) -> None:
        made = self.build()
        for given in ({}, {"weights": self.weights, "network": made.network}):
            with pytest.raises(ValueError, match="give either weights"):
                type(made)(made.settings, categories=made.categories, **given)
        with pytest.raises(ValueError, match=r"training mode; call its eval\(\)"):
            type(made)(made.settings, categories=made.categories, network=made.network.train())
        assert made.network.training
