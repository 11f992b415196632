"""What is computed of all pixels in one pass, the moments of Eq. 4 and the means of Eq. 5 and 6, against the loops."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from tests.methods.entity.scenes import image_of, mixed_labels, random_features, random_raw
from tests.reference import entity as loops
from upseg.methods.entity import pixels as module
from upseg.methods.entity.equations import dominant_lines, unit_features
from upseg.methods.entity.pixels import entity_moments, similarity_table


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


class TestSimilarityTable:
    def test_by_hand(self) -> None:
        features = torch.tensor([[[[1.0, -0.6, 0.0, 1.0]], [[0.0, -0.8, 1.0, 0.0]]]])
        lines = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]])
        table = similarity_table(features, torch.tensor([[[1, 1, 0, -1]]]), lines)
        assert table.flatten().tolist() == pytest.approx([1, 0, 0, 0.4, 0.8, 0, 0, 0, 0])

    @pytest.mark.parametrize("block", [module.BLOCK_ELEMENTS, 200])
    def test_against_the_loop(self, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", block)
        features, labels = random_features(0), mixed_labels(1)
        table = similarity_table(features.requires_grad_(), labels, dominant_lines(features, labels, 5)[0])
        for image in range(3):
            truth, values = labels[image].numpy(), image_of(features.detach(), image)
            lines = loops.target_lines(values, truth)
            for k in range(6):
                for other in range(6):
                    both = k in lines and other in lines
                    expected = loops.mean_similarity(values, loops.pixels_of(truth, k), lines[other]) if both else 0
                    assert table[image, k, other].item() == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("block", [module.BLOCK_ELEMENTS, 20])
    def test_gradcheck(self, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", block)
        raw, labels = random_raw(0, 3, 3, 2, 3), mixed_labels(1, 2, 3)
        lines = random_features(2, 3, 3, 5, 1)[..., 0].mT.contiguous()
        arguments = raw.requires_grad_(), lines.requires_grad_()
        assert gradcheck(lambda values, other: similarity_table(unit_features(values), labels, other), arguments)
