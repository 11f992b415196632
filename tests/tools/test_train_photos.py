"""What the embedding of photos learns from: crops keep labels and pixels together, and losses mean what they say."""

import numpy as np
import pytest
import torch
from tools.train_photos import CROP, Crop, Photo, boundary_loss, cut, pair_loss, paste, size_loss


def photo(seed: int = 0, height: int = 300, width: int = 400) -> Photo:
    """Three entities in flat colours: red is the label / 10."""
    labels = np.ones((height, width), np.int32)
    labels[40:160, 50:170], labels[100:260, 220:380] = 2, 3
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = labels * 25
    return Photo(f"photo{seed}", image, labels, whole=True)


class TestCrops:
    @pytest.mark.parametrize("scale", [0.5, 1.0, 1.25])
    def test_labels_and_pixels_stay_together(self, scale: float) -> None:
        image, labels, sizes = cut(photo(), scale, np.random.default_rng(1))
        assert image.shape == (3, CROP, CROP)
        assert labels.shape == (CROP, CROP)
        inside = labels > 0
        agree = np.abs(image[0].numpy() * 255 / 25 - labels)[inside] < 0.5
        assert agree.mean() > 0.97  # but for the borders
        assert 2 ** (2 * sizes[2]) == pytest.approx(120 * 120 * scale**2)

    def test_what_is_outside_of_a_small_photo_is_ignored(self) -> None:
        image, labels, _ = cut(photo(height=100, width=120), 1.0, np.random.default_rng(0))
        assert (labels == -1).sum() == CROP**2 - 100 * 120
        assert torch.all(image[:, torch.from_numpy(labels == -1)] == 0.5)

    def test_a_pasted_object_is_a_further_entity(self) -> None:
        whole = photo(height=500, width=500)
        image, labels, sizes = cut(whole, 1.0, np.random.default_rng(0))
        results = [paste(image, labels, sizes, photo(1), np.random.default_rng(seed)) for seed in range(6)]
        pasted = [(i, la, s) for i, la, s in results if len(s) > len(sizes)]
        assert pasted
        for changed, after, bigger in pasted:
            new = after == len(sizes)
            assert new.any()
            assert len(bigger) == len(sizes) + 1
            np.testing.assert_array_equal(after[~new], labels[~new])
            assert torch.equal(changed[:, torch.from_numpy(~new)], image[:, torch.from_numpy(~new)])


class TestLosses:
    LABELS = torch.from_numpy(np.repeat([[1, 2]], 40, 0).repeat(20, 1))

    def loss(self, embedding: torch.Tensor, labels: torch.Tensor | None = None) -> tuple[float, float]:
        labels = self.LABELS if labels is None else labels
        loss, right = pair_loss(torch.tensor(3.0), embedding, labels, np.random.default_rng(0))
        return float(loss), right

    def test_entities_that_are_apart_cost_little(self) -> None:
        apart = torch.stack([self.LABELS * 9.0, self.LABELS * 0.0])
        low, right = self.loss(apart)
        high, wrong = self.loss(apart * 0)
        # all at one point: pairs of one entity cost log(1 + e^-3), those of two log(1 + e^3)
        assert high == pytest.approx((np.log1p(np.exp(-3)) + np.log1p(np.exp(3))) / 2, rel=1e-4)
        assert (right, wrong) == (pytest.approx(1), pytest.approx(0.5))
        assert low < 0.1 < high

    def test_two_unlabelled_pixels_say_nothing(self) -> None:
        embedding = torch.rand(2, 40, 40)
        assert self.loss(embedding, self.LABELS * 0) == (0.0, 0.0)

    def test_the_boundary_is_learned_where_labels_change(self) -> None:
        labels = np.ones((32, 32), np.int32)
        labels[:, 16:] = 2
        crop = Crop(torch.zeros(3, 32, 32), labels, np.zeros(3), whole=True)
        right = torch.full((8, 8), -9.0)
        right[:, 3:5] = 9.0
        assert float(boundary_loss(right, crop)) < 0.01 < float(boundary_loss(-right, crop))

    def test_sizes_count_only_where_something_is_labelled(self) -> None:
        labels = torch.tensor([[0, 1], [2, 2]])
        sizes = np.array([99.0, 3.0, 5.0])
        found = torch.tensor([[7.0, 3.0], [5.0, 7.0]])
        assert float(size_loss(found, labels, sizes)) == pytest.approx(1.5 / 3)
