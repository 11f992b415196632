"""The fit: step for step the paper's plain loop, its end at the floor, crops, seeds, and what must stay as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.reference.dynaseg import paper_loop
from upseg.methods.dynaseg import fit as module
from upseg.methods.dynaseg.equations import cluster_labels
from upseg.methods.dynaseg.fit import CROPS_FOR_FLOOR, Fit, build_network, fit_network, whole_response
from upseg.methods.dynaseg.losses import fused_total_loss
from upseg.methods.dynaseg.network import DynaSegNetwork, ResNetPyramidExtractor
from upseg.methods.dynaseg.settings import DynaSegSettings


def small_settings(**changes: object) -> DynaSegSettings:
    values = {"features": 8, "clusters": 6, "crop": None, "precision": "float32", "steps": 12, "seed": 3}
    return DynaSegSettings(**{**values, **changes})


def noisy_slope(height: int = 30, width: int = 36, seed: int = 1) -> Tensor:
    """(1, 3, H, W): three colour patches on a slope, with noise so that no two neighbours are equal."""
    rows, columns = np.mgrid[:height, :width]
    base = np.stack([rows / height, columns / width, (rows + columns < 30) * 0.8])
    noise = np.random.default_rng(seed).normal(0, 0.08, base.shape)
    return torch.from_numpy(np.clip(base + noise, 0, 1).astype(np.float32))[None]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def record_crops(monkeypatch: pytest.MonkeyPatch, clusters: int) -> list[tuple[Tensor, set[int]]]:
    """What each forward pass of the next fit sees, and the labels it gives."""
    seen: list[tuple[Tensor, set[int]]] = []

    def build(settings: DynaSegSettings) -> DynaSegNetwork:
        network = build_network(settings)
        network.register_forward_hook(
            lambda _, inputs, response: seen.append(
                (inputs[0].clone(), set(cluster_labels(response).unique().tolist()))
            )
        )
        return network

    monkeypatch.setattr(module, "build_network", build)
    return seen


class TestAgainstThePlainLoop:
    @pytest.mark.parametrize(("weighting", "alpha"), [("fsf", 15.0), ("scf", 50.0), ("fixed", 5.0)])
    @pytest.mark.parametrize(
        ("dtype", "steps", "clusters", "tolerance"), [("float32", 4, 6, 1e-4), ("float64", 15, 16, 1e-8)]
    )
    def test_step_for_step(
        self, weighting: str, alpha: float, dtype: str, steps: int, clusters: int, tolerance: float
    ) -> None:
        # rounding grows from step to step: in float32 it soon passes 1e-4, in float64 it stays small
        with default_dtype(getattr(torch, dtype)):
            image = noisy_slope().to(torch.get_default_dtype())
            options = {"weighting": weighting, "steps": steps, "clusters": clusters}
            plain = paper_loop(image[0], alpha=alpha, floor=0, features=8, seed=3, **options)
            settings = small_settings(**options)
            fit = fit_network(image, settings, floor=0)
            labels = cluster_labels(whole_response(fit.network, image, settings))[0]
        assert fit.losses == pytest.approx(plain.losses, rel=tolerance)
        assert fit.label_counts == plain.label_counts[:-1]  # the plain loop looks once more after its last update
        assert (labels == plain.labels).float().mean() >= 0.999
        assert len(plain.labels.unique()) > 1

    @pytest.mark.parametrize(("weighting", "alpha", "floor"), [("fsf", 0.5, 3), ("scf", 50.0, 3), ("fixed", 5.0, 4)])
    def test_the_floor_ends_it_at_the_same_step(self, weighting: str, alpha: float, floor: int) -> None:
        image = noisy_slope()
        options = {"weighting": weighting, "alpha": alpha, "steps": 80}
        plain = paper_loop(image[0], floor=floor, features=8, clusters=6, seed=3, **options)
        settings = small_settings(**options)
        fit = fit_network(image, settings, floor)
        assert len(fit.losses) == len(plain.losses) < 80
        assert fit.label_counts == plain.label_counts
        assert fit.label_counts[-1] <= floor < min(fit.label_counts[:-1])
        labels = cluster_labels(whole_response(fit.network, image, settings))[0]
        assert (labels == plain.labels).float().mean() >= 0.999

    def test_no_steps(self) -> None:
        image = noisy_slope()
        settings = small_settings(steps=0)
        fit = fit_network(image, settings, floor=3)
        assert (fit.label_counts, fit.losses) == ([], [])
        plain = paper_loop(image[0], steps=0, floor=0, features=8, clusters=6, seed=3)
        assert torch.equal(cluster_labels(whole_response(fit.network, image, settings))[0], plain.labels)

    def test_a_floor_that_is_met_at_once_leaves_the_first_weights(self) -> None:
        settings = small_settings()
        fit = fit_network(noisy_slope(), settings, floor=6)
        assert (len(fit.label_counts), fit.losses) == (1, [])
        for fitted, first in zip(fit.network.parameters(), build_network(settings).parameters(), strict=True):
            assert torch.equal(fitted, first)


class TestCrops:
    def test_each_step_sees_a_square_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = record_crops(monkeypatch, 6)
        image = noisy_slope()
        fit_network(image, small_settings(crop=10), floor=0)
        crops = [crop for crop, _ in seen]
        assert len(crops) == 12
        assert {crop.shape for crop in crops} == {(1, 3, 10, 10)}
        windows = image.unfold(2, 10, 1).unfold(3, 10, 1)  # (1, 3, rows, columns, 10, 10)
        places = [(windows == crop[:, :, None, None]).all(-1).all(-1).all(1)[0].nonzero().tolist() for crop in crops]
        assert [len(found) for found in places] == [1] * 12  # each is a piece of the image as it is
        rows, columns = zip(*(found[0] for found in places), strict=True)
        assert min(len(set(rows)), len(set(columns))) >= 6

    def test_only_the_short_side_is_taken_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = record_crops(monkeypatch, 6)
        fit_network(noisy_slope(8, 36), small_settings(crop=10, steps=5), floor=0)
        assert {crop.shape for crop, _ in seen} == {(1, 3, 8, 10)}

    @pytest.mark.parametrize("crop", [36, 1000])
    def test_larger_than_the_image_is_the_whole_image(self, crop: int) -> None:
        image = noisy_slope()
        with_crop = fit_network(image, small_settings(crop=crop), floor=0)
        without = fit_network(image, small_settings(), floor=0)
        assert with_crop.losses == without.losses

    def test_the_labels_of_several_crops_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = record_crops(monkeypatch, 6)
        fit = fit_network(noisy_slope(), small_settings(crop=6), floor=0)
        labels = [used for _, used in seen]
        recent = [labels[max(0, step - CROPS_FOR_FLOOR + 1) : step + 1] for step in range(len(labels))]
        assert fit.label_counts == [len(set.union(*sets)) for sets in recent]

    def test_the_balance_follows_the_labels_of_this_crop_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Eq. 8 has the q' of the pixels whose loss it weighs, whatever the crops before had."""
        seen, weights = record_crops(monkeypatch, 6), []

        def loss(response: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
            weights.append(float(weight))
            return fused_total_loss(response, labels, weight)

        monkeypatch.setattr(module, "fused_total_loss", loss)
        fit = fit_network(noisy_slope(), small_settings(crop=6), floor=0)
        own = [len(used) for _, used in seen]
        assert own != fit.label_counts  # the crops before had others
        assert weights == pytest.approx([count / 15 for count in own])

    def test_one_poor_crop_does_not_end_it(self) -> None:
        fit = fit_network(noisy_slope(), small_settings(crop=6), floor=6)
        assert len(fit.label_counts) == CROPS_FOR_FLOOR
        assert len(fit.losses) == CROPS_FOR_FLOOR - 1


class TestSeeds:
    def test_the_seed_decides(self) -> None:
        image = noisy_slope()

        def losses(seed: int) -> list[float]:
            return fit_network(image, small_settings(crop=10, seed=seed, steps=4), floor=0).losses

        assert losses(5) == losses(5) != losses(6)

    def test_the_global_state_neither_matters_nor_changes(self) -> None:
        torch.manual_seed(11)
        before = torch.get_rng_state()
        first = fit_network(noisy_slope(), small_settings(crop=10, steps=4), floor=0)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(12)
        assert fit_network(noisy_slope(), small_settings(crop=10, steps=4), floor=0).losses == first.losses


class TestNetworkAndResponse:
    def test_the_settings_make_the_network(self, tmp_path: Path) -> None:
        network = build_network(small_settings(blocks=2))
        assert (network.extractor.out_channels, network.clusters, len(network.extractor.layers)) == (8, 6, 6)
        torch.manual_seed(1)
        backbone = ResNetPyramidExtractor(8).backbone
        save_file(backbone.state_dict(), tmp_path / "resnet18.safetensors")
        weights = str(tmp_path / "resnet18.safetensors")
        network = build_network(small_settings(extractor="resnet18-fpn", weights=weights))
        assert isinstance(network.extractor, ResNetPyramidExtractor)
        assert torch.equal(network.extractor.backbone.conv1.weight, backbone.conv1.weight)

    def test_the_response_is_normalised_by_the_image_itself(self) -> None:
        image = noisy_slope()
        settings = small_settings()
        fit = fit_network(image, settings, floor=0)
        response = whole_response(fit.network, image, settings)
        assert fit.network.training
        assert not response.requires_grad
        shift, scale = fit.network.normalization.bias, fit.network.normalization.weight
        torch.testing.assert_close(response.mean((0, 2, 3)), shift.detach(), atol=1e-4, rtol=0)
        torch.testing.assert_close(response.std((0, 2, 3)), scale.detach().abs(), atol=0.02, rtol=0)
        assert torch.equal(whole_response(fit.network, image, settings), response)

    def test_bfloat16_is_close_to_float32_and_leaves_the_weights_exact(self) -> None:
        image = noisy_slope()
        fits: dict[str, Fit] = {}
        for precision in ("float32", "bfloat16"):
            settings = small_settings(precision=precision, steps=3)
            fits[precision] = fit_network(image, settings, floor=0)
            response = whole_response(fits[precision].network, image, settings)
            assert response.dtype == getattr(torch, precision)
            assert {parameter.dtype for parameter in fits[precision].network.parameters()} == {torch.float32}
        assert fits["bfloat16"].losses == pytest.approx(fits["float32"].losses, rel=0.05)
        assert fits["bfloat16"].losses != fits["float32"].losses


def test_progress_counts_the_steps() -> None:
    calls: list[tuple[int, int]] = []
    fit_network(noisy_slope(), small_settings(steps=4), floor=0, progress=lambda done, all_: calls.append((done, all_)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    calls.clear()
    fit_network(noisy_slope(), small_settings(steps=0), floor=0, progress=lambda done, all_: calls.append((done, all_)))
    assert calls == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_follows_the_processor_and_stops_at_most_one_step_later() -> None:
    image = noisy_slope()
    settings = small_settings(steps=80)
    here, there = (fit_network(image.to(device), settings, floor=4) for device in ("cpu", "cuda"))
    assert there.losses[:5] == pytest.approx(here.losses[:5], rel=1e-2)
    assert min(there.label_counts[:-2]) > 4 >= there.label_counts[-2]
