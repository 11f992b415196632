"""The network: torchvision's Mask R-CNN to the last digit, for images of any size, with any backbone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import maskrcnn_resnet50_fpn

from tests.methods.mask_rcnn.small import CATEGORIES, SETTINGS, network, sample
from upseg.data.batches import Collate
from upseg.errors import ModelError
from upseg.methods.mask_rcnn.network import LOSSES, MASK_SIDE, MaskRcnnNetwork, class_count
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings
from upseg.methods.mask_rcnn.targets import instance_targets


def targets(count: int = 2) -> tuple[Tensor, list[dict[str, Tensor]]]:
    batch = Collate()([sample()] * count)
    found = [instance_targets(*one, CATEGORIES) for one in zip(batch.segment_maps, batch.segments, strict=True)]
    return batch.images, found


def total(losses: dict[str, Tensor]) -> Tensor:
    return sum(losses.values(), start=torch.zeros(()))


@pytest.fixture(scope="module")
def pair() -> tuple[torch.nn.Module, MaskRcnnNetwork]:
    torch.manual_seed(0)
    # 64 x 96 is a size that both networks leave as it is, pad by nothing, and see in the same colours
    reference = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4, min_size=64, max_size=96)
    torch.nn.init.normal_(reference.roi_heads.box_predictor.cls_score.weight, std=0.1)
    ours = MaskRcnnNetwork(MaskRcnnSettings(), classes=3)
    names = {"backbone.body.": "backbone.encoder.model."}
    names |= {f"backbone.fpn.inner_blocks.{i}.0.": f"backbone.pyramid.laterals.{i}." for i in range(4)}
    names |= {f"backbone.fpn.layer_blocks.{i}.0.": f"backbone.pyramid.smoothing.{i}." for i in range(4)}

    def ours_of(name: str) -> str:
        begin = next((old for old in names if name.startswith(old)), "")
        return f"detector.{names.get(begin, '')}{name.removeprefix(begin)}"

    ours.load_state_dict({ours_of(name): value for name, value in reference.state_dict().items()})
    return reference, ours


class TestIsTorchvisions:
    """The reference: `maskrcnn_resnet50_fpn`, with random weights that both networks share."""

    @torch.no_grad()
    def test_detections(self, pair) -> None:
        reference, ours = (one.eval() for one in pair)
        image = torch.rand(1, 3, 64, 96)
        [expected] = reference(list(image))
        [found] = ours.detect(image, MaskRcnnSettings(minimum_score=0.05))
        assert len(expected["scores"]) > 5
        torch.testing.assert_close(found.boxes, expected["boxes"])
        torch.testing.assert_close(found.scores, expected["scores"])
        assert torch.equal(found.positions, expected["labels"] - 1)

    @torch.no_grad()
    def test_losses(self, pair) -> None:
        reference, ours = (one.train() for one in pair)
        images = torch.rand(2, 3, 64, 96)
        masks = torch.zeros(2, 64, 96, dtype=torch.uint8)
        masks[0, 10:30, 5:45], masks[1, 20:60, 50:90] = 1, 1
        objects = {"boxes": torch.tensor([[5.0, 10, 45, 30], [50, 20, 90, 60]]), "masks": masks}
        truth = [{**objects, "labels": torch.tensor([1, 3])}, {**objects, "labels": torch.tensor([2, 2])}]
        torch.manual_seed(1)
        expected = reference(list(images), truth)
        torch.manual_seed(1)
        torch.empty(1).uniform_()  # torchvision draws a size for each image, of one
        torch.empty(1).uniform_()
        found = ours(images, truth)
        assert set(found) == set(LOSSES)
        for name, value in found.items():
            torch.testing.assert_close(value, expected[LOSSES[name]])


class TestSizes:
    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 47), (65, 40)])
    def test_any_in_training_and_after(self, size: tuple[int, int]) -> None:
        made = network()
        truth = {
            "boxes": torch.tensor([[0.0, 0, 1, 1]]),
            "labels": torch.tensor([1]),
            "masks": torch.ones(1, *size, dtype=torch.uint8),
        }
        losses = made(torch.rand(2, 3, *size), [truth, truth])
        assert all(value.isfinite() for value in losses.values())
        [found] = made.eval().detect(torch.rand(1, 3, *size), SETTINGS)
        height, width = size
        assert (found.boxes >= 0).all()
        assert (found.boxes <= torch.tensor([width, height, width, height])).all()
        assert found.masks.shape[1:] == (MASK_SIDE, MASK_SIDE)

    @torch.no_grad()
    def test_the_size_of_the_first_image_leaves_no_trace(self) -> None:
        """Left alone, torchvision guesses the pyramid's strides from the first image."""
        image = torch.rand(1, 3, 96, 96)
        [expected] = network().eval().detect(image, SETTINGS)
        made = network().eval()
        made.detect(torch.rand(1, 3, 1, 40), SETTINGS)
        [found] = made.detect(image, SETTINGS)
        assert torch.equal(found.boxes, expected.boxes)
        assert torch.equal(found.masks, expected.masks)

    @torch.no_grad()
    def test_anchors_lie_at_the_strides_whatever_is_padded(self) -> None:
        """33 pixels are padded to 64: eight squares of the second level, each of 8 pixels."""
        made = network().eval()
        images, _ = made.detector.transform(torch.rand(1, 3, 33, 40))
        assert tuple(images.tensors.shape[-2:]) == (64, 64)
        levels = list(made.detector.backbone(images.tensors).values())
        assert [level.shape[-1] for level in levels] == [16, 8, 4, 2, 1]
        [anchors] = made.detector.rpn.anchor_generator(images, levels)
        second = anchors[16 * 16 :][: 8 * 8].view(8, 8, 4)
        assert second[0, 0].tolist() == [-6, -6, 6, 6]
        assert (second[2, 5] - second[0, 0]).tolist() == [40, 16, 40, 16]

    @torch.no_grad()
    def test_an_image_alone_or_in_a_batch(self) -> None:
        images = torch.rand(3, 3, 48, 40)
        made = network().eval()
        for together, image in zip(made.detect(images, SETTINGS), images, strict=True):
            [alone] = made.detect(image[None], SETTINGS)
            torch.testing.assert_close(together.scores, alone.scores)
            torch.testing.assert_close(together.boxes, alone.boxes)


