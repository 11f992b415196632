"""Networks that get their weights from a file are made without any being drawn."""

import torch
from torch import nn

from upseg.models.learned import no_first_weights


def test_nothing_is_drawn_and_the_generator_stays_as_it_was() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with no_first_weights():
        for draw in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            kept = torch.full((3, 3), 7.0)
            assert draw(tensor=kept) is kept
            assert draw(kept) is kept
            assert (kept == 7).all()
        kept = torch.full((3,), 7.0)
        assert (kept.normal_() == 7).all()
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5), nn.Embedding(3, 4))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(layers[1].weight, torch.ones(4))  # what is not drawn is as ever


def test_shapes_alone_are_made_without_torchs_compiler() -> None:
    with no_first_weights(), torch.device("meta"):
        layer = nn.Conv2d(3, 4, 3)
        nn.init.normal_(layer.weight, 0, 0.1)
    assert layer.weight.is_meta
