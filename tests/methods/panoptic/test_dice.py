"""Eq. 12 to 14."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from tests.methods.panoptic.maps import ENCODINGS, array, mean_of_images, random_numbers, random_truth
from tests.reference import panoptic_equations as loops
from upseg.methods.panoptic import equations as module
from upseg.methods.panoptic.encodings import PositionalEncoding
from upseg.methods.panoptic.equations import dice_loss, membership, truth_membership

NAMES = pytest.mark.parametrize("name", ENCODINGS)
BLOCKS = pytest.mark.parametrize("block", [module.BLOCK_ELEMENTS, 60])


class TestMemberships:
    def test_truth_by_hand(self) -> None:
        labels = torch.tensor([[[7, 7, 0], [3, -1, 3]], [[0, 0, 2], [-1, -1, 0]]])
        centres = torch.zeros(2, 2, 2, 3)
        centres[:, 0] = labels / 10
        centres[:, 1] = -labels / 10
        found = truth_membership(labels, centres)
        # rows 0 and 1 are the ids 3 and 7 of the first image, row 0 the id 2 of the second; 2 is none, 3 ignored
        assert found.rows.tolist() == [[1, 1, 2, 0, 3, 0], [2, 2, 0, 3, 3, 2]]
        assert found.areas.tolist() == [[2, 2], [1, 0]]
        assert found.centres[0].tolist() == [pytest.approx([0.3, 0.7]), pytest.approx([-0.3, -0.7])]
        assert found.centres[1].tolist() == [pytest.approx([0.2, 0]), pytest.approx([-0.2, 0])]

    def test_predicted_by_hand(self) -> None:
        assert membership(torch.tensor([0.0, 1.0, 5.0])).tolist() == pytest.approx([1, math.exp(-1), math.exp(-5)])

    def test_void_is_no_member_of_anything(self) -> None:
        void, centres = torch.zeros(1, 16, 1), torch.rand(1, 2, 9) * 2 - 1
        found = membership(PositionalEncoding().squared_distances(void, centres))
        assert torch.allclose(found, torch.tensor(math.exp(-8)))


class TestDice:
    @NAMES
    @BLOCKS
    def test_against_the_loops(self, monkeypatch: pytest.MonkeyPatch, name: str, block: int) -> None:
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", block)
        encoding, loop = ENCODINGS[name]
        truth, predicted = random_truth(0), random_numbers(1, 3, encoding.channels, 5, 4)
        if name != "bins":  # near enough to the truth to be members of something
            predicted = predicted / 10 + encoding.targets(truth.centres, truth.inside)
        images = [
            loops.dice_loss(loop, array(p), array(c), array(i))
            for p, c, i in zip(predicted, truth.centres, truth.labels, strict=True)
        ]
        assert 0 < images[0] < 1
        assert images[2] == 0
        found = dice_loss(predicted, truth.centres, truth.labels, encoding.squared_distances)
        assert found.item() == pytest.approx(mean_of_images(images))

    @NAMES
    @BLOCKS
    def test_gradients(self, monkeypatch: pytest.MonkeyPatch, name: str, block: int) -> None:
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", block)
        encoding, _ = ENCODINGS[name]
        truth, predicted = random_truth(3, 3, 2), random_numbers(1, 3, encoding.channels, 3, 2) / 3
        arguments = truth.centres, truth.labels, encoding.squared_distances
        assert gradcheck(lambda values: dice_loss(values, *arguments), predicted.requires_grad_(), fast_mode=True)

    @NAMES
    def test_numbers_of_instances_mean_nothing(self, name: str) -> None:
        encoding, _ = ENCODINGS[name]
        truth, predicted = random_truth(0), random_numbers(1, 3, encoding.channels, 5, 4) / 3
        table = torch.tensor([0, 40, 2, 9, 1, 3, -1])  # the last is the one of -1
        expected = dice_loss(predicted, truth.centres, truth.labels, encoding.squared_distances)
        found = dice_loss(predicted, truth.centres, table[truth.labels], encoding.squared_distances)
        assert found.item() == pytest.approx(expected.item())

    def test_order_of_pixels_means_nothing(self) -> None:
        encoding, _ = ENCODINGS["positional"]
        truth, predicted = random_truth(0), random_numbers(1, 3, encoding.channels, 5, 4) / 3
        order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
        parts = (predicted, truth.centres, truth.labels)
        shuffled = (part.flatten(-2)[..., order].view_as(part) for part in parts)
        expected = dice_loss(*parts, encoding.squared_distances)
        assert dice_loss(*shuffled, encoding.squared_distances).item() == pytest.approx(expected.item())

    def test_perfect_predictions_cost_little_and_swapped_ones_much(self) -> None:
        encoding = PositionalEncoding()
        labels = torch.tensor([[[1, 1, 1, 0, 2, 2]]])
        centres = torch.where(labels[:, None] == 1, -0.5, 0.3).expand(-1, 2, -1, -1).contiguous()
        right = encoding.targets(centres, labels > 0)
        wrong = encoding.targets(-0.4 - centres.flip(3), labels > 0)
        assert dice_loss(right, centres, labels, encoding.squared_distances).item() < 0.01
        assert dice_loss(wrong, centres, labels, encoding.squared_distances).item() > 0.9

    def test_small_instances_count_as_much_as_large_ones(self) -> None:
        """Weights 1 / area: without them one lost pixel among a hundred would be nothing."""
        encoding = PositionalEncoding()
        labels = torch.ones(1, 10, 10, dtype=torch.int64)
        labels[0, 0, 0] = 2
        centres = torch.where(labels[:, None] == 1, -0.5, 0.3).expand(-1, 2, -1, -1).contiguous()
        lost = encoding.targets(torch.full_like(centres, -0.5), labels > 0)
        assert dice_loss(lost, centres, labels, encoding.squared_distances).item() > 0.3

    @NAMES
    @pytest.mark.parametrize("kind", ["background", "ignored", "one pixel", "one instance"])
    @pytest.mark.parametrize("size", [(1, 1), (3, 5)])
    def test_degenerate_images(self, name: str, kind: str, size: tuple[int, int]) -> None:
        encoding, _ = ENCODINGS[name]
        labels = torch.full((2, *size), {"ignored": -1, "one instance": 4}.get(kind, 0))
        if kind == "one pixel":
            labels[1, 0, 0] = 1
        predicted = (random_numbers(0, 2, encoding.channels, *size) / 3).float().requires_grad_()
        loss = dice_loss(predicted, torch.full((2, 2, *size), 0.25), labels, encoding.squared_distances)
        loss.backward()
        assert (loss > 0) == ("one" in kind)
        assert predicted.grad is not None
        assert predicted.grad.isfinite().all()
        assert predicted.grad.any() == ("one" in kind)
