"""The papers' protocols: which metric, on which ground truth, with which rules, and how a sample gets to the metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int32

from upseg.data.sample import IGNORE, Sample
from upseg.errors import UpsegError
from upseg.evaluation.json_sets import WholeMasks
from upseg.formats.coco import mask_runs
from upseg.functional.rle import encode_label_map
from upseg.functional.runs import paint_runs
from upseg.metrics.accumulator import Accumulator
from upseg.metrics.cell_matching import CellMatching
from upseg.metrics.class_agnostic import ClassAgnostic
from upseg.metrics.coco_mask_ap import CocoMaskAP, label_map_rows
from upseg.metrics.depth_errors import Depth
from upseg.metrics.hungarian import HungarianScores
from upseg.metrics.panoptic_quality import PanopticQuality
from upseg.metrics.region_iou import RegionIoU
from upseg.metrics.region_sweep import RegionSweep
from upseg.metrics.voc_mask_ap import VocMaskAP
from upseg.segmentation import Category, Segmentation

TruthKind = Literal["segments", "annotators", "classes", "depth"]

MOST_LABELS = 1023
"""The largest label that a prediction of `coco-stuff27` can have in all images alike."""

OBJECT = Category(1, "object")
"""The one class of `coco-agnostic`."""

_NYU_SHAPE = (480, 640)
# rows 45 to 470 and columns 41 to 600: where the depth of NYUv2 is projected to; Eigen et al., NeurIPS 2014
_EIGEN_CROP = (slice(45, 471), slice(41, 601))


def _joined_scores(totals: tuple[Accumulator, ...]) -> dict[str, float]:
    """What each of the totals computes, in one table."""
    return {name: value for total in totals for name, value in total.compute().items()}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How predictions are measured: everything that two people have to agree on to get the same number.

    Attributes:
        name: What the command line calls it.
        description: One line for people: data sets and measures.
        rules: One line: how segments are matched, and what void and crowds do.
        truth: What the ground truth must have.
        score: The entry of the scores by which images are ranked.
        accumulators: Makes the empty totals, from the data set's classes and from whether the predicted segments have
            classes.
        update: Adds one image: (totals, number of the image, sample, prediction). The prediction is a `Segmentation`,
            or for depth an (H, W) array of metres.
        scores: The scores from the totals.
        higher_is_better: Whether a higher `score` is better.
        quoted: The scores that people quote, at most five; none for all.
        as_annotated: Whether `update` also takes the image's rows of a COCO file, as `annotations`, because masks in
            them overlap and a label map cannot show that.
    """

    name: str
    description: str
    rules: str
    truth: frozenset[TruthKind]
    score: str
    accumulators: Callable[[Sequence[Category], bool], tuple[Accumulator, ...]]
    update: Callable[..., None]
    scores: Callable[[tuple[Any, ...]], Mapping[str, float]] = _joined_scores
    higher_is_better: bool = True
    as_annotated: bool = False
    quoted: tuple[str, ...] = ()

    @property
    def needs_depth(self) -> bool:
        """Whether predictions are depth maps and not segments."""
        return "depth" in self.truth


def _update_bsds500(
    totals: tuple[RegionIoU, RegionSweep], _number: int, sample: Sample, prediction: Segmentation
) -> None:
    """Add one image with the maps of all its annotators."""
    regions, sweep = totals
    regions.update(sample.annotations, prediction.labels)
    sweep.update(sample.annotations, [prediction.labels])


def _bsds500_scores(totals: tuple[RegionIoU, RegionSweep]) -> dict[str, float]:
    """IoU of regions, and the three measures of the benchmark at the one setting that there is."""
    regions, sweep = totals
    return regions.compute() | {
        name.removesuffix("_ods"): value for name, value in sweep.compute().items() if name.endswith("_ods")
    }


