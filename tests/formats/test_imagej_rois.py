import sys
import zipfile

import numpy as np
import pytest
import roifile
from hypothesis import given

from tests.formats.strategies import label_maps, labels_of
from upseg.errors import FormatError
from upseg.formats.imagej_rois import read_imagej_rois, write_imagej_rois
from upseg.segmentation import Category, Segmentation

RING = labels_of("111.22", "1.1.22", "111...", "...2..")


def test_fiji_gets_one_roi_for_each_segment(tmp_path) -> None:
    found = Segmentation.from_labels(RING, categories={1: Category(9, "cell/big")})
    path = write_imagej_rois(found, tmp_path / "a.roi.zip")
    rois = roifile.roiread(path)
    assert [roi.name for roi in rois] == ["cell/big-1", "segment-2"]
    assert all("/" not in name for name in zipfile.ZipFile(path).namelist())
    assert [roi.composite for roi in rois] == [True, True]
    assert [(roi.top, roi.left, roi.bottom, roi.right) for roi in rois] == [(0, 0, 3, 3), (0, 3, 4, 6)]
    np.testing.assert_array_equal(read_imagej_rois(path, found.shape).labels, RING)


@given(labels=label_maps)
def test_label_maps_survive(tmp_path_factory, labels) -> None:
    segmentation = Segmentation.from_labels(labels, categories={2: Category(2, "two")})
    if len(segmentation) == 0:
        return
    path = tmp_path_factory.mktemp("rois") / "a.roi.zip"
    again = read_imagej_rois(write_imagej_rois(segmentation, path), segmentation.shape)
    np.testing.assert_array_equal(again.labels, segmentation.labels)


def test_rois_of_fiji(tmp_path) -> None:
    rois = [
        roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, left=1, top=0, right=3, bottom=2, name="box"),
        roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, left=4, top=1, right=8, bottom=5, name="oval"),
        roifile.ImagejRoi.frompoints([[0, 3], [2, 3], [2, 5], [0, 5]], name="polygon"),
        roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, x1=0, y1=0, x2=5, y2=5, name="line"),
    ]
    rois[2].roitype = roifile.ROI_TYPE.POLYGON
    roifile.roiwrite(tmp_path / "a.zip", rois, mode="w")
    expected = labels_of(".11.....", ".11..22.", "....2222", "33..2222", "33...22.")
    np.testing.assert_array_equal(read_imagej_rois(tmp_path / "a.zip").labels, expected)
    rois[0].tofile(tmp_path / "a.roi")
    np.testing.assert_array_equal(read_imagej_rois(tmp_path / "a.roi", (2, 4)).labels, labels_of(".11.", ".11."))


def test_what_cannot_be(tmp_path, monkeypatch) -> None:
    roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, x2=5.0, y2=5.0).tofile(tmp_path / "a.roi")
    with pytest.raises(FormatError, match="none of its 1 ROIs has an area"):
        read_imagej_rois(tmp_path / "a.roi")
    (tmp_path / "b.zip").write_bytes(b"PK nothing")
    with pytest.raises(FormatError, match=r"b\.zip: cannot be read as ImageJ ROIs"):
        read_imagej_rois(tmp_path / "b.zip")
    wide = Segmentation.from_labels(np.ones((1, 40_000), np.int32))
    with pytest.raises(FormatError, match="reach to 32,767 pixels"):
        write_imagej_rois(wide, tmp_path / "c.zip")
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(FormatError, match=r"upseg\[exchange\]"):
        read_imagej_rois(tmp_path / "a.roi")
