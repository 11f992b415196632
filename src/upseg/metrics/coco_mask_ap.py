"""Mask average precision as on COCO, computed by faster-coco-eval."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from upseg.functional.label_maps import LabelMap, canonical_order, segment_areas, segment_boxes
from upseg.functional.runs import encode_label_map
from upseg.metrics.accumulator import Accumulator
from upseg.segmentation import Category

_RESULT_KEYS = ("image_id", "category_id", "segmentation", "score")
# our names, and those of faster-coco-eval
_NAMES = {
    "ap": "AP_all",
    "ap50": "AP_50",
    "ap75": "AP_75",
    "ap_small": "AP_small",
    "ap_medium": "AP_medium",
    "ap_large": "AP_large",
}


class CocoMaskAP(Accumulator):
    """COCO's mask AP, gathered image by image: over label maps by `update`, or where masks overlap by `add_rows`.

    Matching is greedy by score within image and category at IoU 0.50 to 0.95; detections on a crowd are ignored. Needs
    the `train` extra.

    Keeps the run lengths of every segment; for distributed use image ids must differ between processes.

    Args:
        categories: The classes, each with its id in the data set.
        max_detections: Detections of highest score that count in each image and category; COCO's is 100.

    Example:
        >>> metric = CocoMaskAP([Category(3, "dog")])
        >>> labels = np.array([[1, 1, 2, 2]])
        >>> metric.update(1, labels, {1: 3, 2: 3}, labels, {1: 3, 2: 3}, scores={1: 0.9, 2: 0.4})
        >>> round(metric.compute()["ap"], 3)
        1.0
    """

    def __init__(self, categories: Sequence[Category], max_detections: int = 100) -> None:
        nothing = np.zeros(0, np.uint8)
        super().__init__({}, {"images": nothing, "annotations": nothing, "results": nothing})
        self.categories, self.max_detections = tuple(categories), max_detections

    def update(
        self,
        image_id: int,
        truth: LabelMap,
        truth_categories: Mapping[int, int],
        prediction: LabelMap,
        prediction_categories: Mapping[int, int],
        scores: Mapping[int, float],
        crowd_ids: Collection[int] = (),
    ) -> None:
        """Add one image.

        Args:
            image_id: Its number, which no other image has.
            truth: (H, W) ids, 0 no object.
            truth_categories: Category id of each id in `truth`.
            prediction: (H, W) ids, 0 void.
            prediction_categories: Category id of each id in `prediction`.
            scores: Confidence of each id in `prediction`.
            crowd_ids: Ids in `truth` that are crowds.

        Raises:
            ValueError: If the shapes differ, or an id lacks its category or score.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"the two label maps must have the same shape, got {truth.shape} and {prediction.shape}")
        crowds = {value: int(value in crowd_ids) for value in truth_categories}
        annotations = label_map_rows(image_id, truth, category_id=truth_categories, iscrowd=crowds)
        results = label_map_rows(image_id, prediction, category_id=prediction_categories, score=scores)
        self.add_rows(image_id, (truth.shape[0], truth.shape[1]), annotations, results)

    def add_rows(
        self,
        image_id: int,
        shape: tuple[int, int],
        annotations: Iterable[Mapping[str, Any]],
        results: Iterable[Mapping[str, Any]],
    ) -> None:
        """Add one image whose masks are given whole, as rows of COCO's files: they may overlap.

        Args:
            image_id: Its number, which no other image has.
            shape: (H, W) in pixels.
            annotations: Rows with category_id, segmentation, area and iscrowd.
            results: Rows with category_id, segmentation (run lengths) and score.
        """
        image = {"id": image_id, "height": shape[0], "width": shape[1]}
        own, found = ([{**row, "image_id": image_id} for row in rows] for rows in (annotations, results))
        self.append(images=_to_bytes([image]), annotations=_to_bytes(own), results=_to_bytes(found))

    def compute(self) -> dict[str, float]:
        """`ap`, the mean over IoU 0.50 to 0.95, `ap50`, `ap75`, and by area, limits 32² and 96² pixels, three more.

        Returns:
            Also `ap_small`, `ap_medium`, `ap_large`, each in [0, 1]; nan without a ground-truth object of that kind.

        Raises:
            ValueError: If a result lacks one of its entries, or has a category that is none of the ground truth's.
        """
        annotations = _from_bytes(self.rows("annotations"))
        truth = {
            "images": _from_bytes(self.rows("images")),
            "categories": [{"id": category.id, "name": category.name} for category in self.categories],
            "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)],
        }
        return _figures(truth, _from_bytes(self.rows("results")), self.max_detections)


def _figures(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], max_detections: int) -> dict[str, float]:
    """COCO's mask AP from the content of an `instances_*.json`, and from COCO's form of results."""
    from faster_coco_eval import COCO, COCOeval_faster

    _check_results(truth, results)
    # the library writes to what it is given; boxes it takes from the masks where there are none
    reference = COCO(copy.deepcopy(dict(truth)), print_function=_silent)
    detections = reference.loadRes([{key: result[key] for key in _RESULT_KEYS} for result in results])
    evaluation = COCOeval_faster(reference, detections, "segm", print_function=_silent)
    evaluation.params.maxDets = [max_detections]
    evaluation.run()
    found = evaluation.stats_as_dict
    return {ours: found[theirs] if found[theirs] >= 0 else float("nan") for ours, theirs in _NAMES.items()}


def label_map_rows(
    image_id: int, labels: LabelMap, **columns: Mapping[int, int] | Mapping[int, float]
) -> list[dict[str, Any]]:
    """One COCO annotation for each segment, with a value from each of the columns."""
    canonical, ids = canonical_order(labels)
    for name, column in columns.items():
        missing = [value for value in ids.tolist() if value not in column]
        if missing:
            raise ValueError(f"every segment needs a {name}, but ids {missing[:5]} of image {image_id} have none")
    areas, boxes, counts = segment_areas(canonical), segment_boxes(canonical), encode_label_map(canonical)
    return [
        {
            "image_id": image_id,
            "segmentation": {"size": list(labels.shape), "counts": counts[index]},
            "area": int(areas[index + 1]),
            "bbox": [left, top, right - left, bottom - top],
            **{name: column[value] for name, column in columns.items()},
        }
        for index, (value, (top, left, bottom, right)) in enumerate(zip(ids.tolist(), boxes, strict=True))
    ]


def _to_bytes(entries: Iterable[Mapping[str, Any]]) -> UInt8[np.ndarray, " n"]:
    """One line of JSON for each entry, as bytes: text that arrays, and so processes, can join."""
    return np.frombuffer("".join(json.dumps(entry) + "\n" for entry in entries).encode(), np.uint8)


def _from_bytes(lines: UInt8[np.ndarray, " n"]) -> list[dict[str, Any]]:
    """The entries of lines of JSON."""
    return [json.loads(line) for line in lines.tobytes().splitlines()]


def _check_results(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """Every result must be complete, and of an image and a category that the ground truth knows."""
    incomplete = next((result for result in results if not set(_RESULT_KEYS) <= result.keys()), None)
    if incomplete is not None:
        raise ValueError(f"each result needs {', '.join(_RESULT_KEYS)}, but one has only {', '.join(incomplete)}")
    for key, table in (("image_id", "images"), ("category_id", "categories")):
        unknown = {result[key] for result in results} - {entry["id"] for entry in truth[table]}
        if unknown:
            raise ValueError(
                f"each result's {key} must be in the ground truth's {table}, but {sorted(unknown)[:5]} are not; "
                "are the two of the same data set?"
            )


def _silent(*_: object) -> None:
    """Swallow the library's progress messages."""
