from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.samples import Numbered, checkered
from upseg.data.batches import Collate
from upseg.data.sample import Sample
from upseg.errors import DataError


def test_a_batch_stacks_samples():
    samples = [checkered(12, 16), Numbered("a", 3)[2]]
    batch = Collate()(samples)
    assert len(batch) == 2
    assert batch.images.shape == (2, 3, 12, 16)
    assert batch.images.is_contiguous()
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(batch.images[index].permute(1, 2, 0), sample.image)
        np.testing.assert_array_equal(batch.segment_maps[index], sample.segment_map)
        assert batch.segments[index] == sample.segments
    np.testing.assert_array_equal(batch.depths[0], samples[0].depth)
    assert not batch.depths[1].any()  # not known
    assert batch.names == ("checkered", "a2")
    assert batch.targets == {}


def areas(sample: Sample) -> dict[str, torch.Tensor]:
    return {"labelled": torch.tensor(sum(s.area for s in sample.segments)), "map": torch.tensor(sample.segment_map)}


def test_targets_are_stacked_by_name():
    batch = Collate(areas)([checkered(12, 16), Numbered("a", 1)[0]])
    assert batch.targets["labelled"].tolist() == [12 * 16, 7 * 8]
    assert torch.equal(batch.targets["map"].long(), batch.segment_maps)


def test_moving_a_batch_moves_every_tensor():
    batch = Collate(areas)([checkered()]).to("meta")
    tensors = [batch.images, batch.segment_maps, batch.depths, *batch.targets.values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert batch.names == ("checkered",)


def test_samples_of_different_sizes_are_refused():
    with pytest.raises(DataError, match=r"one height and width, got \[\(12, 16\), \(40, 60\)\]"):
        Collate()([checkered(), checkered(12, 16)])


def test_of_samples_that_could_not_be_read_there_is_no_batch():
    assert Collate()([]) is None
    assert Collate()([None, None]) is None
    assert len(Collate()([None, checkered()])) == 1
