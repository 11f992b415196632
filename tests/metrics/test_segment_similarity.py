from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.metrics.strategies import blobs
from tests.reference import metrics as reference
from upseg.metrics.segment_similarity import SegmentSimilarities, segment_similarity


def scene(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (6, 12, 15) that lean towards a direction of their own in each entity, and the labels."""
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(blobs(seed, 12, 15, 5))
    directions = torch.from_numpy(rng.normal(size=(6, 6)))
    noise = torch.from_numpy(rng.normal(size=(6, 12, 15)))
    return 2 * directions[labels].permute(2, 0, 1) + noise, labels


def test_hand_computed() -> None:
    half = math.sqrt(0.5)
    features = torch.tensor([[[1.0, 2.0, 1.0, -1.0]], [[0.0, 0.0, 1.0, -1.0]]])
    found = segment_similarity(features, torch.tensor([[1, 1, 2, 2]]))
    assert (found["inter_mean"], found["intra_entity"]) == pytest.approx((half, 1.0))
    metric = SegmentSimilarities()
    metric.update(features, torch.tensor([[1, 1, 2, 2]]))
    assert metric.compute()["inter_mean_degrees"] == pytest.approx(45.0)
    # the mean line of two at 60 degrees lies halfway
    crossed = segment_similarity(torch.tensor([[[1.0, 0.5]], [[0.0, math.sqrt(0.75)]]]), torch.tensor([[3, 3]]))
    assert crossed["intra_entity"] == pytest.approx(math.sqrt(0.75))


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_loop(seed: int) -> None:
    features, labels = scene(seed)
    found = segment_similarity(features, labels)
    units = (features / features.norm(dim=0)).numpy()
    members = [units[:, labels.numpy() == k].T for k in reference.ids_of(labels.numpy())]
    lines = [reference.dominant_line(vectors) for vectors in members]
    inter = [abs(a @ b) for i, a in enumerate(lines) for j, b in enumerate(lines) if i != j]
    intra = [np.abs(vectors @ line).mean() for vectors, line in zip(members, lines, strict=True)]
    assert len(lines) > 2
    assert found["inter_mean"] == pytest.approx(np.mean(inter), abs=1e-6)
    assert found["intra_entity"] == pytest.approx(np.mean(intra), abs=1e-6)


def test_signs_lengths_ids_and_background_do_not_matter() -> None:
    features, labels = scene(1)
    expected = segment_similarity(features, labels)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, labels.shape, generator=generator) * 2 - 1
    scaled = features * signs * (0.1 + torch.rand(labels.shape, generator=generator))
    renamed = torch.where(labels > 0, 100 - labels, -labels - torch.randint(0, 2, labels.shape, generator=generator))
    found = segment_similarity(scaled, renamed)
    assert (found["inter_mean"], found["intra_entity"]) == pytest.approx(
        (expected["inter_mean"], expected["intra_entity"])
    )


def test_degenerate() -> None:
    features = torch.ones(3, 2, 2)
    none = segment_similarity(features, torch.zeros(2, 2, dtype=torch.int64))
    assert math.isnan(none["inter_mean"])
    assert math.isnan(none["intra_entity"])
    one = segment_similarity(features, torch.full((2, 2), 4))
    assert math.isnan(one["inter_mean"])
    assert one["intra_entity"] == pytest.approx(1.0)
    single_pixels = segment_similarity(features, torch.tensor([[1, 2], [3, 4]]))
    assert (single_pixels["inter_mean"], single_pixels["intra_entity"]) == pytest.approx((1.0, 1.0))


def test_mean_over_images_that_have_it() -> None:
    metric = SegmentSimilarities()
    one_entity = (torch.ones(6, 3, 3), torch.ones(3, 3, dtype=torch.int64))
    metric.update(*scene(0))
    metric.update(*one_entity)
    first = segment_similarity(*scene(0))
    assert metric.compute()["inter_mean"] == pytest.approx(first["inter_mean"])
    assert metric.compute()["intra_entity"] == pytest.approx((first["intra_entity"] + 1) / 2)


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input() -> None:
    with pytest.raises(ValueError, match="one size"):
        segment_similarity(torch.ones(3, 2, 2), torch.ones(2, 3, dtype=torch.int64))
