"""Losses of cells: what perfect maps cost, hand-computed values, and what is ignored."""

import math

import pytest
import torch

from upseg.data.sample import IGNORE
from upseg.methods.entity.extensions.cells.losses import CellLossWeights, cell_losses
from upseg.methods.entity.extensions.cells.network import CellMaps

ALL_ONE = CellLossWeights(1.0, 1.0, 1.0, 1.0, 1.0)


def targets() -> dict[str, torch.Tensor]:
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, 1:4, 1:4], labels[0, 4:7, 4:7] = 1, 2
    border = torch.zeros(1, 8, 8)
    border[0, 3:5, 3:5] = 1
    return {"labels": labels, "border": border, "distance": (labels > 0) * 0.5, "size": (labels > 0) * 0.25}


def maps(foreground: torch.Tensor, border: torch.Tensor, distance: torch.Tensor, size: torch.Tensor) -> CellMaps:
    return CellMaps(foreground, border, distance, size)


def test_perfect_maps_cost_nothing() -> None:
    wanted = targets()
    sure = 40 * (2 * (wanted["labels"] > 0).float() - 1)
    distance = torch.where(wanted["labels"] > 0, 0.0, -40.0)
    found = cell_losses(maps(sure, 40 * (2 * wanted["border"] - 1), distance, wanted["size"]), wanted, ALL_ONE)
    assert set(found) == {"foreground", "overlap", "border", "distance", "size"}
    assert {name: float(value) for name, value in found.items()} == pytest.approx(dict.fromkeys(found, 0), abs=1e-6)


def test_maps_that_know_nothing_cost_what_is_computed_by_hand() -> None:
    wanted, zero = targets(), torch.zeros(1, 8, 8)
    found = cell_losses(maps(zero, zero, zero, zero), wanted, ALL_ONE)
    assert float(found["foreground"]) == pytest.approx(math.log(2))
    assert float(found["border"]) == pytest.approx(math.log(2))
    assert float(found["overlap"]) == pytest.approx(1 - (2 * 9 + 1) / (32 + 18 + 1))
    # inside 0.5 is right; outside all 46 pixels are 0.5 too large, with weight 1 beside 18 pixels of weight 3
    assert float(found["distance"]) == pytest.approx(0.5 * 46 / (46 + 3 * 18))
    assert float(found["size"]) == pytest.approx(0.25)


def test_weights_scale_and_switch_off() -> None:
    wanted, zero = targets(), torch.zeros(1, 8, 8)
    half = CellLossWeights(0.5, 0.0, 1.0, 1.0, 1.0)
    found = cell_losses(maps(zero, zero, zero, zero), wanted, half)
    assert float(found["foreground"]) == pytest.approx(0.5 * math.log(2))
    assert float(found["overlap"]) == 0
    with pytest.raises(ValueError, match="the weight size must be"):
        CellLossWeights(size=-1.0)


def test_ignored_pixels_change_nothing() -> None:
    wanted = targets()
    wanted["labels"][0, :, 7] = IGNORE
    generator = torch.Generator().manual_seed(0)
    fixed = [torch.randn(1, 8, 8, generator=generator) for _ in range(4)]
    other = [values.clone() for values in fixed]
    for values in other:
        values[0, :, 7] += 5
    one, two = (cell_losses(maps(*values), wanted, ALL_ONE) for values in (fixed, other))
    assert {k: float(v) for k, v in one.items()} == pytest.approx({k: float(v) for k, v in two.items()})


def test_an_image_without_objects_has_finite_losses_and_gradients() -> None:
    wanted = {name: torch.zeros_like(values) for name, values in targets().items()}
    found = [torch.zeros(1, 8, 8, requires_grad=True) for _ in range(4)]
    total = torch.stack(list(cell_losses(maps(*found), wanted, ALL_ONE).values())).sum()
    total.backward()
    assert math.isfinite(float(total.detach()))
    assert all(values.grad is not None and values.grad.isfinite().all() for values in found)
