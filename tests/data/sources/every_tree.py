"""Every source with its tiny data set, and what can be missing or damaged in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.data.sources.trees import (
    draw_ade20k,
    draw_ade20k_full,
    draw_bsds500,
    draw_cihp,
    draw_cityscapes,
    draw_coco_instances,
    draw_coco_panoptic,
    draw_coco_stuff,
    draw_cvat,
    draw_depth_folders,
    draw_dsb2018,
    draw_entityseg,
    draw_evican,
    draw_label_studio,
    draw_labelme,
    draw_labels,
    draw_masks,
    draw_nyuv2,
    draw_plain_json,
    draw_sa1b,
    draw_voc2012,
    draw_yolo,
)


@dataclass(frozen=True)
class Tree:
    """A source, its tiny data set, and the files of its first sample.

    Attributes:
        source: Name in `SOURCES`.
        draw: Draws the data set into a folder.
        names: What its samples are called.
        image: The first sample's image, below the folder; None where images are in a file with everything else.
        truth: The first sample's ground truth.
        needed: Files and folders without which it cannot be opened.
        split: The split to open.
        states_size: Whether the ground truth says how large its image is.
    """

    source: str
    draw: Callable[[Path], None]
    names: tuple[str, ...]
    image: str | None
    truth: str
    needed: tuple[str, ...]
    split: str | None = None
    states_size: bool = True


_COCO_NAMES = ("000000000001", "000000000002")
TREES: dict[str, Tree] = {
    "coco-instances": Tree(
        "coco-instances",
        draw_coco_instances,
        _COCO_NAMES,
        "val2017/000000000001.jpg",
        "annotations/instances_val2017.json",
        ("annotations/instances_val2017.json", "val2017"),
    ),
    "coco-panoptic": Tree(
        "coco-panoptic",
        draw_coco_panoptic,
        _COCO_NAMES,
        "train2017/000000000001.jpg",
        "annotations/panoptic_train2017/000000000001.png",
        ("annotations/panoptic_train2017.json", "annotations/panoptic_train2017", "train2017"),
    ),
    "coco-stuff": Tree(
        "coco-stuff",
        draw_coco_stuff,
        _COCO_NAMES,
        "images/val2017/000000000001.jpg",
        "stuffthingmaps_trainval2017/val2017/000000000001.png",
        ("images/val2017", "stuffthingmaps_trainval2017"),
    ),
    "ade20k": Tree(
        "ade20k",
        draw_ade20k,
        ("ADE_val_00000001", "ADE_val_00000002"),
        "images/validation/ADE_val_00000001.jpg",
        "annotations/validation/ADE_val_00000001.png",
        ("images", "annotations", "annotations_instance"),
    ),
    "ade20k-full": Tree(
        "ade20k-full",
        draw_ade20k_full,
        ("room/ADE_val_00000002", "street/ADE_val_00000001"),
        "images/ADE/validation/room/ADE_val_00000002.jpg",
        "images/ADE/validation/room/ADE_val_00000002/instance_001_ADE_val_00000002.png",
        ("images/ADE/validation",),
    ),
    "cihp": Tree(
        "cihp",
        draw_cihp,
        ("0000006", "0000007"),
        "Validation/Images/0000006.jpg",
        "Validation/Category_ids/0000006.png",
        ("Validation/Images", "Validation/Category_ids", "Validation/Human_ids"),
    ),
    "cityscapes": Tree(
        "cityscapes",
        draw_cityscapes,
        ("frankfurt/frankfurt_000000_000294_leftImg8bit", "munster/munster_000000_000003_leftImg8bit"),
        "leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png",
        "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_instanceIds.png",
        ("leftImg8bit", "gtFine"),
    ),
    "voc2012": Tree(
        "voc2012",
        draw_voc2012,
        ("2007_000001", "2007_000002"),
        "VOCdevkit/VOC2012/JPEGImages/2007_000001.jpg",
        "VOCdevkit/VOC2012/SegmentationClass/2007_000001.png",
        ("VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClass"),
    ),
    "bsds500": Tree(
        "bsds500",
        draw_bsds500,
        ("101085", "3096"),
        "images/val/101085.jpg",
        "groundTruth/val/101085.mat",
        ("images", "groundTruth"),
    ),
    "dsb2018": Tree(
        "dsb2018",
        draw_dsb2018,
        ("00ae65", "0c2550"),
        "stage1_train/00ae65/images/00ae65.png",
        "stage1_train/00ae65/masks/a1.png",
        (),
    ),
    "evican": Tree(
        "evican",
        draw_evican,
        ("6_A431", "7_A431"),
        "Images/EVICAN_val2019/6_A431.jpg",
        "instances_val2019_EVICAN2.json",
        ("Images", "instances_val2019_EVICAN2.json"),
    ),
    "sa-1b": Tree(
        "sa-1b",
        draw_sa1b,
        ("sa_000000/sa_2", "sa_000000/sa_10"),
        "sa_000000/sa_2.jpg",
        "sa_000000/sa_2.json",
        ("sa_000000",),
    ),
    "entityseg": Tree(
        "entityseg",
        draw_entityseg,
        ("entity_01_11580/coco_0001", "entity_02_11598/ade_0002"),
        "images/entity_01_11580/coco_0001.jpg",
        "entityseg_insseg_val.json",
        ("entityseg_insseg_val.json",),
    ),
    "nyuv2": Tree(
        "nyuv2",
        draw_nyuv2,
        ("0001", "0002"),
        None,
        "nyu_depth_v2_labeled.mat",
        ("nyu_depth_v2_labeled.mat",),
    ),
    "depth folders": Tree(
        "nyuv2",
        draw_depth_folders,
        ("rgb/rgb_00000", "rgb/rgb_00050"),
        "rgb/rgb_00000.jpg",
        "depth/sync_depth_00000.png",
        ("rgb", "depth"),
    ),
    "labels": Tree("folder", draw_labels, ("a", "deep/b"), "images/a.jpg", "labels/a.png", ("images", "labels")),
    "masks": Tree("folder", draw_masks, ("a", "b"), "images/a.png", "masks/a.png", ("images", "masks")),
    "plain JSON": Tree(
        "folder", draw_plain_json, ("a", "b"), "images/a.png", "annotations.json", ("images", "annotations.json")
    ),
    "yolo": Tree(
        "yolo",
        draw_yolo,
        ("a", "deep/b"),
        "images/val/a.png",
        "data.yaml",
        ("data.yaml", "images", "labels"),
        states_size=False,
    ),
    "cvat": Tree(
        "cvat",
        draw_cvat,
        ("a", "b"),
        "JPEGImages/a.png",
        "SegmentationClass/a.png",
        ("labelmap.txt", "SegmentationClass", "JPEGImages"),
    ),
    "labelme": Tree("labelme", draw_labelme, ("a", "b"), "a.png", "a.json", ()),
    "label-studio": Tree(
        "label-studio", draw_label_studio, ("a", "b"), "images/a.png", "tasks.json", ("tasks.json", "images")
    ),
}
