"""Levels of a convolutional backbone as tokens of one stride: sizes, and that nothing of finer levels is lost."""

from __future__ import annotations

import pytest
import torch

from upseg.layers.conv_tokens import ConvTokens

NAME = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def tokens() -> ConvTokens:
    torch.manual_seed(0)
    return ConvTokens(NAME, (2, 3, 4, 5)).eval()


def test_channels_and_sizes(tokens: ConvTokens) -> None:
    assert tokens.channels == [24 * 16, 40 * 4, 112, 320]
    for size in ((1, 1), (70, 129)):
        height, width = (side // 16 for side in tokens.padded_size(size))
        found = tokens(torch.rand(1, 3, *size))
        assert [tuple(level.shape) for level in found] == [(1, c, height, width) for c in tokens.channels]


@torch.no_grad()
def test_finer_levels_are_all_there(tokens: ConvTokens) -> None:
    image = torch.rand(1, 3, 64, 96)
    finest = tokens.model(tokens.prepare(image))[0]  # stride 4
    spread = torch.nn.functional.pixel_shuffle(tokens(image)[0], 4)
    torch.testing.assert_close(spread, finest)


@pytest.mark.parametrize("patch", [0, 6, 64])
def test_strides_that_do_not_fit_are_refused(patch: int) -> None:
    with pytest.raises(ValueError, match=f"tokens of {patch} pixels"):
        ConvTokens(NAME, (2, 3, 4, 5), patch=patch)
