"""How each protocol hands a sample and a prediction to its metrics, and which of their results it reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int32

from upseg.data.sample import IGNORE, Sample
from upseg.errors import UpsegError
from upseg.formats.coco import mask_runs
from upseg.metrics.accumulator import Accumulator
from upseg.metrics.cell_matching import CellMatching
from upseg.metrics.class_agnostic import ClassAgnostic
from upseg.metrics.coco_mask_ap import CocoMaskAP
from upseg.metrics.depth_errors import Depth
from upseg.metrics.hungarian import HungarianScores
from upseg.metrics.panoptic_quality import PanopticQuality
from upseg.metrics.region_iou import RegionIoU
from upseg.metrics.region_sweep import RegionSweep
from upseg.metrics.voc_mask_ap import VocMaskAP
from upseg.segmentation import Category, Segmentation

_NYU_SHAPE = (480, 640)
# rows 45 to 470 and columns 41 to 600: where the depth of NYUv2 is projected to; Eigen et al., NeurIPS 2014
_EIGEN_CROP = (slice(45, 471), slice(41, 601))


def joined_scores(totals: tuple[Accumulator, ...]) -> dict[str, float]:
    """What each of the totals computes, in one table."""
    return {name: value for total in totals for name, value in total.compute().items()}


def update_bsds500(
    totals: tuple[RegionIoU, RegionSweep], _number: int, sample: Sample, prediction: Segmentation
) -> None:
    """Add one image with the maps of all its annotators."""
    regions, sweep = totals
    regions.update(sample.annotations, prediction.labels)
    sweep.update(sample.annotations, [prediction.labels])


def bsds500_scores(totals: tuple[RegionIoU, RegionSweep]) -> dict[str, float]:
    """IoU of regions, and the three measures of the benchmark at the one setting that there is."""
    regions, sweep = totals
    return regions.compute() | {name: scores.ods for name, scores in sweep.compute_scores().items()}


def update_voc_regions(totals: tuple[RegionIoU], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image; the one map has all regions."""
    totals[0].update([sample.segment_map], prediction.labels, sample.segment_map > 0)


def voc_region_scores(totals: tuple[RegionIoU]) -> dict[str, float]:
    """With one map for each image All, Fine and Coarse are the same."""
    return {"mean_iou": totals[0].compute_scores().all}


