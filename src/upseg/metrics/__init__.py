"""Metrics, one per file: plain functions of one image, and accumulators over a data set.

What measures features of a network and not label maps, and so needs torch, is in `upseg.metrics.segment_similarity`.
"""

from upseg.metrics.accumulator import Accumulator
from upseg.metrics.boundary_iou import boundary_ious
from upseg.metrics.cell_matching import CellMatching, match_cells
from upseg.metrics.class_agnostic import ClassAgnostic, best_matches
from upseg.metrics.coco_mask_ap import CocoMaskAP
from upseg.metrics.covering import covering
from upseg.metrics.depth_errors import Depth, depth_errors
from upseg.metrics.hungarian import HungarianScores
from upseg.metrics.mask_iou import label_map_ious
from upseg.metrics.panoptic_quality import PanopticQuality, panoptic_counts
from upseg.metrics.rand_index import probabilistic_rand_index, rand_index
from upseg.metrics.region_iou import RegionIoU, best_region_ious
from upseg.metrics.region_sweep import RegionSweep
from upseg.metrics.variation_of_information import variation_of_information
from upseg.metrics.voc_mask_ap import VocMaskAP

__all__ = [
    "Accumulator",
    "CellMatching",
    "ClassAgnostic",
    "CocoMaskAP",
    "Depth",
    "HungarianScores",
    "PanopticQuality",
    "RegionIoU",
    "RegionSweep",
    "VocMaskAP",
    "best_matches",
    "best_region_ious",
    "boundary_ious",
    "covering",
    "depth_errors",
    "label_map_ious",
    "match_cells",
    "panoptic_counts",
    "probabilistic_rand_index",
    "rand_index",
    "variation_of_information",
]
