import pytest
import torch
from torch import Tensor

from upseg.functional.precision import full_precision, wide


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_wide(given: torch.dtype, expected: torch.dtype) -> None:
    assert wide(torch.ones(2, dtype=given)).dtype == expected


def test_full_precision_under_autocast() -> None:
    def product(first: Tensor, second: Tensor) -> Tensor:
        return first @ second

    values = torch.rand(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(values, values).dtype == torch.bfloat16
        assert full_precision(product)(values, second=values).dtype == torch.float32
