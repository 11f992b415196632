"""The dominant eigenvectors of Eq. 4, by iteration as by torch's decomposition."""

import pytest
import torch

from tests.methods.entity.scenes import same_lines
from upseg.methods.entity import linear_algebra as module
from upseg.methods.entity.linear_algebra import dominant_eigenvectors


def by_eigh(moments: torch.Tensor) -> torch.Tensor:
    return torch.linalg.eigh(moments).eigenvectors[..., -1]


class TestEigenvectors:
    def matrices(self, noise: float, count: int = 12, dimensions: int = 128, pixels: int = 300) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        centre = torch.nn.functional.normalize(torch.randn(count, 1, dimensions, generator=generator), dim=-1)
        raw = centre + noise * torch.randn(count, pixels, dimensions, generator=generator) / dimensions**0.5
        features = torch.nn.functional.normalize(raw, dim=-1)
        return features.mT @ features

    @pytest.mark.parametrize("noise", [0.1, 2.0, 6.0])
    def test_iteration_agrees_with_eigh(self, noise: float) -> None:
        moments = self.matrices(noise)
        assert same_lines(dominant_eigenvectors(moments), by_eigh(moments), 3e-6)

    def test_iteration_maximises_where_nothing_dominates(self) -> None:
        moments = self.matrices(noise=100.0)
        values = torch.linalg.eigvalsh(moments)
        assert (values[:, -2] / values[:, -1]).max() > 0.97
        found = dominant_eigenvectors(moments)[..., None]
        reached = (found.mT @ moments @ found).flatten() / values[:, -1]
        assert reached.min() > 0.999

    @pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
    def test_of_any_scale(self, scale: float) -> None:
        moments = self.matrices(2.0)
        assert same_lines(dominant_eigenvectors(moments * scale), by_eigh(moments), 3e-6)

    @pytest.mark.parametrize("dimensions", [1, 2, 7])
    def test_equal_eigenvalues_and_few_dimensions(self, dimensions: int) -> None:
        found = dominant_eigenvectors(torch.eye(dimensions).repeat(3, 1, 1))
        assert torch.allclose(found.norm(dim=-1), torch.ones(3))

    def test_none(self) -> None:
        assert dominant_eigenvectors(torch.zeros(0, 4, 4)).shape == (0, 4)

    def test_in_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        moments = self.matrices(0.5)
        whole = dominant_eigenvectors(moments)
        monkeypatch.setattr(module, "BLOCK_ELEMENTS", 5 * 128**2)
        assert same_lines(dominant_eigenvectors(moments), whole, 1e-6)