def update_hungarian(totals: tuple[HungarianScores], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image's classes and labels."""
    scores = totals[0]
    without = [segment.id for segment in prediction if segment.category is None]
    if (len(without) < len(prediction)) if scores.per_image else without:
        raise ValueError(
            "either all predicted segments of all images have classes (labels then mean the same everywhere) or none "
            f"has; here {len(without)} of {len(prediction)} have none, unlike in the first image"
        )
    labels = prediction.labels
    if not scores.per_image:
        # label 0 is void, so the class with id 0 has label 1
        labels = _looked_up(prediction, [segment.category.id + 1 for segment in prediction if segment.category])
    truth = sample.semantic_map(scores.categories)
    scores.update(truth, labels, truth != IGNORE)


def hungarian_classes(totals: tuple[HungarianScores]) -> list[dict[str, Any]]:
    """IoU of each class that has occurred."""
    scores = totals[0].compute_scores()
    rows = zip(totals[0].categories, scores.ious.tolist(), strict=True)
    return [{**_named(category), "iou": iou} for category, iou in rows if not np.isnan(iou)]


def update_entities(totals: tuple[ClassAgnostic], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image's things and stuff."""
    truth = sample.entity_map()
    totals[0].update(np.maximum(truth, 0), prediction.labels, truth != IGNORE)


def update_cells(totals: tuple[CellMatching], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image's things."""
    truth = sample.instance_map()
    totals[0].update(np.maximum(truth, 0), prediction.labels, truth != IGNORE)


def update_panoptic(totals: tuple[PanopticQuality], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image's segments, all of which need a class."""
    truth = {segment.id: segment.category.id for segment in sample.segments if segment.category is not None}
    totals[0].update(sample.segment_map, truth, prediction.labels, _classes(prediction), sample.crowds)


def panoptic_classes(totals: tuple[PanopticQuality]) -> list[dict[str, Any]]:
    """The three qualities of each class that has occurred."""
    return [
        {**_named(category), "pq": scores.pq, "sq": scores.sq, "rq": scores.rq}
        for category, scores in totals[0].per_class().items()
    ]


def update_coco_instances(
    totals: tuple[CocoMaskAP],
    number: int,
    sample: Sample,
    prediction: Segmentation,
    annotations: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Add one image's things; predicted stuff is left out.

    Args:
        totals: The metric.
        number: The number of the image.
        sample: The ground truth.
        prediction: The prediction.
        annotations: The image's rows in COCO's annotation file, whose masks may overlap; without them the masks are
            those of the sample's map.
    """
    metric = totals[0]
    things, classes, scores = _detections(prediction, metric.categories)
    if annotations is None:
        truth = _looked_up(sample, [segment.id if segment.is_thing else 0 for segment in sample.segments])
        known = {s.id: s.category.id for s in sample.segments if s.is_thing and s.category is not None}
        metric.update(number, truth, known, things, classes, scores, sample.crowds)
        return
    metric.update(number, np.zeros_like(things), {}, things, classes, scores)
    of_things = {category.id for category in metric.categories if category.is_thing}
    own = [_coco_row(number, row, sample.shape) for row in annotations if row["category_id"] in of_things]
    lines = "".join(f"{json.dumps(row)}\n" for row in own)
    metric.append(annotations=np.frombuffer(lines.encode(), np.uint8))


def _coco_row(number: int, row: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    """What COCO's evaluation looks at in an annotation; the area as annotated, else counted."""
    area = row.get("area")
    if area is None:
        runs = mask_runs([row], shape)
        area = int((runs.stops - runs.starts).sum())
    return {
        "image_id": number,
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


def update_voc_instances(totals: tuple[VocMaskAP], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image's things; predicted stuff is left out."""
    categories = totals[0].categories
    truth = sample.instance_map()
    valid = truth != IGNORE
    if any(not category.is_thing for category in categories):
        # the background is a class, so that what is unlabelled is void
        valid &= sample.segment_map > 0
    things, classes, scores = _detections(prediction, categories)
    known = {s.id: s.category.id for s in sample.segments if s.category is not None}
    totals[0].update(np.maximum(truth, 0), known, things, classes, scores, valid)


def voc_classes(totals: tuple[VocMaskAP]) -> list[dict[str, Any]]:
    """Average precision at each threshold of each class that has an object."""
    metric = totals[0]
    names = [f"ap{round(100 * threshold)}" for threshold in metric.thresholds]
    return [
        {**_named(category), **dict(zip(names, values, strict=True))}
        for category, values in zip(metric.categories, metric.per_class().tolist(), strict=True)
        if not np.isnan(values).any()
    ]


def update_depth(totals: tuple[Depth], _number: int, sample: Sample, prediction: Float[np.ndarray, "_ _"]) -> None:
    """Add one image's depth in metres."""
    if sample.depth is None:
        raise ValueError("the ground truth has no depth")
    valid = None
    if sample.shape == _NYU_SHAPE:
        valid = np.zeros(sample.shape, bool)
        valid[_EIGEN_CROP] = True
    totals[0].update(sample.depth, prediction, valid)


def _detections(
    prediction: Segmentation, categories: Sequence[Category]
) -> tuple[Int32[np.ndarray, "h w"], Mapping[int, int], Mapping[int, float]]:
    """The predicted things: their map, and class and score of each; a segment without a score has 1."""
    stuff = {category.id for category in categories if not category.is_thing}
    classes = {segment: category for segment, category in _classes(prediction).items() if category not in stuff}
    scores = {s.id: 1.0 if s.score is None else s.score for s in prediction if s.id in classes}
    labels = _looked_up(prediction, [s.id if s.id in classes else 0 for s in prediction])
    return labels, classes, scores


def _classes(prediction: Segmentation) -> dict[int, int]:
    """Category id by segment."""
    without = [segment.id for segment in prediction if segment.category is None]
    if without:
        raise ValueError(
            f"this protocol needs a class for each predicted segment, but {len(without)} of {len(prediction)} have "
            f"none, the first with id {without[0]}; `entity` measures segments without classes"
        )
    return {segment.id: segment.category.id for segment in prediction if segment.category is not None}


def _looked_up(source: Sample | Segmentation, values: Sequence[int]) -> Int32[np.ndarray, "h w"]:
    """The label map with each id k replaced by `values[k - 1]`."""
    labels = source.segment_map if isinstance(source, Sample) else source.labels
    table: Int32[np.ndarray, " k1"] = np.array([0, *values], np.int32)
    return np.take(table, labels)


def _named(category: Category) -> dict[str, Any]:
    return {"id": category.id, "name": category.name, "is_thing": category.is_thing}
