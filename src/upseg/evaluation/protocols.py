"""The papers' protocols: which metric, on which ground truth, with which rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from upseg.evaluation import updates
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
from upseg.segmentation import Category

TruthKind = Literal["segments", "annotators", "classes", "depth"]

MOST_LABELS = 1023
"""The largest label that a prediction of `coco-stuff27` can have in all images alike."""


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
        per_class: A row for each class from the totals; None where there are no classes.
        higher_is_better: Whether a higher `score` is better.
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
    scores: Callable[[tuple[Any, ...]], Mapping[str, float]] = updates.joined_scores
    per_class: Callable[[tuple[Any, ...]], list[dict[str, Any]]] | None = None
    higher_is_better: bool = True
    as_annotated: bool = False

    @property
    def needs_depth(self) -> bool:
        """Whether predictions are depth maps and not segments."""
        return "depth" in self.truth


def _hungarian(categories: Sequence[Category], classified: bool) -> tuple[Accumulator, ...]:
    """Labels that mean the same in every image where segments have classes, each image's own labels where not."""
    return (HungarianScores(categories, MOST_LABELS) if classified else HungarianScores(categories, per_image=True),)


_PANOPTIC_RULES = (
    "segments of one class match at IoU > 0.5; ground-truth void is left out of unions; crowds are neither matched nor "
    "missed; a predicted segment more than half on void or on crowd of its class is no false positive"
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
            lambda _, __: (RegionIoU(), RegionSweep()),
            updates.update_bsds500,
            updates.bsds500_scores,
        ),
        Protocol(
            "voc-regions",
            "PASCAL VOC 2012 regions: mean best IoU",
            "each segment, the background and crowds too, is a region of its own and takes its best IoU over the "
            "labels (one label may serve several); void pixels are left out; mean over all regions of all images",
            frozenset({"segments"}),
            "mean_iou",
            lambda _, __: (RegionIoU(),),
            updates.update_voc_regions,
            updates.voc_region_scores,
        ),
        Protocol(
            "coco-stuff27",
            "unsupervised semantic segmentation: Hungarian mean IoU (all, things, stuff), pixel accuracy",
            "labels are assigned to classes one to one by the Hungarian method, once for all images where predicted "
            "segments have classes, else image by image; unlabelled pixels are left out; crowds count as their class",
            frozenset({"segments", "classes"}),
            "mean_iou",
            _hungarian,
            updates.update_hungarian,
            per_class=updates.hungarian_classes,
        ),
        Protocol(
            "entity",
            "class-agnostic entities: recall, mean IoU, Boundary IoU",
            "each entity takes its best IoU (one prediction may serve several; false positives do not count), recalled "
            "at IoU > 0.5; unlabelled pixels count in a prediction's union; crowd pixels are left out",
            frozenset({"segments"}),
            "mean_iou",
            lambda _, __: (ClassAgnostic(),),
            updates.update_entities,
        ),
        Protocol(
            "cells",
            "cells and nuclei: TP / (TP + FP + FN) and F1 at IoU 0.5 to 0.95",
            "largest one-to-one matching of cells at IoU >= 0.50, 0.55 ... 0.95, whatever their class; unlabelled "
            "pixels and stuff are background; crowd pixels are left out",
            frozenset({"segments"}),
            "ap",
            lambda _, __: (CellMatching(),),
            updates.update_cells,
        ),
        Protocol(
            "coco-panoptic",
            "COCO panoptic quality: PQ, SQ, RQ; things and stuff",
            _PANOPTIC_RULES,
            frozenset({"segments", "classes"}),
            "pq",
            lambda categories, _: (PanopticQuality(categories),),
            updates.update_panoptic,
            per_class=updates.panoptic_classes,
        ),
        Protocol(
            "cityscapes-panoptic",
            "Cityscapes panoptic quality: PQ, SQ, RQ; things and stuff",
            f"{_PANOPTIC_RULES}; regions of groups are crowds, the classes not evaluated are void",
            frozenset({"segments", "classes"}),
            "pq",
            lambda categories, _: (PanopticQuality(categories),),
            updates.update_panoptic,
            per_class=updates.panoptic_classes,
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
            updates.update_coco_instances,
            updates.coco_scores,
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
            updates.update_voc_instances,
            per_class=updates.voc_classes,
        ),
        Protocol(
            "nyu-depth",
            "depth: RMSE, AbsRel, delta 1 to 3",
            "pixels whose true depth is 0.001 to 10 m, of images of 480 x 640 only rows 45 to 470 and columns 41 to "
            "600 (the crop of Eigen et al.); predictions are clipped to that range; the mean over images; no matching",
            frozenset({"depth"}),
            "rmse",
            lambda _, __: (Depth(),),
            updates.update_depth,
            higher_is_better=False,
        ),
    )
}
