"""The whole method: it keeps the contract of all methods, finds what was drawn, and makes sense of photos."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from sklearn.cluster import KMeans

import upseg
from tests.methods.contract import SegmenterContract, assert_valid, drawn_image
from tests.methods.dynaseg.scenes import disc_on_texture, flat_regions, touching_rectangles
from upseg.data.sources.bsds500 import BSDS500
from upseg.errors import ModelError
from upseg.functional.label_maps import canonical_order, connected_components
from upseg.methods.dynaseg import DynaSegSegmenter, DynaSegSettings
from upseg.methods.dynaseg.extensions.hierarchy import DEFAULT_DETAIL
from upseg.metrics.region_iou import RegionIoU, best_region_ious


def segmenter(preset: str = "default", **changes: object) -> DynaSegSegmenter:
    return DynaSegSegmenter(DynaSegSettings.preset(preset, **changes))


def stop(done: int, total: int) -> None:
    raise RuntimeError(f"stop after step {done} of {total}")


class TestDefaultPreset(SegmenterContract):
    method = "dynaseg"

    def build(self, seed: int = 0) -> DynaSegSegmenter:
        return segmenter(seed=seed)


class TestFitted(SegmenterContract):
    method = "dynaseg"

    def build(self, seed: int = 0) -> DynaSegSegmenter:
        return segmenter(steps=3, seed=seed)


class TestPaperPreset(SegmenterContract):
    method = "dynaseg"

    def build(self, seed: int = 0) -> DynaSegSegmenter:
        return segmenter("paper", steps=2, floor=2, seed=seed)


class TestResNet(SegmenterContract):
    method = "dynaseg"

    def build(self, seed: int = 0) -> DynaSegSegmenter:
        return segmenter(extractor="resnet18-fpn", pretrained=False, steps=2, floor=2, seed=seed)


class TestSettings:
    """What the settings ask for is done."""

    def test_the_default_preset_without_any(self) -> None:
        assert DynaSegSegmenter().settings == DynaSegSettings.preset("default")

    def test_all_settings_are_in_the_provenance(self) -> None:
        settings = DynaSegSettings.preset("paper", steps=1, floor=2, seed=8)
        provenance = DynaSegSegmenter(settings).segment(drawn_image(9, 11)).provenance
        assert provenance == {"method": "dynaseg", "settings": asdict(settings)}

    def test_labels_can_stay_as_they_are(self) -> None:
        image = drawn_image(33, 47)
        whole, parts = (
            segmenter("paper", steps=2, floor=2, clusters=9, connected=connected).segment(image).labels
            for connected in (False, True)
        )
        assert whole.max() <= 9 < parts.max()
        np.testing.assert_array_equal(connected_components(whole), parts)

    def test_the_detail_of_the_settings_is_the_level_of_the_hierarchy(self) -> None:
        image = drawn_image(33, 47)
        hierarchy = segmenter(steps=3, floor=2).hierarchy(image)
        for detail in (0.0, 0.7, 1.0, None):
            expected = hierarchy.at(DEFAULT_DETAIL if detail is None else detail)
            np.testing.assert_array_equal(segmenter(steps=3, floor=2, detail=detail).segment(image).labels, expected)

    @pytest.mark.parametrize("grouping", ["hierarchy", "labels"])
    def test_threads_are_limited_while_it_works_and_then_as_before(self, grouping: str) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(3)
        try:
            for limit, expected in ((1, 1), (2, 2), (None, 3)):
                seen: list[int] = []
                segmenter(steps=1, floor=2, threads=limit, grouping=grouping).segment(
                    drawn_image(9, 11), progress=lambda *_, seen=seen: seen.append(torch.get_num_threads())
                )
                assert (seen, torch.get_num_threads()) == ([expected], 3)
            with pytest.raises(RuntimeError, match="stop"):
                segmenter(steps=1, floor=2).segment(drawn_image(9, 11), progress=stop)
            assert torch.get_num_threads() == 3
        finally:
            torch.set_num_threads(threads)

    def test_the_seed_matters(self) -> None:
        image = drawn_image(33, 47)
        maps = [segmenter("paper", steps=2, floor=2, seed=seed).segment(image).labels for seed in (1, 2)]
        assert not np.array_equal(*maps)

    @pytest.mark.parametrize(("grouping", "steps", "least"), [("hierarchy", 0, 0.8), ("labels", 10, 0.5)])
    def test_a_reduced_image_gives_a_result_of_its_own_size(self, grouping: str, steps: int, least: float) -> None:
        image, truth = flat_regions()
        # 33 x 45 pixels are too few for features at a stride of 16
        result = segmenter(working_pixels=1500, grouping=grouping, steps=steps, compare_by="colour").segment(image)
        assert_valid(result, truth.shape)
        assert best_region_ious(truth, result.labels).mean() >= least

    def test_files_arrays_and_the_public_function_agree(self, tmp_path: Path) -> None:
        image = drawn_image(33, 47)
        Image.fromarray(image).save(tmp_path / "drawn.png")
        expected = segmenter(steps=2, floor=2).segment(image)
        assert segmenter(steps=2, floor=2).segment(tmp_path / "drawn.png") == expected
        assert segmenter(steps=2, floor=2).segment(Image.fromarray(image)) == expected
        assert upseg.segment(image, "dynaseg", device="cpu", steps=2, floor=2) == expected


class TestFindsWhatWasDrawn:
    @pytest.mark.parametrize("scene", [flat_regions, disc_on_texture, touching_rectangles])
    def test_regions(self, scene: Callable[[], tuple[np.ndarray, np.ndarray]]) -> None:
        image, truth = scene()
        hierarchy = segmenter().hierarchy(image)
        scores = {d: float(best_region_ious(truth, hierarchy.at(d)).mean()) for d in np.linspace(0, 1, 11).tolist()}
        assert max(scores.values()) >= 0.95, scores
        assert best_region_ious(truth, hierarchy.at(DEFAULT_DETAIL)).mean() >= 0.85, scores

    def test_a_constant_image_is_one_segment(self) -> None:
        for value in (0.0, 0.4, 1.0):
            assert len(segmenter(steps=2).segment(np.full((40, 30, 3), value, np.float32))) == 1

    def test_labels_of_the_paper_s_way_follow_the_regions(self) -> None:
        image, truth = flat_regions()
        settings = {"features": 32, "clusters": 32, "steps": 30, "floor": 4}
        result = segmenter("paper", **settings).segment(image)
        assert best_region_ious(truth, result.labels).mean() >= 0.7

    def test_a_photo_has_a_few_some_or_many_segments(self) -> None:
        image = data.coffee()[::3, ::3]
        hierarchy = segmenter().hierarchy(image)
        few, some, many = (int(hierarchy.at(detail).max()) for detail in (0.0, 0.5, 1.0))
        assert 1 <= few < some < many
        assert few <= 40
        assert 5 <= some <= 400
        assert many < image[..., 0].size / 10

    def test_hardly_a_pixel_of_a_reduced_photo_is_cut_off_from_its_segment(self) -> None:
        image = data.coffee()[::3, ::3]
        hierarchy = segmenter(working_pixels=6000).hierarchy(image)
        for detail in (0.0, 0.5, 1.0):
            labels = hierarchy.at(detail)
            parts = connected_components(labels)
            areas, owners = np.bincount(parts.ravel())[1:], labels.ravel()[np.unique(parts, return_index=True)[1]]
            largest = np.zeros(int(labels.max()) + 1, np.int64)
            np.maximum.at(largest, owners, areas)
            assert largest.sum() >= 0.99 * labels.size


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("UPSEG_DATA"), reason="UPSEG_DATA names no folder with real data")
def test_real_photos_are_segmented_better_than_by_colours_alone() -> None:
    source = BSDS500(Path(os.environ["UPSEG_DATA"]) / "bsds500", "train")
    scores = {name: RegionIoU() for name in ("dynaseg", "colours", "parts of colours")}
    for index in range(3):
        photo = source[index]
        image = photo.image
        clusters = KMeans(5, n_init=1, random_state=0).fit_predict(image.reshape(-1, 3)).reshape(image.shape[:2])
        predictions = {
            "dynaseg": segmenter().segment(image).labels,
            "colours": canonical_order(clusters + 1)[0],
            "parts of colours": connected_components(clusters + 1),
        }
        for name, labels in predictions.items():
            scores[name].update(photo.annotations, labels)
    means = {name: metric.compute()["mean"] for name, metric in scores.items()}
    assert means["dynaseg"] > means["parts of colours"] > means["colours"]


def test_snapshots_show_the_fit_and_leave_the_answer_as_it_is() -> None:
    model, image = segmenter(steps=4, floor=2), drawn_image(20, 24)
    before = model.segment(image)
    strip = model.picture(image, "snapshots", 2)
    assert model.segment(image) == before
    pictures = round(strip.shape[1] / (24 + 2))  # steps 0 and 2, and the end, with gaps between them
    assert pictures == 3
    with pytest.raises(ModelError, match="snapshots are of a fit, and steps is 0"):
        DynaSegSegmenter().picture(image)
