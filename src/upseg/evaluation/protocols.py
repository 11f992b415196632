"""The papers' protocols: which metric, on which ground truth, with which rules, and how a sample gets to the metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int32

from upseg.data.sample import IGNORE, Sample
from upseg.evaluation.detections import (
    OBJECT,
    agnostic_scores,
    classes_of,
    coco_scores,
    detections,
    looked_up,
    update_coco_agnostic,
    update_coco_instances,
)
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

TruthKind = Literal["segments", "annotators", "classes", "depth"]

MOST_LABELS = 1023
"""The largest label that a prediction of `coco-stuff27` can have in all images alike."""

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
        accumulators: Makes the empty totals from the data set's classes.
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
    accumulators: Callable[[Sequence[Category]], tuple[Accumulator, ...]]
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
    maps = [_regions(sample), *sample.other_maps]
    regions.update(maps, prediction.labels)
    sweep.update(maps, [prediction.labels])


def _bsds500_scores(totals: tuple[RegionIoU, RegionSweep]) -> dict[str, float]:
    """IoU of regions, and the three measures of the benchmark at the one setting that there is."""
    regions, sweep = totals
    return regions.compute() | {
        name.removesuffix("_ods"): value for name, value in sweep.compute().items() if name.endswith("_ods")
    }


def _update_voc_regions(totals: tuple[RegionIoU], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image; the one map has all regions."""
    regions = _regions(sample)
    totals[0].update([regions], prediction.labels, regions > 0)


def _regions(sample: Sample) -> Int32[np.ndarray, "h w"]:
    """The segments without what is void, a crowd of no class: that is no region."""
    void = [segment.id for segment in sample.segments if segment.is_crowd and segment.category is None]
    return np.asarray(np.where(np.isin(sample.segment_map, void), 0, sample.segment_map))


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
    labels = looked_up(prediction, [segment.category.id + 1 for segment in prediction if segment.category])
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
    totals[0].update(sample.segment_map, truth, prediction.labels, classes_of(prediction), sample.crowds)


def _update_voc_instances(totals: tuple[VocMaskAP], _number: int, sample: Sample, prediction: Segmentation) -> None:
    """Add one image's things; predicted stuff is left out."""
    categories = totals[0].categories
    truth = sample.instance_map()
    valid = truth != IGNORE
    if any(not category.is_thing for category in categories):
        # the background is a class, so that what is unlabelled is void
        valid &= sample.segment_map > 0
    things, classes, scores = detections(prediction, categories)
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


_COCO_PANOPTIC = Protocol(
    "coco-panoptic",
    "COCO panoptic quality: PQ, SQ, RQ; things and stuff",
    "segments of one class match at IoU > 0.5; ground-truth void is left out of unions; crowds are neither matched nor "
    "missed; a predicted segment more than half on void or on crowd of its class is no false positive",
    frozenset({"segments", "classes"}),
    "pq",
    lambda categories: (PanopticQuality(categories),),
    _update_panoptic,
    quoted=("pq", "sq", "rq", "pq_things", "pq_stuff"),
)

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
            lambda _: (RegionIoU(), RegionSweep()),
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
            lambda _: (RegionIoU(),),
            _update_voc_regions,
            lambda totals: {"mean_iou": totals[0].compute()["all"]},  # Fine and Coarse are the same for one map
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
            lambda categories: (HungarianScores(categories, MOST_LABELS),),
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
            lambda _: (ClassAgnostic(),),
            _update_entities,
        ),
        Protocol(
            "cells",
            "cells and nuclei: TP / (TP + FP + FN) and F1 at IoU 0.5 to 0.95",
            "largest one-to-one matching of cells at IoU >= 0.50, 0.55 ... 0.95, whatever their class; unlabelled "
            "pixels and stuff are background; crowd pixels are left out",
            frozenset({"segments"}),
            "ap",
            lambda _: (CellMatching(),),
            _update_cells,
            quoted=("ap", "ap50", "ap75", "f1_50", "image_ap50"),
        ),
        _COCO_PANOPTIC,
        replace(
            _COCO_PANOPTIC,
            name="cityscapes-panoptic",
            description="Cityscapes panoptic quality: PQ, SQ, RQ; things and stuff",
            rules=f"{_COCO_PANOPTIC.rules}; regions of groups are crowds, the classes not evaluated are void",
        ),
        Protocol(
            "coco-instances",
            "COCO mask AP: AP, AP50, AP75; small, medium, large",
            "greedy by score within image and class at IoU 0.50 to 0.95, 100 detections at most; detections on crowds "
            "are ignored; unlabelled pixels are background; segments without a score have 1; each ground-truth mask "
            "counts whole, overlapping or not",
            frozenset({"segments", "classes"}),
            "ap",
            lambda categories: (CocoMaskAP(categories),),
            update_coco_instances,
            coco_scores,
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
            lambda _: (CocoMaskAP((OBJECT,)),),
            update_coco_agnostic,
            agnostic_scores,
            as_annotated=True,
        ),
        Protocol(
            "voc-instances",
            "PASCAL VOC mask AP: mAP25, mAP50, mAP70, mAP75",
            "greedy by score within class, each detection claiming its object of highest IoU; void and crowd pixels "
            "are left out; segments without a score have 1",
            frozenset({"segments", "classes"}),
            "map50",
            lambda categories: (VocMaskAP(categories),),
            _update_voc_instances,
        ),
        Protocol(
            "nyu-depth",
            "depth: RMSE, AbsRel, delta 1 to 3",
            "pixels whose true depth is 0.001 to 10 m, of images of 480 x 640 only rows 45 to 470 and columns 41 to "
            "600 (the crop of Eigen et al.); predictions are clipped to that range; the mean over images; no matching",
            frozenset({"depth"}),
            "rmse",
            lambda _: (Depth(),),
            _update_depth,
            higher_is_better=False,
        ),
    )
}
