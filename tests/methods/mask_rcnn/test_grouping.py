"""From detections to a label map: pasting is the inverse of what the masks are trained with; the best lies on top."""

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from upseg.methods.mask_rcnn.grouping import paint_detections, paste_mask
from upseg.methods.mask_rcnn.network import Detections
from upseg.methods.mask_rcnn.settings import MaskRcnnSettings

SETTINGS = MaskRcnnSettings(minimum_visible=0.0)


def projected(mask: np.ndarray, box: list[float]) -> np.ndarray:
    """The 28 x 28 cells that torchvision would train a mask in a box with."""
    masks = torch.from_numpy(mask[None].astype(np.float32))
    return project_masks_on_boxes(masks, torch.tensor([box]), torch.zeros(1), 28)[0].numpy()


def pasted(cells: np.ndarray, box: list[float], size: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)):
    window, mask = paste_mask(cells, np.array(box, np.float32), size, scale, 0.5)
    whole = np.zeros(size, bool)
    whole[window] = mask
    return whole


def slow_paste(cells: np.ndarray, box: list[float], size: tuple[int, int], scale: tuple[float, float]) -> np.ndarray:
    """Pixel by pixel: the bilinear value at each centre that lies in the box, by torchvision's coordinates."""
    left, top, right, bottom = box
    whole = np.zeros(size)
    for row in range(size[0]):
        for column in range(size[1]):
            y, x = (row + 0.5) * scale[0], (column + 0.5) * scale[1]
            if not (top <= y < bottom and left <= x < right):
                continue
            v = min(max((y - 0.5 - top) / (bottom - top) * len(cells) - 0.5, 0), len(cells) - 1)
            u = min(max((x - 0.5 - left) / (right - left) * len(cells) - 0.5, 0), len(cells) - 1)
            v0, u0 = int(v), int(u)
            v1, u1 = min(v0 + 1, len(cells) - 1), min(u0 + 1, len(cells) - 1)
            upper = cells[v0, u0] * (1 - (u - u0)) + cells[v0, u1] * (u - u0)
            lower = cells[v1, u0] * (1 - (u - u0)) + cells[v1, u1] * (u - u0)
            whole[row, column] = upper * (1 - (v - v0)) + lower * (v - v0)
    return whole


class TestPasting:
    @pytest.mark.parametrize("side", [1, 2, 3, 5, 10, 14, 20])
    def test_brings_back_what_the_masks_are_trained_with(self, side: int) -> None:
        """A small disc, pixel by pixel: half a pixel of shift would move its border."""
        rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
        mask = np.zeros((30, 33), bool)
        mask[4 : 4 + side, 7 : 7 + side] = rows**2 + columns**2 <= (side / 2) ** 2
        box = [7.0, 4.0, 7.0 + side, 4.0 + side]
        np.testing.assert_array_equal(pasted(projected(mask, box), box, mask.shape), mask)

    @pytest.mark.parametrize("corner", [(0, 0), (0, 23), (20, 0), (20, 23)])
    def test_at_the_edges_of_the_image(self, corner: tuple[int, int]) -> None:
        row, column = corner
        mask = np.zeros((30, 33), bool)
        mask[row : row + 10, column : column + 10] = True
        mask[row + 4 : row + 6, column + 4 : column + 6] = False  # a hole
        box = [column, row, column + 10.0, row + 10.0]
        np.testing.assert_array_equal(pasted(projected(mask, box), box, mask.shape), mask)

    @pytest.mark.parametrize("scale", [(1.0, 1.0), (2.0, 2.0), (0.5, 0.75), (1.37, 0.9)])
    def test_agrees_with_the_loop(self, scale: tuple[float, float]) -> None:
        generator = np.random.default_rng(3)
        cells = generator.random((28, 28))
        for box in ([2.3, 1.7, 15.2, 9.9], [0.0, 0.0, 4.0, 40.0], [5.5, 5.5, 5.9, 5.9]):
            probabilities = slow_paste(cells, box, (17, 19), scale)
            clear = np.abs(probabilities - 0.5) > 1e-4
            found = pasted(cells, box, (17, 19), scale)
            np.testing.assert_array_equal(found[clear], (probabilities >= 0.5)[clear])

    def test_a_box_seen_twice_as_large_is_the_same_pixels(self) -> None:
        full = np.ones((28, 28))
        expected = np.zeros((12, 12), bool)
        expected[2:5, 3:9] = True
        np.testing.assert_array_equal(pasted(full, [3.0, 2.0, 9.0, 5.0], (12, 12)), expected)
        np.testing.assert_array_equal(pasted(full, [6.0, 4.0, 18.0, 10.0], (12, 12), (2.0, 2.0)), expected)

    def test_boxes_outside_or_between_pixels_hold_nothing(self) -> None:
        full = np.ones((28, 28))
        for box in ([50.0, 50.0, 60.0, 60.0], [-9.0, -9.0, 0.2, 0.2], [3.6, 3.6, 4.4, 4.4], [4.0, 4.0, 4.0, 4.0]):
            assert not pasted(full, box, (12, 12)).any()

    def test_pixels_beyond_the_box_are_never_painted(self) -> None:
        found = pasted(np.ones((28, 28)), [-5.0, 3.0, 100.0, 6.0], (12, 12))
        assert np.nonzero(found.all(1))[0].tolist() == [3, 4, 5]
        assert found.sum() == 36


