"""Moments, dominant lines and neighbours (Eq. 4) against the loops."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from tests.methods.entity.scenes import image_of, mixed_labels, random_features, random_signs, shuffled_pixels
from tests.reference import entity as loops
from upseg.methods.entity import lines as module
from upseg.methods.entity.equations import unit_features
from upseg.methods.entity.lines import dominant_eigenvectors, dominant_lines, entity_moments, neighbour_table

METHODS = ("eigh", "iteration")


def same_lines(first: torch.Tensor, second: torch.Tensor, tolerance: float = 1e-6) -> bool:
    """Whether lines agree up to sign; zero rows must be zero in both."""
    cosines = (first * second).sum(-1).abs()
    lengths = first.norm(dim=-1) * second.norm(dim=-1)
    return bool((lengths - cosines).abs().max() <= tolerance)


class TestMoments:
    def test_by_hand(self) -> None:
        features = torch.tensor([[[[1.0, 0.6, 0.0, 1.0]], [[0.0, 0.8, 1.0, 0.0]]]])
        labels = torch.tensor([[[1, 1, 0, -1]]])
        moments = entity_moments(features, labels, 2)
        assert torch.allclose(moments[0, 1], torch.tensor([[1.36, 0.48], [0.48, 0.64]]))
        assert moments[0, 0].tolist() == [[0, 0], [0, 1]]
        assert moments[0, 2].eq(0).all()

    @pytest.mark.parametrize("block", [module.BLOCK_ELEMENTS, 100])
    @pytest.mark.parametrize("chunk", [512, 1])
    def test_against_the_loop(self, monkeypatch: pytest.MonkeyPatch, block: int, chunk: int) -> None:
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", block)
        monkeypatch.setattr(module, "CHUNK", chunk)
        features, labels = random_features(0), mixed_labels(1)
        moments = entity_moments(features, labels, 5)
        for image in range(3):
            for entity in range(6):
                expected = loops.moment(image_of(features, image), labels[image].numpy(), entity)
                np.testing.assert_allclose(moments[image, entity].numpy(), expected, atol=1e-12)

    def test_entities_larger_than_several_chunks(self) -> None:
        features = random_features(0, images=2, dimensions=3, height=40, width=60)
        labels = torch.zeros(2, 40, 60, dtype=torch.int64)
        labels[0, 3:39], labels[1, 0, 0], labels[1, 5:] = 1, 2, -1
        pixels = features.permute(0, 2, 3, 1)
        moments = entity_moments(features, labels, 2)
        for image in range(2):
            for entity in range(3):
                members = pixels[image][labels[image] == entity]
                assert torch.allclose(moments[image, entity], members.T @ members)

    def test_memory_layout_means_nothing(self) -> None:
        features, labels = random_features(0), mixed_labels(1)
        assert torch.equal(
            entity_moments(features.contiguous(), labels, 5),
            entity_moments(features.contiguous(memory_format=torch.channels_last), labels, 5),
        )

    def test_trace_counts_pixels_and_half_precision_is_widened(self) -> None:
        features, labels = random_features(0), mixed_labels(1)
        moments = entity_moments(features.bfloat16(), labels, 5)
        assert moments.dtype == torch.float32
        counts = torch.stack([(labels == k).flatten(1).sum(1) for k in range(6)], dim=1)
        traces = moments.diagonal(dim1=2, dim2=3).sum(2)
        assert torch.allclose(traces, counts.float(), rtol=0.02)


class TestDominantLines:
    @pytest.mark.parametrize("method", METHODS)
    def test_by_hand(self, method: module.EigenMethod) -> None:
        # of (1, 0) and (0.6, 0.8) the line between them: 26.565 degrees, or tan = 0.5
        features = torch.tensor([[[[1.0, 0.6]], [[0.0, 0.8]]]])
        lines, present = dominant_lines(features, torch.tensor([[[1, 1]]]), 1, method)
        expected = torch.tensor([[[0.0, 0.0], [2.0, 1.0]]]) / math.sqrt(5)
        assert same_lines(lines, expected)
        assert present.tolist() == [[False, True]]

    @pytest.mark.parametrize("method", METHODS)
    def test_against_the_loop(self, method: module.EigenMethod) -> None:
        features, labels = random_features(2), mixed_labels(3)
        lines, present = dominant_lines(features, labels, 5, method)
        for image in range(3):
            expected = loops.target_lines(image_of(features, image), labels[image].numpy())
            assert {k for k in range(6) if present[image, k]} == expected.keys()
            for k, line in expected.items():
                assert abs(float(lines[image, k].numpy() @ line)) == pytest.approx(1, abs=1e-5)
        assert lines[~present].eq(0).all()
        assert torch.allclose(lines[present].norm(dim=-1), torch.ones(1, dtype=torch.float64))

    @pytest.mark.parametrize("method", METHODS)
    def test_no_gradient_by_default(self, method: module.EigenMethod) -> None:
        features = random_features(2).requires_grad_()
        assert not dominant_lines(features, mixed_labels(3), 5, method)[0].requires_grad

    @pytest.mark.parametrize("method", METHODS)
    def test_signs_and_order_of_pixels_mean_nothing(self, method: module.EigenMethod) -> None:
        features, labels = random_features(2), mixed_labels(3)
        lines = dominant_lines(features, labels, 5, method)[0]
        assert same_lines(lines, dominant_lines(random_signs(4, features), labels, 5, method)[0])
        assert same_lines(lines, dominant_lines(*shuffled_pixels(5, features, labels), 5, method)[0])

    def test_exchanged_labels_exchange_lines(self) -> None:
        features, labels = random_features(2), mixed_labels(3)
        order = torch.tensor([0, 3, 1, 5, 2, 4])  # the new label of each
        exchanged = torch.where(labels >= 0, order[labels.clamp(min=0)], -1)
        lines = dominant_lines(features, labels, 5)[0]
        assert same_lines(lines, dominant_lines(features, exchanged, 5)[0][:, order])

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("label", [-1, 0])
    def test_no_entity(self, method: module.EigenMethod, label: int) -> None:
        lines, present = dominant_lines(random_features(2), torch.full((3, 9, 7), label), 0, method)
        assert present.tolist() == [[label == 0]] * 3
        assert torch.allclose(lines.norm(dim=-1), present.double())

    @pytest.mark.parametrize("method", METHODS)
    def test_entity_of_one_pixel_has_its_line(self, method: module.EigenMethod) -> None:
        features, labels = random_features(2, images=1), torch.full((1, 9, 7), -1)
        labels[0, 4, 2] = 1
        lines, _ = dominant_lines(features, labels, 1, method)
        assert same_lines(lines[:, 1], features[:, :, 4, 2])

    def test_autocast_changes_nothing(self) -> None:
        features, labels = random_features(2).float(), mixed_labels(3)
        with torch.autocast("cpu", torch.bfloat16):
            lines, _ = dominant_lines(features, labels, 5)
        assert torch.equal(lines, dominant_lines(features, labels, 5)[0])

    def test_gradcheck_of_differentiable_lines(self) -> None:
        raw = torch.randn(1, 4, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        # entity 2 has fewer pixels than dimensions: the small eigenvalues are equal, the largest is not
        labels = torch.tensor([[[1, 1, 1, -1], [1, 1, 0, 0], [2, 2, 0, 0]]])

        def outer_products(values: torch.Tensor) -> torch.Tensor:
            lines, _ = dominant_lines(unit_features(values), labels, 3, "eigh", differentiable=True)
            return lines[..., :, None] * lines[..., None, :]  # no sign

        assert gradcheck(outer_products, raw.requires_grad_())

    def test_gradient_at_a_tie_is_finite(self) -> None:
        features = torch.eye(3)[None, :, None, :2].requires_grad_()  # two orthogonal pixels
        lines, _ = dominant_lines(features, torch.ones(1, 1, 2, dtype=torch.int64), 1, "eigh", differentiable=True)
        lines.sum().backward()
        assert features.grad is not None
        assert features.grad.isfinite().all()

    def test_wrong_settings(self) -> None:
        with pytest.raises(ValueError, match="need method 'eigh'"):
            dominant_lines(random_features(2), mixed_labels(3), 5, "iteration", differentiable=True)


class TestEigenvectors:
    def matrices(self, noise: float, count: int = 12, dimensions: int = 128, pixels: int = 300) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        centre = torch.nn.functional.normalize(torch.randn(count, 1, dimensions, generator=generator), dim=-1)
        raw = centre + noise * torch.randn(count, pixels, dimensions, generator=generator) / dimensions**0.5
        features = torch.nn.functional.normalize(raw, dim=-1)
        return features.mT @ features

    @pytest.mark.parametrize("noise", [0.1, 2.0, 6.0])
    def test_iteration_agrees_with_eigh(self, noise: float) -> None:
        moments = self.matrices(noise)
        assert same_lines(dominant_eigenvectors(moments, "iteration"), dominant_eigenvectors(moments, "eigh"), 3e-6)

    def test_iteration_maximises_where_nothing_dominates(self) -> None:
        moments = self.matrices(noise=100.0)
        values = torch.linalg.eigvalsh(moments)
        assert (values[:, -2] / values[:, -1]).max() > 0.97
        found = dominant_eigenvectors(moments, "iteration")[..., None]
        reached = (found.mT @ moments @ found).flatten() / values[:, -1]
        assert reached.min() > 0.999

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
    def test_of_any_scale(self, method: module.EigenMethod, scale: float) -> None:
        moments = self.matrices(2.0)
        assert same_lines(dominant_eigenvectors(moments * scale, method), dominant_eigenvectors(moments, "eigh"), 3e-6)

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("dimensions", [1, 2, 7])
    def test_equal_eigenvalues_and_few_dimensions(self, method: module.EigenMethod, dimensions: int) -> None:
        found = dominant_eigenvectors(torch.eye(dimensions).repeat(3, 1, 1), method)
        assert torch.allclose(found.norm(dim=-1), torch.ones(3))

    def test_none(self) -> None:
        assert dominant_eigenvectors(torch.zeros(0, 4, 4), "iteration").shape == (0, 4)

    def test_in_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        moments = self.matrices(0.5)
        whole = dominant_eigenvectors(moments)
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", 5 * 128**2)
        assert same_lines(dominant_eigenvectors(moments), whole, 1e-6)

    def test_unknown_method(self) -> None:
        with pytest.raises(ValueError, match="one of eigh, iteration, got 'power'"):
            inspect.unwrap(dominant_eigenvectors)(torch.eye(2)[None], "power")  # past the type checks of the tests


class TestNeighbours:
    def test_by_hand(self) -> None:
        labels = torch.zeros(1, 5, 12, dtype=torch.int64)
        labels[0, 0, 0:2], labels[0, 0:3, 4], labels[0, 4, 11], labels[0, 0, 2] = 1, 2, 3, -1
        # between 1 and 2 lie two columns, between 2 and 3 six columns and one row
        assert not neighbour_table(labels, 3, 1)[0, 1, 2]
        assert neighbour_table(labels, 3, 2)[0, 1, 2]
        assert not neighbour_table(labels, 3, 5)[0, 2, 3]
        assert neighbour_table(labels, 3, 6)[0, 2, 3]

    @pytest.mark.parametrize("reach", [0, 1, 3])
    def test_against_the_loop(self, reach: int) -> None:
        generator = torch.Generator().manual_seed(reach)
        labels = torch.full((2, 20, 30), 0)
        for entity in range(1, 9):
            y, x = (int(torch.randint(0, n, (), generator=generator)) for n in (18, 27))
            labels[entity % 2, y : y + 2, x : x + 3] = entity
        table = neighbour_table(labels, 9, reach)
        for image in range(2):
            present = loops.entities_of(labels[image].numpy())
            for k in range(10):
                for other in range(10):
                    always = k == other or 0 in (k, other)
                    both = k in present and other in present
                    near = both and loops.gap_between(labels[image].numpy(), k, other) <= reach
                    assert bool(table[image, k, other]) == (always or near), (image, k, other)

    def test_negative_reach(self) -> None:
        with pytest.raises(ValueError, match="at least 0"):
            neighbour_table(mixed_labels(0), 5, -1)
