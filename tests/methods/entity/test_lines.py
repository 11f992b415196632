"""Target lines (Eq. 4) against the loops."""

import math

import pytest
import torch

from tests.methods.entity.scenes import (
    image_of,
    mixed_labels,
    random_features,
    random_signs,
    same_lines,
    shuffled_pixels,
)
from tests.reference import entity as loops
from upseg.methods.entity.equations import dominant_lines


class TestDominantLines:
    def test_by_hand(self) -> None:
        # of (1, 0) and (0.6, 0.8) the line between them: 26.565 degrees, or tan = 0.5
        features = torch.tensor([[[[1.0, 0.6]], [[0.0, 0.8]]]])
        lines, present = dominant_lines(features, torch.tensor([[[1, 1]]]), 1)
        expected = torch.tensor([[[0.0, 0.0], [2.0, 1.0]]]) / math.sqrt(5)
        assert same_lines(lines, expected)
        assert present.tolist() == [[False, True]]

    def test_against_the_loop(self) -> None:
        features, labels = random_features(2), mixed_labels(3)
        lines, present = dominant_lines(features, labels, 5)
        for image in range(3):
            expected = loops.target_lines(image_of(features, image), labels[image].numpy())
            assert {k for k in range(6) if present[image, k]} == expected.keys()
            for k, line in expected.items():
                assert abs(float(lines[image, k].numpy() @ line)) == pytest.approx(1, abs=1e-5)
        assert lines[~present].eq(0).all()
        assert torch.allclose(lines[present].norm(dim=-1), torch.ones(1, dtype=torch.float64))

    def test_no_gradient(self) -> None:
        features = random_features(2).requires_grad_()
        assert not dominant_lines(features, mixed_labels(3), 5)[0].requires_grad

    def test_signs_and_order_of_pixels_mean_nothing(self) -> None:
        features, labels = random_features(2), mixed_labels(3)
        lines = dominant_lines(features, labels, 5)[0]
        assert same_lines(lines, dominant_lines(random_signs(4, features), labels, 5)[0])
        assert same_lines(lines, dominant_lines(*shuffled_pixels(5, features, labels), 5)[0])

    def test_exchanged_labels_exchange_lines(self) -> None:
        features, labels = random_features(2), mixed_labels(3)
        order = torch.tensor([0, 3, 1, 5, 2, 4])  # the new label of each
        exchanged = torch.where(labels >= 0, order[labels.clamp(min=0)], -1)
        lines = dominant_lines(features, labels, 5)[0]
        assert same_lines(lines, dominant_lines(features, exchanged, 5)[0][:, order])

    @pytest.mark.parametrize("label", [-1, 0])
    def test_no_entity(self, label: int) -> None:
        lines, present = dominant_lines(random_features(2), torch.full((3, 9, 7), label), 0)
        assert present.tolist() == [[label == 0]] * 3
        assert torch.allclose(lines.norm(dim=-1), present.double())

    def test_entity_of_one_pixel_has_its_line(self) -> None:
        features, labels = random_features(2, images=1), torch.full((1, 9, 7), -1)
        labels[0, 4, 2] = 1
        lines, _ = dominant_lines(features, labels, 1)
        assert same_lines(lines[:, 1], features[:, :, 4, 2])

    def test_autocast_changes_nothing(self) -> None:
        features, labels = random_features(2).float(), mixed_labels(3)
        with torch.autocast("cpu", torch.bfloat16):
            lines, _ = dominant_lines(features, labels, 5)
        assert torch.equal(lines, dominant_lines(features, labels, 5)[0])