def _update_voc_regions(totals: tuple[RegionIoU], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image; the one map has all regions."""
    totals[0].update([sample.segment_map], prediction.labels, sample.segment_map > 0)


def _voc_region_scores(totals: tuple[RegionIoU]) -> dict[str, float]:
    """With one map for each image All, Fine and Coarse are the same."""
    return {"mean_iou": totals[0].compute()["all"]}


def _update_hungarian(totals: tuple[HungarianScores], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image's classes and labels."""
    scores = totals[0]
    without = [segment.id for segment in prediction if segment.category is None]
    if without:
        raise ValueError(
            f"this protocol makes one assignment for all images, so that labels must mean the same in each: give each "
            f"segment a class, {len(without)} of {len(prediction)} have none. Labels that one image was fitted with "
            "would need an assignment for each image, which looks up the truth as often as there are images and "
            "compares with no published figure; `upseg train -c dynaseg/coco-stuff27` trains one network for all"
        )
    # label 0 is void, so the class with id 0 has label 1
    labels = _looked_up(prediction, [segment.category.id + 1 for segment in prediction if segment.category])
    truth = sample.semantic_map(scores.categories)
    scores.update(truth, labels, truth != IGNORE)


def _update_entities(
    totals: tuple[ClassAgnostic],
    _number: int,
    sample: Sample,
    prediction: Segmentation,
    whole_masks: Iterable[Bool[np.ndarray, "h w"]] | None = None,
) -> None:
    """Add one image's things and stuff; masks that are annotated whole, one inside the other, are measured whole."""
    if whole_masks is not None:
        totals[0].update_masks(whole_masks, prediction.labels, _with_parts(prediction))
        return
    truth = sample.entity_map()
    totals[0].update(np.maximum(truth, 0), prediction.labels, truth != IGNORE)


def _with_parts(prediction: Segmentation) -> Iterator[Bool[np.ndarray, "h w"]]:
    """The mask of each predicted segment that others are parts of, with theirs."""
    children: dict[int, set[int]] = {}
    parent_of = {segment.id: segment.parent for segment in prediction}
    for segment, parent in parent_of.items():
        above = parent
        while above is not None:
            children.setdefault(above, {above}).add(segment)
            above = parent_of.get(above)
    for parts in children.values():
        yield np.isin(prediction.labels, sorted(parts))


def _update_cells(totals: tuple[CellMatching], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image's things."""
    truth = sample.instance_map()
    totals[0].update(np.maximum(truth, 0), prediction.labels, truth != IGNORE)


def _update_panoptic(totals: tuple[PanopticQuality], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image's segments, all of which need a class."""
    truth = {segment.id: segment.category.id for segment in sample.segments if segment.category is not None}
    totals[0].update(sample.segment_map, truth, prediction.labels, _classes(prediction), sample.crowds)


def _update_coco_instances(
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
        things, classes, scores = _detections(prediction, metric.categories)
        if unknown := {*classes.values()} - {category.id for category in metric.categories}:
            raise ValueError(f"it has the category {min(unknown)}, which is none of the ground truth's")
        results = label_map_rows(number, things, category_id=classes, score=scores)
    if annotations is None:
        truth = _looked_up(sample, [segment.id if segment.is_thing else 0 for segment in sample.segments])
        known = {s.id: s.category.id for s in sample.segments if s.is_thing and s.category is not None}
        crowds = {segment: int(segment in sample.crowds) for segment in known}
        own = label_map_rows(number, truth, category_id=known, iscrowd=crowds)
    else:
        own = [_coco_row(row, sample.shape) for row in annotations if row["category_id"] in of_things]
    metric.add_rows(number, sample.shape, own, results)


def _update_coco_agnostic(
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
        objects = _looked_up(prediction, [s.id if keep else 0 for s, keep in zip(prediction, kept, strict=True)])
        scores = {s.id: 1.0 if s.score is None else s.score for s in prediction}
        results = label_map_rows(number, objects, category_id=dict.fromkeys(scores, OBJECT.id), score=scores)
    if annotations is None:
        truth = _looked_up(sample, [segment.id if segment.is_thing else 0 for segment in sample.segments])
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


def _coco_scores(totals: tuple[CocoMaskAP]) -> dict[str, float]:
    """COCO's figures."""
    try:
        return totals[0].compute()
    except ImportError as error:
        raise UpsegError("COCO's mask AP is computed by faster-coco-eval: pip install 'upseg[train]'") from error


def _agnostic_scores(totals: tuple[CocoMaskAP]) -> dict[str, float]:
    """The three figures that the paper of `entity` has in its Table 4."""
    scores = _coco_scores(totals)
    return {name: scores[name] for name in ("ap", "ap50", "ap75")}


def _update_voc_instances(totals: tuple[VocMaskAP], _number: int, sample: Sample, prediction: Segmentation) -> None:
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


def _update_depth(totals: tuple[Depth], _number: int, sample: Sample, prediction: Float[np.ndarray, "_ _"]) -> None:
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
    known = {category.id for category in categories}
    stuff |= {s.category.id for s in prediction if s.category is not None and not s.category.is_thing} - known
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


_PANOPTIC_RULES = (
    "segments of one class match at IoU > 0.5; ground-truth void is left out of unions; crowds are neither matched nor "
    "missed; a predicted segment more than half on void or on crowd of its class is no false positive"
)

_PANOPTIC_QUOTED = ("pq", "sq", "rq", "pq_things", "pq_stuff")

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "bsds500",
            "BSDS500 regions: IoU All, Fine, Coarse and Mean; covering, PRI, VOI",
            "each annotator's region takes its best IoU over the labels (one label may serve several); means over all "
            "regions of all images; unlabelled pixels are no region; predicted void is no label; there are no crowds",
            frozenset({"annotators"}),
            "mean",
            lambda _, __: (RegionIoU(), RegionSweep()),
            _update_bsds500,
            _bsds500_scores,
            quoted=("all", "fine", "coarse", "mean", "covering"),
        ),
        Protocol(
            "voc-regions",
            "PASCAL VOC 2012 regions: mean best IoU",
            "each segment, the background and crowds too, is a region of its own and takes its best IoU over the "
            "labels (one label may serve several); void pixels are left out; mean over all regions of all images",
            frozenset({"segments"}),
            "mean_iou",
            lambda _, __: (RegionIoU(),),
            _update_voc_regions,
            _voc_region_scores,
        ),
        Protocol(
            "coco-stuff27",
            "unsupervised semantic segmentation: Hungarian mean IoU (all, things, stuff), pixel accuracy",
            "labels, which are the classes of predicted segments, are assigned to classes one to one by the Hungarian "
            "method, once for all images; unlabelled pixels are left out; crowds count as their class; mean_iou and "
            "pixel_accuracy compare with what PiCIE and STEGO report on all classes, mean_iou_things and _stuff are "
            "means of the same IoUs; mean_iou_things_only and _stuff_only, of the sub-matrices of things and of stuff "
            "alone, compare with DynaSeg's Things and Stuff and with nothing else",
            frozenset({"segments", "classes"}),
            "mean_iou",
            lambda categories, _: (HungarianScores(categories, MOST_LABELS),),
            _update_hungarian,
        ),
        Protocol(
            "entity",
            "class-agnostic entities: recall, mean IoU, Boundary IoU",
            "each entity takes its best IoU (one prediction may serve several; false positives do not count), recalled "
            "at IoU > 0.5; unlabelled pixels count in a prediction's union; crowd pixels are left out; masks of SA-1B, "
            "one inside the other, count whole, and so do predicted segments with their parts",
            frozenset({"segments"}),
            "mean_iou",
            lambda _, __: (ClassAgnostic(),),
            _update_entities,
        ),
        Protocol(
            "cells",
            "cells and nuclei: TP / (TP + FP + FN) and F1 at IoU 0.5 to 0.95",
            "largest one-to-one matching of cells at IoU >= 0.50, 0.55 ... 0.95, whatever their class; unlabelled "
            "pixels and stuff are background; crowd pixels are left out",
            frozenset({"segments"}),
            "ap",
            lambda _, __: (CellMatching(),),
            _update_cells,
            quoted=("ap", "ap50", "ap75", "f1_50", "image_ap50"),
        ),
        Protocol(
            "coco-panoptic",
            "COCO panoptic quality: PQ, SQ, RQ; things and stuff",
            _PANOPTIC_RULES,
            frozenset({"segments", "classes"}),
            "pq",
            lambda categories, _: (PanopticQuality(categories),),
            _update_panoptic,
            quoted=_PANOPTIC_QUOTED,
        ),
        Protocol(
            "cityscapes-panoptic",
            "Cityscapes panoptic quality: PQ, SQ, RQ; things and stuff",
            f"{_PANOPTIC_RULES}; regions of groups are crowds, the classes not evaluated are void",
            frozenset({"segments", "classes"}),
            "pq",
            lambda categories, _: (PanopticQuality(categories),),
            _update_panoptic,
            quoted=_PANOPTIC_QUOTED,
        ),
        Protocol(
            "coco-instances",
            "COCO mask AP: AP, AP50, AP75; small, medium, large",
            "greedy by score within image and class at IoU 0.50 to 0.95, 100 detections at most; detections on crowds "
            "are ignored; unlabelled pixels are background; segments without a score have 1; each ground-truth mask "
            "counts whole, overlapping or not",
            frozenset({"segments", "classes"}),
            "ap",
            lambda categories, _: (CocoMaskAP(categories),),
            _update_coco_instances,
            _coco_scores,
            as_annotated=True,
            quoted=("ap", "ap50", "ap75", "ap_small", "ap_large"),
        ),
        Protocol(
            "coco-agnostic",
            "COCO mask AP without classes: AP, AP50, AP75",
            "as coco-instances (detections on crowds are ignored, unlabelled pixels are background), but all things "
            "are objects of one class, and so are predicted segments, with or without a class; predicted stuff is left "
            "out",
            frozenset({"segments"}),
            "ap",
            lambda _, __: (CocoMaskAP((OBJECT,)),),
            _update_coco_agnostic,
            _agnostic_scores,
            as_annotated=True,
        ),
        Protocol(
            "voc-instances",
            "PASCAL VOC mask AP: mAP25, mAP50, mAP70, mAP75",
            "greedy by score within class, each detection claiming its object of highest IoU; void and crowd pixels "
            "are left out; segments without a score have 1",
            frozenset({"segments", "classes"}),
            "map50",
            lambda categories, _: (VocMaskAP(categories),),
            _update_voc_instances,
        ),
        Protocol(
            "nyu-depth",
            "depth: RMSE, AbsRel, delta 1 to 3",
            "pixels whose true depth is 0.001 to 10 m, of images of 480 x 640 only rows 45 to 470 and columns 41 to "
            "600 (the crop of Eigen et al.); predictions are clipped to that range; the mean over images; no matching",
            frozenset({"depth"}),
            "rmse",
            lambda _, __: (Depth(),),
            _update_depth,
            higher_is_better=False,
        ),
    )
}
