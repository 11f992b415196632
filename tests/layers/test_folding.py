"""Batch norms in the convolutions before them: the same values, nothing else changed."""

import copy

import pytest
import torch
from torch import nn

from upseg.layers.folding import NormedConvolutions, folded
from upseg.layers.lite0 import Lite0


def seasoned(network: nn.Module) -> nn.Module:
    """In evaluation mode, with norms that are not those of a new network."""
    torch.manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.weight.data, norm.running_var):
                values.uniform_(0.5, 2)
            for values in (norm.bias.data, norm.running_mean):
                values.normal_()
    return network.double().eval()


class Block(NormedConvolutions):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.rest = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2, bias=False), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.rest(self.norm(self.first(images)))
        return found


def norms(network: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())


@pytest.mark.parametrize("made", [Block, lambda: Lite0((0, 2, 4))])
def test_the_copy_computes_the_same_without_norms(made) -> None:
    network, image = seasoned(made()), torch.rand(2, 3, 33, 40, dtype=torch.float64)
    before = copy.deepcopy(network.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(folded(network)(image), network(image))
    assert norms(folded(network)) == 0
    assert norms(network) > 0
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_weights_that_stay_the_same_are_shared() -> None:
    network = seasoned(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    copied = folded(network)
    assert copied[0].weight is network[0].weight
    assert copied[2].weight is not network[2].weight


def test_a_norm_stays_where_nothing_says_what_comes_before_it() -> None:
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.convolution(self.norm(images))
            return found

    network, image = seasoned(Unknown()), torch.rand(1, 3, 5, 5, dtype=torch.float64)
    assert norms(folded(network)) == 1
    torch.testing.assert_close(folded(network)(image), network(image), rtol=0, atol=0)


def test_norms_that_are_not_of_torch_or_of_the_image_itself_stay() -> None:
    class Other(nn.BatchNorm2d):
        pass

    own = nn.BatchNorm2d(3, track_running_stats=False)
    network = seasoned(nn.Sequential(nn.Conv2d(3, 3, 1), Other(3), nn.Conv2d(3, 3, 1)))
    assert norms(folded(network)) == 1
    assert norms(folded(nn.Sequential(nn.Conv2d(3, 3, 1), own).eval())) == 1
