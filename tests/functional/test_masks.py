from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.formats.strategies import labels_of
from upseg.functional.runs import encode_label_map
from upseg.segmentation import Category, Segmentation

FIRST = labels_of("11..", "11..", "....") == 1
SECOND = labels_of("....", ".222", ".222") == 2
OVER = labels_of("11..", "1222", ".222")
UNDER = labels_of("11..", "1122", ".222")
CAT, DOG = Category(3, "cat"), Category(4, "dog")


def sources() -> dict[str, object]:
    both = np.stack([FIRST, SECOND])
    columns = {"scores": torch.tensor([0.75, 0.5]), "labels": torch.tensor([3, 4])}
    encoded = [encode_label_map(mask.astype(np.int32))[0] for mask in both]
    records = [{"size": [3, 4], "counts": text} for text in encoded]
    return {
        "torchvision": {"masks": torch.from_numpy(both)[:, None] * 0.9, **columns},
        "SAM": [{"segmentation": m, "predicted_iou": s} for m, s in zip(both, (0.75, 0.5), strict=True)],
        "SAM, run lengths": [
            {"segmentation": m, "predicted_iou": s} for m, s in zip(records, (0.75, 0.5), strict=True)
        ],
        "supervision": SimpleNamespace(
            mask=both, confidence=np.array([0.75, 0.5]), class_id=np.array([3, 4]), data={"class_name": ["cat", "dog"]}
        ),
    }


@pytest.mark.parametrize("name", sources())
def test_a_pixel_goes_to_the_mask_with_the_highest_score(name) -> None:
    found = Segmentation.from_masks(sources()[name])
    np.testing.assert_array_equal(found.labels, UNDER)
    assert [segment.score for segment in found] == [0.75, 0.5]
    names = {"supervision": ["cat", "dog"], "torchvision": ["class 3", "class 4"]}.get(name)
    assert [s.category and s.category.name for s in found] == (names or [None, None])


def test_given_scores_win() -> None:
    for found in sources().values():
        np.testing.assert_array_equal(Segmentation.from_masks(found, scores=[0.1, 0.2]).labels, OVER)


def test_without_scores_the_smaller_mask_lies_on_top() -> None:
    for masks in (
        [FIRST, SECOND],
        np.stack([FIRST, SECOND]),
        torch.from_numpy(np.stack([FIRST, SECOND])).float() * 0.6,
    ):
        found = Segmentation.from_masks(masks)
        np.testing.assert_array_equal(found.labels, UNDER)
        assert found[1].score is None


def test_a_hidden_mask_is_left_out_and_the_others_keep_their_facts() -> None:
    small = np.zeros_like(FIRST)
    small[0, 0] = True
    found = Segmentation.from_masks([small, FIRST, SECOND], scores=[0.1, 0.75, 0.5], categories=[DOG, CAT, DOG])
    np.testing.assert_array_equal(found.labels, UNDER)
    assert [segment.category for segment in found] == [CAT, DOG]


def test_what_transformers_gives() -> None:
    rows = [{"id": 7, "label_id": 3, "score": 0.75}, {"id": 9, "label_id": 4, "score": 0.5}]
    segmentation = torch.tensor([[7, 7, -1], [9, -1, 9]])
    found = Segmentation.from_masks({"segmentation": segmentation, "segments_info": rows}, categories={3: CAT, 4: DOG})
    np.testing.assert_array_equal(found.labels, labels_of("11.", "2.2"))
    assert [(segment.score, segment.category) for segment in found] == [(0.75, CAT), (0.5, DOG)]


@pytest.mark.parametrize(
    ("masks", "options", "message"),
    [
        ([], {}, "there is no mask"),
        ([FIRST, FIRST[1:]], {}, "of one size, got the shapes"),
        ([FIRST], {"scores": [1.0, 2.0]}, "1 masks, but 2 scores"),
        ([FIRST], {"categories": []}, "1 masks, but 0 categories"),
        ({"boxes": []}, {}, "has masks, or segmentation"),
        ({"masks": FIRST[None], "labels": np.array([5])}, {"categories": {3: CAT}}, r"class 5 is not among .* \[3\]"),
        (SimpleNamespace(mask=None, confidence=None), {}, "boxes but no masks"),
    ],
)
def test_what_does_not_fit_together(masks, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Segmentation.from_masks(masks, **options)


def test_back_to_masks_and_into_napari() -> None:
    found = Segmentation.from_masks([FIRST, SECOND], categories=[CAT, DOG])
    np.testing.assert_array_equal(found.masks(), [UNDER == 1, UNDER == 2])
    labels, options, kind = found.to_napari("cells")
    assert kind == "labels"
    assert labels is found.labels
    assert options["name"] == "cells"
    assert options["features"] == {"index": [1, 2], "area": [4, 5], "score": [None, None], "category": ["cat", "dog"]}


def test_supervision_itself_gives_back_what_it_got() -> None:
    pytest.importorskip("supervision", reason="supervision is not installed")
    found = Segmentation.from_masks([FIRST, SECOND], scores=[0.75, 0.5], categories=[CAT, DOG])
    again = Segmentation.from_masks(found.to_supervision())
    assert again == found
    assert found.to_supervision().xyxy.tolist() == [[0, 0, 2, 2], [1, 1, 4, 3]]


def test_what_has_no_class_in_supervision_has_none_here() -> None:
    pytest.importorskip("supervision", reason="supervision is not installed")
    half = Segmentation.from_labels(np.array([[1, 0, 2]]), categories={1: Category(3, "cat")})
    again = Segmentation.from_masks(half.to_supervision())
    assert [segment.category for segment in again] == [Category(3, "cat"), None]
    nothing = Segmentation.from_labels(np.zeros((2, 3), int)).to_supervision()
    assert (len(nothing), nothing.mask.shape) == (0, (0, 2, 3))
