import numpy as np
import torch
import torch.nn.functional as F

from upseg.methods.entity.extensions.picture import colour_features


def lines(height: int, width: int, dimensions: int) -> torch.Tensor:
    return F.normalize(torch.randn(dimensions, height, width, generator=torch.Generator().manual_seed(0)), dim=0)


def test_signs_change_nothing() -> None:
    features = lines(9, 7, 8)
    signs = torch.where(torch.rand(1, 9, 7, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0)
    np.testing.assert_allclose(colour_features(features), colour_features(features * signs), atol=1)


def test_orthogonal_entities_have_pure_colours() -> None:
    features = torch.zeros(5, 6, 6)
    features[2, :3] = 1  # half of the pixels
    features[0, 3:5] = -1  # a third
    features[4, 5:] = 1
    colours = colour_features(features)
    assert colours[:3].reshape(-1, 3).tolist() == [[255, 0, 0]] * 18
    assert colours[3:5].reshape(-1, 3).tolist() == [[0, 255, 0]] * 12
    assert colours[5:].reshape(-1, 3).tolist() == [[0, 0, 255]] * 6


def test_fewer_than_three_dimensions_and_one_pixel() -> None:
    assert colour_features(lines(4, 4, 2))[..., 2].max() == 0
    assert colour_features(lines(1, 1, 4)).tolist() == [[[255, 0, 0]]]
