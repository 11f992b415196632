"""Codes relative to a pixel's own place."""

from __future__ import annotations

import torch

from upseg.methods.panoptic.encodings import normalise
from upseg.methods.panoptic.equations import centre_embedding
from upseg.methods.panoptic.extensions.own_positions import at_own_positions

GRID = (80, 40)


def test_codes_of_the_way_become_codes_of_the_centre() -> None:
    extent = (5.5, 7.0)
    own = torch.stack(
        torch.meshgrid(
            normalise(torch.arange(6.0), extent[0], GRID[0]),
            normalise(torch.arange(7.0), extent[1], GRID[1]),
            indexing="ij",
        )
    )[None]
    centres = torch.rand(1, 2, 6, 7, generator=torch.Generator().manual_seed(0)) - 0.5
    inside = torch.ones(1, 6, 7, dtype=torch.bool)
    inside[0, 2, 3] = False
    found = at_own_positions(centre_embedding(centres - own, inside, 3), extent, GRID)
    torch.testing.assert_close(found, centre_embedding(centres, inside, 3), atol=1e-5, rtol=0)


def test_a_moved_image_has_the_same_relative_codes_and_moved_centres() -> None:
    relative = torch.randn(1, 8, 1, 1, generator=torch.Generator().manual_seed(1)).expand(1, 8, 4, 4)
    found = at_own_positions(relative, (4.0, 4.0), GRID)
    torch.testing.assert_close(found.norm(dim=1), relative.norm(dim=1))  # turned, not stretched
    assert not torch.allclose(found[..., 0, 0], found[..., 1, 0])
