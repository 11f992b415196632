"""The number of torch's threads is changed for a while and no longer."""

import pytest
import torch

from upseg.models.calling import torch_threads


@pytest.mark.parametrize("count", [1, 2, None])
def test_threads_are_as_asked_and_then_as_before(count: int | None) -> None:
    before = torch.get_num_threads()
    with torch_threads(count):
        assert torch.get_num_threads() == (count or before)
    assert torch.get_num_threads() == before


def test_they_are_restored_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="stop"), torch_threads(before + 1):
        raise RuntimeError("stop")
    assert torch.get_num_threads() == before
