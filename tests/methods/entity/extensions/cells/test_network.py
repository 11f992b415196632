"""The network of cells: sizes, parameters, and that every one of them learns."""

import pytest
import torch
import torch.nn.functional as F

from upseg.methods.entity.extensions.cells.network import CellNetwork, FusionBlock

BACKBONE = "mobilenetv3_small_050"


def small() -> CellNetwork:
    torch.manual_seed(0)
    return CellNetwork(BACKBONE, (8, 8, 8, 8))


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (4, 5)])
def test_a_level_is_convolved_as_if_the_coarser_one_were_written_twice_as_large(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = FusionBlock(3, 2, 4).double()
    coarse = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    skip = torch.rand(2, 2, 2 * size[0], 2 * size[1], dtype=torch.float64, requires_grad=True)
    plain = block.refine(block.mix(torch.cat((F.interpolate(coarse, scale_factor=2, mode="nearest"), skip), dim=1)))
    found = block(coarse, skip)
    torch.testing.assert_close(found, plain)
    wanted = (coarse, skip, block.mix[0].weight)
    gradients = [torch.autograd.grad(maps.square().sum(), wanted) for maps in (found, plain)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 47), (64, 97)])
def test_every_map_has_the_images_size(size: tuple[int, int]) -> None:
    network = small().eval()
    with torch.no_grad():
        maps = network(torch.rand(2, 3, *size))
    for name in ("foreground", "border", "distance", "size"):
        assert getattr(maps, name).shape == (2, *size)


def test_every_parameter_gets_a_gradient() -> None:
    network = small()
    maps = network(torch.rand(2, 3, 64, 64))
    total = sum(m.square().sum() for m in (maps.foreground, maps.border, maps.distance, maps.size))
    total.backward()
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert idle == []


def test_the_maps_of_an_image_do_not_depend_on_the_others_in_the_batch() -> None:
    network, images = small().eval(), torch.rand(3, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(network(images).distance[1:2], network(images[1:2]).distance, rtol=1e-4, atol=1e-5)


def test_the_shipped_size() -> None:
    assert sum(p.numel() for p in CellNetwork().parameters()) == 3_622_224


@pytest.mark.parametrize(("backbone", "channels"), [(BACKBONE, (8, 8, 8)), ("vgg11", (8, 8, 8, 8))])
def test_what_does_not_fit_is_refused(backbone: str, channels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="needs a backbone with the strides 2, 4, 8, 16, 32"):
        CellNetwork(backbone, channels)
