"""The readers on parts of the real data sets, where the environment variable UPSEG_DATA names a folder with them."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from upseg.data.sources import open_dataset
from upseg.data.sources.coco_stuff import CATEGORIES, MERGED_CATEGORIES, MERGED_OF
from upseg.data.summary import summarise
from upseg.metrics.panoptic_quality import PanopticQuality

DATA = Path(os.environ.get("UPSEG_DATA") or "/nonexistent")
pytestmark = pytest.mark.skipif(not os.environ.get("UPSEG_DATA"), reason="UPSEG_DATA names no folder with real data")


def test_coco_panoptic_gives_the_known_panoptic_quality() -> None:
    """Ground truth shifted by four pixels; figures by the reference implementation, from the folder's README."""
    dataset = open_dataset("coco-panoptic", DATA / "coco-panoptic-100", decode_images=False)
    quality = PanopticQuality(dataset.categories)
    for sample in dataset:
        classes = {number: category.id for number, category in sample.categories.items()}
        shifted = np.roll(sample.segment_map, (4, 4), axis=(0, 1))
        quality.update(sample.segment_map, classes, shifted, classes, sample.crowds)
    scores = quality.compute()
    for group, known in {
        "": (0.631886, 0.751517, 0.791286),
        "_things": (0.571522, 0.747387, 0.709130),
        "_stuff": (0.715189, 0.757216, 0.904661),
    }.items():
        assert [scores[f"{name}{group}"] for name in ("pq", "sq", "rq")] == pytest.approx(known, abs=1e-6)
    assert [category.is_thing for category in quality.per_class()].count(True) == 69
    assert len(quality.per_class()) == 119


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
@pytest.mark.parametrize(("split", "images"), [("train", 79), ("val", 75)])
def test_coco_instances_agree_with_pycocotools(split: str, images: int) -> None:
    dataset = open_dataset("coco-instances", DATA / "coco-instances-mini", split=split)
    assert len(dataset) == images
    reference = COCO(str(dataset.annotation_file))
    for index in range(0, images, 8):
        sample = dataset[index]
        annotations = reference.loadAnns(reference.getAnnIds(imgIds=int(dataset.image_ids[index])))
        union = np.any([reference.annToMask(annotation) for annotation in annotations], axis=0)
        # their polygons are a little larger, by up to half a pixel around
        assert np.mean(union == (sample.segment_map > 0)) > 0.98
        assert len(sample.segments) + len(sample.left_out) == len(annotations)
    assert len(pickle.dumps(dataset)) < 100_000


def test_voc_masks_without_objects() -> None:
    dataset = open_dataset("voc2012", DATA / "voc2012-semantic-100", split="train")
    sample = dataset[0]
    assert sample.crowds == {s.id for s in sample.segments if s.category.is_thing}
    assert {category.id for category in sample.categories.values()} <= set(range(21))


def test_official_and_plain_nuclei_are_the_same() -> None:
    official = open_dataset("dsb2018", DATA / "dsb2018" / "stage1_train_sample")
    plain = open_dataset("folder", DATA / "dsb2018")
    assert len(plain) == 531
    shared = sorted(set(official.names) & set(plain.names))
    for one, other in zip(official.subset(shared), plain.subset(shared), strict=True):
        assert np.array_equal(one.segment_map > 0, other.segment_map > 0)
        assert len(one.segments) == len(other.segments)


def test_bsds_has_several_annotators() -> None:
    dataset = open_dataset("bsds500", DATA / "bsds500", split="val", decode_images=False)
    assert len(dataset) == 100
    summary = summarise(dataset)
    assert summary.problems == []
    assert min(summary.annotators) >= 4
    assert summary.labelled == summary.pixels


def test_depth_in_metres() -> None:
    nyu = open_dataset("nyuv2", DATA / "depth-samples" / "nyu_demo")
    kitti = open_dataset("nyuv2", DATA / "depth-samples" / "kitti_demo", depth_scale=256)
    assert (len(nyu), len(kitti)) == (2, 3)
    for sample, farthest in [*((s, 10) for s in nyu), *((s, 90) for s in kitti)]:
        known = sample.depth[sample.depth > 0]
        assert 0.3 < known.min() < known.max() < farthest


def test_the_merged_classes_are_those_of_the_table() -> None:
    table = json.loads((DATA / "coco-stuff27" / "fine_to_coarse.json").read_text())
    by_index = {int(fine): coarse for fine, coarse in table["fine_index_to_coarse_index"].items()}
    assert {category.id - 1: MERGED_OF[category.id].id for category in CATEGORIES} == by_index
    assert {category.name: MERGED_OF[category.id].name for category in CATEGORIES} == table["fine_name_to_coarse_name"]
    assert len(MERGED_CATEGORIES) == 27
