"""Random maps and targets."""

import torch
from torch import Tensor

SIZE = (6, 8)


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truth(seed: int, size: tuple[int, int] = SIZE) -> dict[str, Tensor]:
    """Targets of three images; the last is not labelled at all."""
    generator = torch.Generator().manual_seed(seed)
    boundary = torch.rand(3, *size, generator=generator) < 0.3
    valid = torch.rand(3, *size, generator=generator) < 0.8
    classes = torch.randint(-1, 4, (3, *size), generator=generator)
    valid[2], classes[2] = False, -1
    return {"boundary": boundary, "valid": valid, "classes": classes}
