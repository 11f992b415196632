"""Eq. 1 to 3, 5, 6 and 9: by hand, and gradients; `test_lines.py` has Eq. 4, `test_segment_space.py` 7 and 8."""

import math
from dataclasses import asdict

import pytest
import torch
from torch.autograd import gradcheck

from tests.methods.entity.scenes import mixed_labels, random_raw
from upseg.methods.entity import equations as eq
from upseg.methods.entity.equations import LossWeights
from upseg.methods.entity.pixels import similarity_table

ALL_OF_THEM = tuple(asdict(LossWeights()))


class TestProjectiveSphere:
    def test_unit_features(self) -> None:
        raw = torch.tensor([3.0, 4.0, 0.0, 0.0])[None, :, None, None].repeat(1, 1, 2, 1)
        raw[0, :, 1] = 0
        features = eq.unit_features(raw)
        assert features[0, :, 0, 0].tolist() == pytest.approx([0.6, 0.8, 0, 0])
        assert features[0, :, 1, 0].eq(0).all()
        assert features.is_contiguous(memory_format=torch.channels_last)

    def test_unit_features_of_half_precision(self) -> None:
        features = eq.unit_features(random_raw(0).bfloat16())
        assert features.dtype == torch.float32
        assert torch.allclose(features.norm(dim=1), torch.ones(3, 9, 7))

    def test_distance(self) -> None:
        first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
        second = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [0.6, 0.8], [-0.6, -0.8]])
        assert eq.projective_distance(first, second).tolist() == pytest.approx([1, 0, 0.4, 0])

    def test_unit_length_by_hand(self) -> None:
        raw = torch.tensor([[[[3.0, 0.0, 9.0]], [[4.0, 0.5, 9.0]]], [[[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]]]])
        valid = torch.tensor([[[True, True, False]], [[False, False, False]]])
        # |1 - 5| and |1 - 0.5| in the first image, nothing in the second
        assert eq.unit_length_loss(raw, valid).item() == pytest.approx((4 + 0.5) / 2 / 2)

    def test_gradchecks(self) -> None:
        raw, valid = random_raw(0, 2, 3, 2, 3), mixed_labels(0, 2, 3)[:2] >= 0
        assert gradcheck(eq.unit_features, raw.requires_grad_())
        assert gradcheck(lambda values: eq.unit_length_loss(values, valid), raw)
        assert gradcheck(eq.projective_distance, (raw[0, :, 0], raw[1, :, 0]))


class TestAttractionAndRepulsion:
    # pixels of background, 1, 2 (row) against the lines of these (column)
    TABLE = torch.tensor([[[0.9, 0.2, 0.4], [0.1, 0.8, 0.3], [0.5, 0.6, 0.7]]])
    PRESENT, ENTITIES = torch.tensor([[True, True, True]]), torch.tensor([[False, True, True]])

    def test_attraction_by_hand(self) -> None:
        assert eq.attraction_loss(self.TABLE, self.ENTITIES).item() == pytest.approx((0.2 + 0.3) / 2)
        assert eq.attraction_loss(self.TABLE, self.PRESENT).item() == pytest.approx((0.1 + 0.2 + 0.3) / 3)
        one = torch.tensor([[False, True, False]])
        assert eq.attraction_loss(self.TABLE, one).item() == pytest.approx(0.2)

    def test_repulsion_by_hand(self) -> None:
        background, entities = 0.1 + 0.5 + 0.2 + 0.4, 0.3 + 0.6
        loss = eq.repulsion_loss(self.TABLE, self.PRESENT)
        assert loss.item() == pytest.approx((background + entities) / math.sqrt(3))
        without = torch.tensor([[False, True, True]])
        assert eq.repulsion_loss(self.TABLE, without).item() == pytest.approx(entities / math.sqrt(3))

    def test_repulsion_of_neighbours_alone(self) -> None:
        near = torch.ones(1, 3, 3, dtype=torch.bool)
        near[0, 1, 2] = near[0, 2, 1] = False
        loss = eq.repulsion_loss(self.TABLE, self.PRESENT, near)
        assert loss.item() == pytest.approx((0.1 + 0.5 + 0.2 + 0.4) / math.sqrt(3))

    def test_means_over_images(self) -> None:
        table, present = self.TABLE.repeat(2, 1, 1), torch.tensor([[True] * 3, [True, False, False]])
        entities = torch.tensor([[False, True, True], [False] * 3])
        assert eq.attraction_loss(table, entities).item() == pytest.approx(0.25 / 2)
        assert eq.repulsion_loss(table, present).item() == pytest.approx(2.1 / math.sqrt(3) / 2)

    def test_gradchecks(self) -> None:
        raw, labels = random_raw(3, 3, 4, 3, 4), mixed_labels(4, 3, 4)
        lines, present = eq.dominant_lines(eq.unit_features(raw), labels, 5)

        def losses(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            table = similarity_table(eq.unit_features(values), labels, lines)
            return eq.attraction_loss(table, present), eq.repulsion_loss(table, present)

        assert gradcheck(losses, raw.requires_grad_())


class TestTotal:
    def test_by_hand(self) -> None:
        terms = {name: torch.tensor(float(10**place)) for place, name in enumerate(ALL_OF_THEM)}
        # attraction, repulsion, segment, contrast, gradient, unit length
        expected = 1 + 10 + 100 + 0.125 * 1e3 + 0.025 * 1e4 + 0.05 * 1e5
        assert eq.total_loss(terms, LossWeights()).item() == pytest.approx(expected)

    def test_unknown_or_no_terms(self) -> None:
        with pytest.raises(ValueError, match="got none"):
            eq.total_loss({}, LossWeights())
        with pytest.raises(ValueError, match="got edges"):
            eq.total_loss({"edges": torch.tensor(1.0)}, LossWeights())

    def test_wrong_weights(self) -> None:
        with pytest.raises(ValueError, match="the weight contrast must be"):
            LossWeights(contrast=-1.0)
