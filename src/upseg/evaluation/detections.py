"""Predicted segments as detections: which count, with which class and score, and how COCO's mask AP gets to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from upseg.data.sample import Sample
from upseg.errors import UpsegError
from upseg.evaluation.json_sets import WholeMasks
from upseg.formats.coco import mask_runs
from upseg.functional.runs import encode_label_map, paint_runs
from upseg.metrics.coco_mask_ap import CocoMaskAP, label_map_rows
from upseg.segmentation import Category, Segmentation

OBJECT = Category(1, "object")
"""The one class of `coco-agnostic`."""


def update_coco_instances(
    totals: tuple[CocoMaskAP],
    number: int,
    sample: Sample,
    prediction: Segmentation | WholeMasks,
    annotations: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Add one image's things; predicted stuff is left out.

    Args:
        totals: The metric.
        number: The number of the image.
        sample: The ground truth.
        prediction: The prediction; masks that overlap count whole.
        annotations: The image's rows in COCO's annotation file, whose masks may overlap; without them the masks are
            those of the sample's map.
    """
    metric = totals[0]
    of_things = {category.id for category in metric.categories if category.is_thing}
    if isinstance(prediction, WholeMasks):
        results = [_run_lengths(row, sample.shape) for row in prediction.rows if row["category_id"] in of_things]
    else:
        things, classes, scores = detections(prediction, metric.categories)
        if unknown := {*classes.values()} - {category.id for category in metric.categories}:
            raise ValueError(f"it has the category {min(unknown)}, which is none of the ground truth's")
        results = label_map_rows(number, things, category_id=classes, score=scores)
    if annotations is None:
        truth = looked_up(sample, [segment.id if segment.is_thing else 0 for segment in sample.segments])
        known = {s.id: s.category.id for s in sample.segments if s.is_thing and s.category is not None}
        crowds = {segment: int(segment in sample.crowds) for segment in known}
        own = label_map_rows(number, truth, category_id=known, iscrowd=crowds)
    else:
        own = [_coco_row(row, sample.shape) for row in annotations if row["category_id"] in of_things]
    metric.add_rows(number, sample.shape, own, results)


def update_coco_agnostic(
    totals: tuple[CocoMaskAP],
    number: int,
    sample: Sample,
    prediction: Segmentation | WholeMasks,
    annotations: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Add one image's things as objects of one class; predictions without classes are objects, predicted stuff none."""
    of_things = {category.id for category in sample.categories.values() if category.is_thing}
    if isinstance(prediction, WholeMasks):
        results = [_run_lengths(row, sample.shape) for row in prediction.rows]
    else:
        kept = [s.category is None or s.category.is_thing or s.category.id in of_things for s in prediction]
        objects = looked_up(prediction, [s.id if keep else 0 for s, keep in zip(prediction, kept, strict=True)])
        scores = {s.id: 1.0 if s.score is None else s.score for s in prediction}
        results = label_map_rows(number, objects, category_id=dict.fromkeys(scores, OBJECT.id), score=scores)
    if annotations is None:
        truth = looked_up(sample, [segment.id if segment.is_thing else 0 for segment in sample.segments])
        crowds = {s.id: int(s.id in sample.crowds) for s in sample.segments}
        own = label_map_rows(number, truth, category_id=dict.fromkeys(crowds, OBJECT.id), iscrowd=crowds)
    else:
        things = [row for row in annotations if not sample.categories or row.get("category_id") in of_things]
        own = [_coco_row({**row, "category_id": OBJECT.id}, sample.shape) for row in things]
    rows = ([{**row, "category_id": OBJECT.id} for row in part] for part in (own, results))
    totals[0].add_rows(number, sample.shape, *rows)


def _run_lengths(row: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    """What COCO's evaluation looks at in a result; polygons become run lengths."""
    mask = row["segmentation"]
    if isinstance(mask, list):
        inside = paint_runs(mask_runs([row], shape), shape[0] * shape[1])[0].reshape(shape[1], shape[0]).T
        mask = {"size": list(shape), "counts": (encode_label_map(inside) or [""])[0]}
    return {"category_id": row["category_id"], "segmentation": mask, "score": row["score"]}


def _coco_row(row: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    """What COCO's evaluation looks at in an annotation; the area as annotated, else counted."""
    area = row.get("area")
    if area is None:
        runs = mask_runs([row], shape)
        area = int((runs.stops - runs.starts).sum())
    return {
        "category_id": row["category_id"],
        "segmentation": row["segmentation"],
        "area": area,
        "iscrowd": int(bool(row.get("iscrowd"))),
    }


def coco_scores(totals: tuple[CocoMaskAP]) -> dict[str, float]:
    """COCO's figures."""
    try:
        return totals[0].compute()
    except ImportError as error:
        raise UpsegError("COCO's mask AP is computed by faster-coco-eval: pip install 'upseg[train]'") from error


def agnostic_scores(totals: tuple[CocoMaskAP]) -> dict[str, float]:
    """The three figures that the paper of `entity` has in its Table 4."""
    scores = coco_scores(totals)
    return {name: scores[name] for name in ("ap", "ap50", "ap75")}


def detections(
    prediction: Segmentation, categories: Sequence[Category]
) -> tuple[Int32[np.ndarray, "h w"], Mapping[int, int], Mapping[int, float]]:
    """The predicted things: their map, and class and score of each; a segment without a score has 1."""
    stuff = {category.id for category in categories if not category.is_thing}
    known = {category.id for category in categories}
    stuff |= {s.category.id for s in prediction if s.category is not None and not s.category.is_thing} - known
    classes = {segment: category for segment, category in classes_of(prediction).items() if category not in stuff}
    scores = {s.id: 1.0 if s.score is None else s.score for s in prediction if s.id in classes}
    labels = looked_up(prediction, [s.id if s.id in classes else 0 for s in prediction])
    return labels, classes, scores


def classes_of(prediction: Segmentation) -> dict[int, int]:
    """Category id by segment."""
    without = [segment.id for segment in prediction if segment.category is None]
    if without:
        raise ValueError(
            f"this protocol needs a class for each predicted segment, but {len(without)} of {len(prediction)} have "
            f"none, the first with id {without[0]}; `entity` measures segments without classes"
        )
    return {segment.id: segment.category.id for segment in prediction if segment.category is not None}


def looked_up(source: Sample | Segmentation, values: Sequence[int]) -> Int32[np.ndarray, "h w"]:
    """The label map with each id k replaced by `values[k - 1]`."""
    labels = source.segment_map if isinstance(source, Sample) else source.labels
    table: Int32[np.ndarray, " k1"] = np.array([0, *values], np.int32)
    return np.take(table, labels)