class TestTraining:
    def test_no_parameter_is_idle(self) -> None:
        made = network()
        total(made(*targets())).backward()
        for name, parameter in made.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    def test_images_without_objects(self) -> None:
        images, truth = targets()
        truth[1] = instance_targets(torch.zeros(48, 48, dtype=torch.long), (), CATEGORIES)
        for chosen in (truth, [truth[1]] * 2):
            made = network()
            losses = made(images, chosen)
            total(losses).backward()
            assert all(value.isfinite() for value in losses.values())
        assert losses["masks"] == losses["boxes"] == losses["proposals"] == 0
        assert losses["objectness"] > 0

    def test_the_same_seed_gives_the_same_losses(self) -> None:
        images, truth = targets()
        values = []
        for seed in (5, 5, 6):
            made = network(box_samples=8, anchor_samples=8)
            torch.manual_seed(seed)
            values.append({name: value.item() for name, value in made(images, truth).items()})
        assert values[0] == values[1] != values[2]

    @pytest.mark.parametrize("frozen", [True, False])
    def test_frozen_normalisation_neither_learns_nor_counts(self, frozen: bool) -> None:
        made = network(frozen_normalisation=frozen).train()
        normalisations = [m for m in made.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert normalisations
        before = [module.running_mean.clone() for module in normalisations]
        total(made(*targets())).backward()
        for module, mean in zip(normalisations, before, strict=True):
            assert torch.equal(module.running_mean, mean) == frozen
            assert (module.weight.grad is None) == frozen
            assert module.training != frozen
        assert not any(module.training for module in made.eval().modules())

    def test_half_precision(self) -> None:
        made = network()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = made(*targets())
            [found] = made.eval().detect(torch.rand(1, 3, 33, 47), SETTINGS)
        total(losses).float().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
        assert found.boxes.isfinite().all()


class TestSettings:
    @torch.no_grad()
    def test_those_of_the_call_choose_the_detections(self) -> None:
        made, image = network().eval(), torch.rand(1, 3, 48, 48)
        [every] = made.detect(image, SETTINGS)
        assert len(every.scores) == SETTINGS.max_detections
        assert (every.scores.diff() <= 0).all()
        [few] = made.detect(image, replace(SETTINGS, max_detections=3))
        assert torch.equal(few.scores, every.scores[:3])
        least = float(every.scores[9])
        [above] = made.detect(image, replace(SETTINGS, minimum_score=least))
        assert torch.equal(above.scores, every.scores[every.scores > least])
        [again] = made.detect(image, SETTINGS)
        assert torch.equal(again.boxes, every.boxes)

    def test_classes_are_at_least_the_one_without_a_name(self) -> None:
        assert class_count(()) == 1
        assert class_count(CATEGORIES) == 2


class TestErrors:
    def test_of_the_mode(self) -> None:
        made = network()
        with pytest.raises(ValueError, match="there are detections in evaluation mode alone"):
            made.detect(torch.rand(1, 3, 8, 8), SETTINGS)
        with pytest.raises(ValueError, match="there are losses in training mode alone"):
            made.eval()(*targets())

    @pytest.mark.parametrize("name", ["classes", "box_samples", "anchor_samples"])
    def test_of_numbers(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            MaskRcnnNetwork(SETTINGS, **{name: 0})

    def test_of_backbones(self) -> None:
        with pytest.raises(ModelError, match=r"there is no backbone called 'resnet10x'; did you mean resnet10t"):
            MaskRcnnNetwork(replace(SETTINGS, backbone="resnet10x"))
        with pytest.raises(ModelError, match="mixer_s32_224 cannot serve as a backbone"):
            MaskRcnnNetwork(replace(SETTINGS, backbone="mixer_s32_224"))
