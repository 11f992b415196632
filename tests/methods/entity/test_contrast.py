"""L_rc: values by hand, the loop with its own hash, what is drawn, gradients, images without pairs."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from tests.methods.entity.scenes import image_of, mixed_labels, random_features, random_raw
from tests.reference import entity as loops
from upseg.methods.entity import contrast as module
from upseg.methods.entity.contrast import regional_contrast_loss
from upseg.methods.entity.equations import dominant_lines, unit_features
from upseg.methods.entity.pixels import group_pixels

SEEDS = torch.tensor([5, -7, 2**62 + 11])


def loss_of(
    features: torch.Tensor,
    labels: torch.Tensor,
    seeds: torch.Tensor = SEEDS,
    near: torch.Tensor | None = None,
    void: bool = False,
    queries: int = 256,
    negatives: int = 40,
    count: int = 5,
) -> torch.Tensor:
    lines, entities = lines_of_entities(features, labels, count, void)
    return regional_contrast_loss(features, labels, lines, entities, seeds, near, queries, negatives)


def lines_of_entities(
    features: torch.Tensor, labels: torch.Tensor, count: int, void: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    lines, entities = dominant_lines(features.detach(), labels, count)
    if void:
        lines[:, 0] = torch.eye(lines.shape[2], dtype=lines.dtype)[0]
    entities[:, 0] &= void
    return lines, entities


def near_in_pairs() -> torch.Tensor:
    """1 and 2 are near each other, 3 and 4 are, 5 is alone; everybody is near the background."""
    near = torch.block_diag(*(torch.ones(n, n) for n in (1, 2, 2, 1))).bool()
    near[0] = near[:, 0] = True
    return near.repeat(3, 1, 1)


class TestValues:
    def test_by_hand(self) -> None:
        # two entities of constant features at 60 degrees: all keys are equal, whatever is drawn
        features = torch.tensor([[[[1.0, 1.0, 0.5]], [[0.0, 0.0, math.sqrt(0.75)]]]])
        loss = loss_of(features, torch.tensor([[[1, 1, 2]]]), SEEDS[:1], negatives=512, count=2)
        assert loss.item() == pytest.approx(math.log(1 + 512 * math.exp((0.5 - 1) / 0.5)), rel=1e-5)

    def test_mean_over_images_and_entities(self) -> None:
        features = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]]]).repeat(2, 1, 1, 1)
        labels = torch.tensor([[[1, 2, 3]], [[1, 1, 0]]])  # 1 and 2 are parallel, 3 is orthogonal; 1 has no other
        count = 100_000
        lines, entities = lines_of_entities(features, labels, 3)
        loss = regional_contrast_loss(features, labels, lines, entities, SEEDS[:2], negatives=count)
        same, other = math.exp(2), 1.0  # similarities 1 and 0 over the temperature 0.5
        share = same / (same + other)  # drawn by the softmax of the same similarities
        towards = math.log(1 + count * (share * same + (1 - share) * other) / same)
        away = math.log(1 + count * other / same)
        assert loss.item() == pytest.approx((2 * towards + away) / 3 / 2, rel=1e-3)

    @pytest.mark.parametrize("void", [False, True])
    @pytest.mark.parametrize("near", [None, near_in_pairs()])
    @pytest.mark.parametrize("block", [module.BLOCK_ELEMENTS, 500])
    def test_against_the_loop(
        self, monkeypatch: pytest.MonkeyPatch, void: bool, near: torch.Tensor | None, block: int
    ) -> None:
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", block)
        features, labels = random_features(0), mixed_labels(1)
        expected = 0.0
        for image in range(3):
            table = None if near is None else near[image].numpy()
            arguments = image_of(features, image), labels[image].numpy(), int(SEEDS[image]), void, table
            expected += loops.contrast_loss(*arguments, queries=6, negatives=40) / 3
        found = loss_of(features.requires_grad_(), labels, near=near, void=void, queries=6)
        assert found.item() == pytest.approx(expected)

    def test_gradcheck(self) -> None:
        raw = random_raw(2, images=1, dimensions=4, height=1, width=9)
        labels = torch.tensor([[[1, 1, 1, 1, 2, 2, 2, 3, 0]]])
        lines, entities = lines_of_entities(unit_features(raw), labels, 3)
        near = torch.zeros(1, 4, 4, dtype=torch.bool)
        near[0, 1, 2:] = True  # only entity 1 has negatives, and these are not moved

        def loss(values: torch.Tensor) -> torch.Tensor:
            features = unit_features(torch.cat([values, raw[..., 4:]], dim=3))
            return regional_contrast_loss(features, labels, lines, entities, SEEDS[:1], near, queries=3, negatives=20)

        assert gradcheck(loss, raw[..., :4].clone().requires_grad_())

    def test_keys_carry_no_gradient(self) -> None:
        features = random_features(0, images=1, height=1, width=3).requires_grad_()
        labels = torch.tensor([[[1, 2, 0]]])
        loss_of(features, labels, SEEDS[:1], queries=1).backward()
        lines, entities = lines_of_entities(features, labels, 5)
        one = torch.zeros_like(features).requires_grad_()
        mixed = torch.where(torch.tensor([True, False, False]), features.detach() + one, features.detach())
        regional_contrast_loss(mixed, labels, lines, entities, SEEDS[:1], queries=1, negatives=40).backward()
        assert features.grad is not None
        assert one.grad is not None
        # the pixel of entity 1 is a key of entity 2, but only its own query moves it
        assert torch.allclose(features.grad[..., 0], one.grad[..., 0])
        assert features.grad[..., 2].eq(0).all()


class TestDraws:
    def draws(self, labels: torch.Tensor, seeds: torch.Tensor, queries: int = 8, negatives: int = 30) -> module.Draws:
        features, count = random_features(0, images=len(labels)), int(labels.max())
        lines, entities = lines_of_entities(features, labels, count)
        others = entities[:, :, None] & entities[:, None, :] & ~torch.eye(count + 1, dtype=torch.bool)
        chances = module._probabilities(lines, others, 0.5)
        return module._draw(group_pixels(labels, count), chances, seeds, queries, negatives)

    def test_are_where_they_should_be(self) -> None:
        labels = mixed_labels(1)
        draws = self.draws(labels, SEEDS)
        flat, image = labels.flatten(), torch.arange(3).repeat_interleave(63)
        assert (flat[draws.queries] == draws.row[:, None])[draws.valid].all()
        assert (image[draws.queries] == draws.image[:, None])[draws.valid].all()
        assert (flat[draws.negatives] > 0).all()
        assert (flat[draws.negatives] != draws.row[:, None]).all()
        assert (image[draws.negatives] == draws.image[:, None]).all()

    def test_small_entities_are_asked_whole_and_large_ones_without_repetition(self) -> None:
        labels = torch.full((1, 9, 7), 2)
        labels[0, 0, :5], labels[0, 1, 0] = 1, 3
        draws = self.draws(labels, SEEDS[:1])
        assert draws.valid.sum(1).tolist() == [5, 8, 1]
        assert draws.queries[0][draws.valid[0]].tolist() == [0, 1, 2, 3, 4]
        assert len(draws.queries[1].unique()) == 8
        assert draws.queries[1].max() > 50  # from the whole entity

    def test_depend_on_the_seed_of_the_image_alone(self) -> None:
        labels = mixed_labels(1)
        draws = self.draws(labels, SEEDS)
        torch.manual_seed(99)
        again = self.draws(labels, SEEDS)
        assert torch.equal(draws.negatives, again.negatives)
        assert torch.equal(draws.queries, again.queries)
        other = self.draws(labels, SEEDS + torch.tensor([0, 1, 0]))
        changed = (draws.negatives != other.negatives).any(1)
        assert torch.equal(changed, draws.image == 1)

    def test_two_processes_draw_as_one(self) -> None:
        features, labels = random_features(0), mixed_labels(1)
        whole = loss_of(features, labels)
        halves = [
            loss_of(features[i : i + 1], labels[i : i + 1], SEEDS[i : i + 1], count=n) for i, n in ((0, 4), (1, 5))
        ]
        third = loss_of(features[2:], labels[2:], SEEDS[2:], count=1)
        assert whole.item() == pytest.approx((sum(halves) + third).item() / 3)

    def test_similar_entities_are_drawn_more_often(self) -> None:
        lines = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]])
        others = torch.ones(1, 4, 4, dtype=torch.bool) & ~torch.eye(4, dtype=torch.bool)
        others[:, 0] = others[:, :, 0] = False
        labels = torch.tensor([[[1, 2, 3]]])
        chances = module._probabilities(lines, others, 0.5)
        draws = module._draw(group_pixels(labels, 3), chances, SEEDS[:1], 1, 100_000)
        expected = math.exp(0.8 / 0.5) / (1 + math.exp(0.8 / 0.5))
        assert chances[0, 1].tolist() == pytest.approx([0, 0, 1 - expected, expected])
        assert (draws.negatives[0] == 2).float().mean().item() == pytest.approx(expected, abs=0.01)

    def test_numbers_are_uniform_and_streams_differ(self) -> None:
        seed, row = torch.arange(4), torch.tensor([1, 1, 2, 3])
        numbers = module._uniform(seed, row, 50_000, 1)
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert torch.histc(numbers.float(), 10, 0, 1).div(20_000).sub(1).abs().max() < 0.03
        assert (
            torch.corrcoef(torch.cat([numbers, module._uniform(seed, row, 50_000, 2)])).fill_diagonal_(0).abs().max()
            < 0.02
        )
        assert numbers[0, :2].tolist() == [loops.uniform(0, 1, 1, draw) for draw in (0, 1)]


class TestDegenerate:
    @pytest.mark.parametrize(
        "values", [[-1, -1, -1], [0, 0, 0], [1, 1, 1], [1, 0, -1]], ids=["ignored", "background", "one", "one of one"]
    )
    def test_no_other_entity_is_no_loss(self, values: list[int]) -> None:
        features = random_features(0, images=2, height=1, width=3).requires_grad_()
        loss = loss_of(features, torch.tensor([[values]]).repeat(2, 1, 1).view(2, 1, 3), SEEDS[:2], count=1)
        loss.backward()
        assert loss.item() == 0
        assert features.grad is not None
        assert features.grad.eq(0).all()

    def test_void_background_is_another(self) -> None:
        features, labels = random_features(0, images=1, height=1, width=3), torch.tensor([[[1, 1, 0]]])
        assert loss_of(features, labels, SEEDS[:1], void=True, count=1) > 0

    def test_lower_precision(self) -> None:
        features, labels = random_features(0), mixed_labels(1)
        with torch.autocast("cpu", torch.bfloat16):
            found = loss_of(features.bfloat16(), labels)
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(loss_of(features, labels).item(), rel=0.02)