def painted(boxes, scores, settings: MaskRcnnSettings = SETTINGS, positions=None, size=(10, 12)):
    """Detections whose masks fill their boxes."""
    count = len(boxes)
    parts = (
        np.array(boxes, np.float32).reshape(count, 4),
        np.array(positions or [0] * count, np.int64),
        np.array(scores, np.float32),
    )
    found = Detections(*map(torch.from_numpy, parts), masks=torch.ones(count, 28, 28))
    return paint_detections(found, size, (1.0, 1.0), settings)


LEFT, RIGHT = [0, 0, 6, 10], [4, 0, 12, 10]


class TestPainting:
    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_the_highest_score_lies_on_top_whatever_the_order(self, order: tuple[int, int]) -> None:
        boxes, scores = [[LEFT, RIGHT][i] for i in order], [[0.9, 0.7][i] for i in order]
        found = painted(boxes, scores, positions=[order[0] + 3, order[1] + 3])
        first, second = order.index(0) + 1, order.index(1) + 1
        expected = np.full((10, 12), second)
        expected[:, :6] = first
        np.testing.assert_array_equal(found.labels, expected)
        assert found.classes == {first: 3, second: 4}
        assert found.scores == pytest.approx({first: 0.9, second: 0.7})

    def test_of_equal_scores_the_first_lies_on_top(self) -> None:
        assert (painted([LEFT, RIGHT], [0.8, 0.8]).labels[:, 5] == 1).all()
        assert (painted([RIGHT, LEFT], [0.8, 0.8]).labels[:, 5] == 1).all()

    def test_low_scores_are_dropped(self) -> None:
        found = painted([LEFT, RIGHT], [0.4, 0.6])
        assert set(found.scores) == {2}
        np.testing.assert_array_equal(np.unique(found.labels), [0, 2])
        assert set(painted([LEFT, RIGHT], [0.4, 0.6], MaskRcnnSettings(minimum_score=0.4)).scores) == {1, 2}

    def test_small_ones_are_dropped_and_free_their_pixels(self) -> None:
        settings = MaskRcnnSettings(minimum_area=30, minimum_visible=0.0)
        found = painted([[0, 0, 5, 5], LEFT], [0.9, 0.8], settings)  # 25 pixels, below and above which are 60
        assert set(found.scores) == {2}
        assert (found.labels == 2).sum() == 60

    def test_what_is_mostly_hidden_is_dropped(self) -> None:
        inner = [0, 0, 6, 8]  # 48 of the 60 pixels of LEFT
        assert set(painted([inner, LEFT], [0.9, 0.8], MaskRcnnSettings(minimum_visible=0.21)).scores) == {1}
        both = painted([inner, LEFT], [0.9, 0.8], MaskRcnnSettings(minimum_visible=0.2))
        assert (both.labels == 2).sum() == 12
        assert set(painted([LEFT, LEFT], [0.9, 0.8]).scores) == {1}  # one pixel at least

    def test_no_detections_no_segments(self) -> None:
        found = painted([], [])
        assert not found.labels.any()
        assert (found.classes, found.scores) == ({}, {})
