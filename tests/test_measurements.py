"""Measurements of segments: the numbers of scikit-image's regionprops, in units, and summed up."""

import csv

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops_table

from upseg.formats import write
from upseg.formats.csv_table import write_summary
from upseg.images.pixel_size import PixelSize
from upseg.measurements import measure, summarize
from upseg.segmentation import Category, Segmentation

THEIRS = {
    "centroid_row": "centroid-0",
    "centroid_column": "centroid-1",
    "area": "area",
    "equivalent_diameter": "equivalent_diameter_area",
    "perimeter": "perimeter",
    "eccentricity": "eccentricity",
    "orientation": "orientation",
    "major_axis": "axis_major_length",
    "minor_axis": "axis_minor_length",
    "solidity": "solidity",
    "mean_red": "intensity_mean-0",
    "min_green": "intensity_min-1",
    "max_blue": "intensity_max-2",
    "std_blue": "intensity_std-2",
}


def blobs(seed: int, shape: tuple[int, int] = (70, 90)) -> Segmentation:
    """Segments of every form, with holes, parts and void between them."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return Segmentation.from_labels(np.digitize(noise, np.quantile(noise, [0.2, 0.4, 0.7, 0.9])).astype(np.int32))


@pytest.mark.parametrize("seed", range(4))
def test_every_number_is_that_of_regionprops(seed) -> None:
    segmentation = blobs(seed) if seed else Segmentation.from_labels(np.eye(5, dtype=np.int32) * np.arange(1, 6))
    image = np.random.default_rng(seed).random((*segmentation.shape, 3)).astype(np.float32)
    properties = sorted({name.split("-")[0] for name in THEIRS.values()})
    theirs = regionprops_table(segmentation.labels, image.astype(np.float64), properties=properties)
    ours = measure(segmentation, image)
    for name, other in THEIRS.items():
        np.testing.assert_allclose(ours[name], theirs[other], rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_facts_and_boxes_stand_in_the_table() -> None:
    labels = np.array([[7, 7, 0, 9]])
    category = Category(3, "cell")
    table = measure(
        Segmentation.from_labels(labels, scores={9: 0.5}, categories={7: category}, parents={9: 7}), shapes=False
    )
    assert {
        name: values.tolist() for name, values in table.items() if name not in ("score", "equivalent_diameter")
    } == {
        "id": [1, 2],
        "class": ["cell", ""],
        "parent": [0, 1],
        "area": [2, 1],
        "centroid_row": [0.0, 0.0],
        "centroid_column": [0.5, 3.0],
        "top": [0, 0],
        "left": [0, 3],
        "bottom": [1, 1],
        "right": [2, 4],
    }
    assert np.isnan(table["score"][0])
    assert table["score"][1] == 0.5


def test_units_come_from_the_call_or_the_provenance() -> None:
    segmentation = Segmentation.from_labels(
        np.ones((4, 5), int), provenance={"pixel_size": {"length": 2, "unit": "nm"}}
    )
    assert segmentation.table()["area_nm2"].tolist() == [80.0]
    table = segmentation.table(pixel_size="0.5 µm")
    assert table["area_um2"].tolist() == [5.0]
    assert table["perimeter_um"][0] == table["perimeter"][0] / 2
    assert segmentation.table(pixel_size=PixelSize(1.0, "mm"))["equivalent_diameter_mm"][0] == pytest.approx(
        5.0463, 1e-4
    )


def test_an_image_of_another_size_and_no_pixel_size_are_refused() -> None:
    segmentation = Segmentation.from_labels(np.ones((4, 5), int))
    with pytest.raises(ValueError, match=r"height and width \(4, 5\), got \(5, 4\)"):
        segmentation.table(np.zeros((5, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="a number and a unit"):
        segmentation.table(pixel_size="3 parsec")


def test_nothing_can_be_measured() -> None:
    table = Segmentation.from_labels(np.zeros((3, 3), int)).table(np.zeros((3, 3), np.uint8))
    assert {len(values) for values in table.values()} == {0}
    assert summarize(table)["segments"] == 0


def test_csv_and_summary(tmp_path) -> None:
    image = np.full((1, 4, 3), 0.5, np.float32)
    cells = Segmentation.from_labels(
        np.array([[7, 7, 0, 9]]), categories={7: Category(1, "cell"), 9: Category(1, "cell")}
    )
    nothing = Segmentation.from_labels(np.zeros((1, 4), int))
    paths = {name: write(s, tmp_path / f"{name}.csv", image=image) for name, s in (("a", cells), ("b", nothing))}
    with paths["a"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["class"], row["score"], row["parent"], row["area"]) for row in rows] == [
        ("1", "cell", "", "", "2"),
        ("2", "cell", "", "", "1"),
    ]
    assert rows[0]["mean_red"] == "0.5"
    with write_summary(paths, tmp_path / "summary.csv").open(newline="") as file:
        summary = {row["image"]: row for row in csv.DictReader(file)}
    assert (summary["a"]["segments"], summary["a"]["mean_area"], summary["a"]["count_cell"]) == ("2", "1.5", "2")
    assert (summary["b"]["segments"], summary["b"]["mean_area"], summary["b"]["count_cell"]) == ("0", "", "0")
