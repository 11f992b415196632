import pytest
import torch

from upseg.functional.precision import recomputed


@pytest.mark.parametrize("blocks", [1, 3])
def test_values_and_gradients_are_those_of_the_function(blocks: int) -> None:
    values = torch.randn(5, requires_grad=True)
    found = recomputed(torch.exp, blocks, values)
    found.sum().backward()
    assert torch.equal(found, values.exp())
    assert torch.equal(values.grad, values.exp())


@pytest.mark.parametrize(("blocks", "calls"), [(1, 1), (3, 2)])
def test_of_several_blocks_backward_computes_again(blocks: int, calls: int) -> None:
    count = 0

    def square(values: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        return values.square()

    recomputed(square, blocks, torch.randn(5, requires_grad=True)).sum().backward()
    assert count == calls
    with torch.no_grad():
        recomputed(square, blocks, torch.randn(5))
    assert count == calls + 1
