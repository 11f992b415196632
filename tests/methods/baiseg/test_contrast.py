"""Eq. 6: values by hand, the loop, gradients, pixels of one kind; what is drawn, and the labels of coarser maps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.autograd import gradcheck

from tests.reference import baiseg as loops
from upseg.methods.baiseg.equations import balance, weighted_contrast
from upseg.methods.baiseg.losses import LossWeights, bounded, cell_labels, pixel_contrast, sample_pixels

ALPHA = torch.tensor(0.9, dtype=torch.float64)


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kinds(seed: int, *shape: int, share: float = 0.5) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share


class TestWeightedContrast:
    def test_by_hand(self) -> None:
        """One anchor at 1 with positives at 1 and 0.5 and two negatives at -1, temperature 1."""
        anchor, keys = torch.ones(1, 1), torch.tensor([[1.0], [0.5], [-1.0], [-1.0]])
        is_boundary = torch.tensor([True, True, False, False])
        loss = weighted_contrast(anchor, is_boundary[:1], keys, is_boundary, torch.tensor(0.75), 1.0)
        against = 0.25 * 2 * math.exp(-1)
        expected = [-0.75 * math.log(math.exp(s) / (math.exp(s) + against)) for s in (1, 0.5)]
        assert loss.item() == pytest.approx(sum(expected) / 2)

    def test_a_pixel_is_not_its_own_positive(self) -> None:
        anchor, keys = torch.ones(1, 1), torch.tensor([[1.0], [0.5], [-1.0]])
        is_boundary = torch.tensor([True, True, False])
        same = torch.tensor([[True, False, False]])
        found = weighted_contrast(anchor, is_boundary[:1], keys, is_boundary, torch.tensor(0.75), 1.0, same)
        without = weighted_contrast(anchor, is_boundary[:1], keys[1:], is_boundary[1:], torch.tensor(0.75), 1.0)
        assert found.item() == pytest.approx(without.item())
        everything = weighted_contrast(anchor, is_boundary[:1], keys, is_boundary, torch.tensor(0.75), 1.0)
        assert found.item() > everything.item()

    @pytest.mark.parametrize("dimensions", [1, 3])
    @pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
    @pytest.mark.parametrize("alpha", [0.0, 0.9, 1.0])
    @pytest.mark.parametrize("both", [False, True])
    def test_against_the_loop(self, dimensions: int, temperature: float, alpha: float, both: bool) -> None:
        anchors, keys = numbers(0, 9, dimensions).tanh(), numbers(1, 11, dimensions).tanh()
        of_anchors, of_keys, same = kinds(2, 9), kinds(3, 11), kinds(4, 9, 11, share=0.1)
        # an anchor without any positive left, which takes no part
        same[0] |= of_keys == of_anchors[0]
        arguments = anchors, of_anchors, keys, of_keys
        found = weighted_contrast(
            *arguments, torch.tensor(alpha, dtype=torch.float64), temperature, same, both_kinds=both
        )
        expected = loops.contrast_loss(
            *(a.numpy() for a in arguments), same.numpy(), alpha, temperature, both_kinds=both
        )
        assert (expected > 0) == (0 < alpha < 1)
        assert found.item() == pytest.approx(expected)

    def test_without_weights_both_factors_are_1(self) -> None:
        anchor, keys = torch.ones(1, 1), torch.tensor([[1.0], [-1.0], [-1.0]])
        is_boundary = torch.tensor([True, True, False, False])
        loss = weighted_contrast(
            anchor, is_boundary[:1], keys, is_boundary[1:], torch.tensor(0.75), 1.0, weighted=False
        )
        assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))

    def test_background_is_no_anchor_unless_both_kinds_are(self) -> None:
        anchors, keys, of_keys = numbers(0, 3, 2), numbers(1, 6, 2), torch.arange(6) < 3
        nothing = torch.zeros(3, dtype=torch.bool)
        assert weighted_contrast(anchors, nothing, keys, of_keys, ALPHA).item() == 0
        assert weighted_contrast(anchors, nothing, keys, of_keys, ALPHA, both_kinds=True).item() > 0

    def test_gradients_of_anchors_and_keys(self) -> None:
        of_anchors, of_keys = torch.arange(4) < 2, torch.arange(5) < 3

        def loss(anchors: Tensor, keys: Tensor) -> Tensor:
            return weighted_contrast(anchors, of_anchors, keys, of_keys, ALPHA, 0.5, both_kinds=True)

        assert gradcheck(loss, (numbers(0, 4, 2).requires_grad_(), numbers(1, 5, 2).requires_grad_()))

    @pytest.mark.parametrize("of_keys", [[], [True, True], [False, False]])
    @pytest.mark.parametrize("of_anchors", [[], [True], [True, False]])
    def test_without_pairs_it_is_0_with_gradients_of_0(self, of_anchors: list[bool], of_keys: list[bool]) -> None:
        """Keys of one kind alone are never both positives and negatives."""
        anchors = numbers(0, len(of_anchors), 2).requires_grad_()
        keys = numbers(1, len(of_keys), 2).requires_grad_()
        is_boundary = [torch.tensor(values, dtype=torch.bool) for values in (of_anchors, of_keys)]
        loss = weighted_contrast(anchors, is_boundary[0], keys, is_boundary[1], ALPHA)
        loss.backward()
        assert loss.item() == 0
        for values in (anchors, keys):
            assert values.grad is not None
            assert values.grad.eq(0).all()

    @pytest.mark.parametrize("alpha", [0.0, 0.9, 1.0])
    def test_extreme_similarities_are_finite(self, alpha: float) -> None:
        anchors = torch.tensor([[1.0], [-1.0]], requires_grad=True)
        keys = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]])
        of_keys = torch.tensor([True, True, False, False])
        loss = weighted_contrast(
            anchors, torch.tensor([True, False]), keys, of_keys, torch.tensor(alpha), temperature=1e-3, both_kinds=True
        )
        loss.backward()
        # of each anchor's two positives one is as similar as a negative, the other 2 / 1e-3 less
        expected = 0.45 * (math.log1p(0.1) + 2000 + math.log(0.1)) if alpha == 0.9 else 0.0
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert anchors.grad is not None
        assert anchors.grad.isfinite().all()

    def test_invariances(self) -> None:
        anchors, keys = numbers(0, 9, 3), numbers(1, 11, 3)
        of_anchors, of_keys = kinds(2, 9), kinds(3, 11)
        expected = weighted_contrast(anchors, of_anchors, keys, of_keys, ALPHA, both_kinds=True).item()
        row, column = torch.randperm(9), torch.randperm(11)
        turn = torch.linalg.qr(numbers(4, 3, 3)).Q
        for changed in (
            (anchors[row], of_anchors[row], keys[column], of_keys[column]),  # the order of pixels
            (anchors, ~of_anchors, keys, ~of_keys),  # which kind is called boundary
            (-anchors, of_anchors, -keys, of_keys),
            (anchors @ turn, of_anchors, keys @ turn, of_keys),
        ):
            assert weighted_contrast(*changed, ALPHA, both_kinds=True).item() == pytest.approx(expected)

    def test_full_precision_under_autocast(self) -> None:
        anchors, keys = numbers(0, 9, 3).bfloat16(), numbers(1, 11, 3).bfloat16()
        alpha = torch.tensor(0.9)
        expected = weighted_contrast(anchors.float(), kinds(2, 9), keys.float(), kinds(3, 11), alpha)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = weighted_contrast(anchors, kinds(2, 9), keys, kinds(3, 11), alpha)
        assert found.item() == expected.item()


class TestBounded:
    def test_products_are_at_most_1(self) -> None:
        for dimensions in (1, 2, 32):
            values = bounded(numbers(0, 2, dimensions, 3, 4) * 100)
            assert values.square().sum(1).max().item() <= 1 + 1e-12

    def test_one_dimension_keeps_more_than_the_sign(self) -> None:
        values = torch.tensor([[[[-2.0, 0.0, 0.5]]]])
        assert bounded(values).flatten().tolist() == pytest.approx([math.tanh(-2), 0, math.tanh(0.5)])

    def test_more_dimensions_have_unit_length(self) -> None:
        values = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1)
        assert bounded(values).flatten().tolist() == pytest.approx([0.6, -0.8])
        nothing = torch.zeros(1, 2, 1, 1, requires_grad=True)
        bounded(nothing).sum().backward()
        assert nothing.grad is not None
        assert nothing.grad.isfinite().all()

    @pytest.mark.parametrize("dimensions", [1, 3])
    def test_gradient(self, dimensions: int) -> None:
        assert gradcheck(bounded, numbers(0, 1, dimensions, 2, 2).requires_grad_())


class TestCellLabels:
    def test_by_hand(self) -> None:
        boundary = torch.zeros(1, 4, 8, dtype=torch.bool)
        valid = torch.ones_like(boundary)
        boundary[0, 1, 1] = True  # of the first cell
        valid[0, 0, 2:5] = False  # of the second and the third
        boundary[0, 0, 3] = True  # does not count: it is not valid
        boundary[0, 1, 4] = True  # of the third, of which not all is known
        found, known = cell_labels(boundary, valid, (2, 4))
        assert found.tolist() == [[[True, False, True, False], [False] * 4]]
        assert known.tolist() == [[[True, False, True, True], [True] * 4]]

    @settings(max_examples=40, deadline=None)
    @given(arrays(np.int8, st.tuples(st.integers(1, 13), st.integers(1, 13)), elements=st.integers(0, 12)), st.data())
    def test_against_the_loop(self, values: np.ndarray, data: st.DataObject) -> None:
        boundary, valid = values < 2, values % 5 > 0
        side = data.draw(st.sampled_from([1, 2, 4]))
        # the map covers the image, and may go beyond it by up to as much again
        size = [-(-length // side) for length in values.shape]
        size = tuple(data.draw(st.integers(length, max(length, 2 * length - 2))) for length in size)
        smaller = [side // 2 * length for length in size]
        if side > 1 and smaller[0] >= values.shape[0] and smaller[1] >= values.shape[1]:
            return  # cells of half the side cover it too
        found = cell_labels(torch.from_numpy(boundary)[None], torch.from_numpy(valid)[None], size)
        for mine, theirs in zip(found, loops.cell_labels(boundary, valid, side, size), strict=True):
            np.testing.assert_array_equal(mine[0].numpy(), theirs)

    def test_what_lies_in_the_padding_is_not_known(self) -> None:
        everything = torch.ones(1, 33, 40, dtype=torch.bool)
        found, known = cell_labels(everything, everything, (16, 16))  # as of an image padded to 64 x 64
        assert known[0, :9, :10].all()
        assert known.sum() == 9 * 10
        assert torch.equal(found, known)


class TestSamplePixels:
    def test_half_are_boundaries(self) -> None:
        boundary, valid = kinds(0, 3, 20, 20, share=0.2), kinds(1, 3, 20, 20, share=0.9)
        drawn = sample_pixels(boundary, valid, 61)
        assert len(drawn) == len(set(drawn.tolist())) == 61
        assert valid.flatten()[drawn].all()
        of_drawn = boundary.flatten()[drawn]
        assert of_drawn[:30].all()
        assert not of_drawn[30:].any()

    @pytest.mark.parametrize(("edges", "others", "expected"), [(3, 97, (3, 17)), (97, 3, (17, 3)), (4, 5, (4, 5))])
    def test_the_other_kind_fills_up(self, edges: int, others: int, expected: tuple[int, int]) -> None:
        boundary = torch.arange(edges + others).view(1, 1, -1) < edges
        drawn = sample_pixels(boundary, torch.ones_like(boundary), 20)
        of_drawn = boundary.flatten()[drawn]
        assert (int(of_drawn.sum()), int((~of_drawn).sum())) == expected
        assert len(set(drawn.tolist())) == sum(expected)

    def test_every_image_of_the_batch_is_drawn_from(self) -> None:
        boundary = kinds(0, 4, 30, 30)
        drawn = sample_pixels(boundary, torch.ones_like(boundary), 400)
        counts = torch.bincount(drawn // 900, minlength=4)
        assert counts.min() > 60  # of 100 on average

    def test_every_pixel_is_drawn_as_often(self) -> None:
        boundary = torch.arange(12).view(1, 3, 4) < 4
        generator = torch.Generator().manual_seed(0)
        valid = torch.ones_like(boundary)
        counts = sum(torch.bincount(sample_pixels(boundary, valid, 4, generator), minlength=12) for _ in range(300))
        # 2 of 4 boundary pixels each time, 2 of 8 others
        assert (counts[:4] - 150).abs().max() < 45
        assert (counts[4:] - 75).abs().max() < 40

    def test_the_generator_decides(self) -> None:
        boundary = kinds(0, 2, 30, 30)
        first, again, other = (
            sample_pixels(boundary, torch.ones_like(boundary), 50, torch.Generator().manual_seed(seed))
            for seed in (0, 0, 1)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        state = torch.get_rng_state()
        sample_pixels(boundary, torch.ones_like(boundary), 50, torch.Generator())
        assert torch.equal(state, torch.get_rng_state())

    @pytest.mark.parametrize("count", [0, 10])
    def test_nothing_to_draw_from(self, count: int) -> None:
        boundary = torch.zeros(2, 3, 3, dtype=torch.bool)
        assert sample_pixels(boundary, boundary, count).shape == (0,)


class TestPixelContrast:
    def test_of_all_pixels_against_the_loop(self) -> None:
        """More samples than pixels: every pixel of both images is compared with every other."""
        projection = numbers(0, 2, 1, 3, 4)
        boundary, valid = kinds(1, 2, 6, 8, share=0.1), kinds(2, 2, 6, 8, share=0.95)
        alpha = balance(boundary.reshape(1, 12, 8), valid.reshape(1, 12, 8)).item()
        assert alpha == pytest.approx(loops.boundary_share(boundary[valid].tolist()))
        cells = [loops.cell_labels(boundary[b].numpy(), valid[b].numpy(), 2, (3, 4)) for b in range(2)]
        of_pixels = np.concatenate([found.ravel() for found, _ in cells])
        used = np.concatenate([known.ravel() for _, known in cells])
        assert not used.all()
        pixels = np.tanh(projection.numpy()).reshape(24, 1)[used]
        arguments = pixels, of_pixels[used], pixels, of_pixels[used], np.eye(len(pixels), dtype=bool)
        expected = loops.contrast_loss(*arguments, alpha, 0.2)
        assert expected > 0
        assert pixel_contrast(projection, boundary, valid).item() == pytest.approx(expected)

    def test_labels_count_where_they_are_valid(self) -> None:
        projection, boundary, valid = numbers(0, 2, 3, 6, 8), kinds(1, 2, 6, 8), kinds(2, 2, 6, 8, share=0.7)
        found, changed = (
            pixel_contrast(projection, labels, valid, generator=torch.Generator().manual_seed(0)).item()
            for labels in (boundary, boundary ^ ~valid)
        )
        assert found == changed

    def test_samples_are_an_estimate_of_all_pixels(self) -> None:
        """With as many pixels of each kind as there are of keys, the loss is the same on average."""
        projection = numbers(0, 2, 1, 20, 20)
        boundary = kinds(1, 2, 20, 20)
        valid = torch.ones_like(boundary)
        half = int(min(boundary.sum(), (~boundary).sum()))
        whole = pixel_contrast(projection, boundary, valid, LossWeights(anchors=2 * half, keys=2 * half)).item()
        few = LossWeights(anchors=60, keys=2 * half)
        generator = torch.Generator().manual_seed(0)
        drawn = [pixel_contrast(projection, boundary, valid, few, generator).item() for _ in range(60)]
        assert np.mean(drawn) == pytest.approx(whole, rel=0.05)

    def test_the_weight_of_negatives_falls_with_alpha(self) -> None:
        """Fewer boundaries among the pixels of the image, but the same in the coarser map: a larger alpha."""
        projection = numbers(0, 1, 1, 4, 4)
        thick = torch.zeros(1, 8, 8, dtype=torch.bool)
        thick[0, 2:4] = True
        thin = thick.clone()
        thin[0, 3] = False
        valid = torch.ones_like(thick)
        of_thin, of_thick = (pixel_contrast(projection, boundary, valid).item() for boundary in (thin, thick))
        arguments = bounded(projection).view(16, 1), thin[:, ::2, ::2].flatten()
        eye = torch.eye(16, dtype=torch.bool)
        for found, alpha in ((of_thin, 1 - 1 / 8), (of_thick, 1 - 1 / 4)):
            expected = weighted_contrast(*arguments, *arguments, torch.tensor(alpha), 0.2, eye)
            assert found == pytest.approx(expected.item())
        assert of_thin != of_thick

    def test_half_of_the_anchors_are_boundaries_that_were_missed(self) -> None:
        """Of 32 boundary cells four are missed: with 8 anchors they are half of those that get a gradient."""
        projection = numbers(0, 1, 2, 8, 8).requires_grad_()
        boundary = (torch.arange(8) % 2 == 0).expand(1, 8, 8)
        predicted = boundary.clone()
        predicted[0, 0] = False
        for seed in range(5):
            weights = LossWeights(anchors=8, keys=2, hard=True)
            generator = torch.Generator().manual_seed(seed)
            loss = pixel_contrast(projection, boundary, torch.ones_like(boundary), weights, generator, predicted)
            [gradient] = torch.autograd.grad(loss, projection)
            assert gradient[0, :, 0, ::2].abs().sum(0).count_nonzero() == 4
            assert 8 <= gradient.abs().sum(1).count_nonzero() <= 10

    def test_batch_without_boundaries(self) -> None:
        projection = numbers(0, 2, 2, 3, 4).requires_grad_()
        nothing = torch.zeros(2, 12, 16, dtype=torch.bool)
        loss = pixel_contrast(projection, nothing, ~nothing)
        loss.backward()
        assert loss.item() == 0
        assert projection.grad is not None
        assert projection.grad.eq(0).all()
