"""`upseg compare`, and what it is made of."""

import csv
import json
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.io import savemat
from sklearn.metrics import adjusted_rand_score

from upseg.cli import main
from upseg.comparison import border_votes, compare, compare_pair
from upseg.segmentation import Segmentation


def halves(column: int, size: tuple[int, int] = (40, 60)) -> Segmentation:
    labels = np.ones(size, int)
    labels[:, column:] = 2
    return Segmentation.from_labels(labels)


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["upseg", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return (end.value.code or 0), captured.out, captured.err

    return run


class TestComparison:
    @pytest.mark.parametrize("seed", range(5))
    def test_adjusted_rand_is_that_of_scikit_learn(self, seed) -> None:
        generator = np.random.default_rng(seed)
        a, b = (Segmentation.from_labels(generator.integers(0, 4, (9, 11))) for _ in range(2))
        expected = adjusted_rand_score(a.labels.ravel(), b.labels.ravel())
        assert compare_pair(a, b).adjusted_rand == pytest.approx(expected)
        assert compare_pair(a, a).adjusted_rand == 1.0

    def test_void_is_a_segment_for_distances_and_has_no_match(self) -> None:
        nothing, all_of_it = (Segmentation.from_labels(np.full((4, 4), value)) for value in (0, 1))
        pair = compare_pair(nothing, all_of_it)
        assert (pair.variation_of_information, pair.adjusted_rand, len(pair.ious)) == (0.0, 1.0, 0)

    def test_segments_that_are_the_same_are_matched(self) -> None:
        pair = compare_pair(halves(30), halves(40))
        assert pair.matches.tolist() == [[1, 1], [2, 2]]
        assert pair.ious.tolist() == [30 / 40, 20 / 30]
        assert pair.matched_share == 1.0
        assert compare_pair(halves(20), halves(40)).matched_share == 0.0  # an IoU of .5 is not enough

    def test_borders_within_the_tolerance_are_the_same(self) -> None:
        votes = border_votes([halves(30).labels, halves(31).labels, halves(50).labels])
        assert votes[0, 29:32].tolist() == [2, 2, 2]
        assert votes[0, 49] == 1
        assert votes[0, 20] == 0

    def test_bad_requests(self) -> None:
        with pytest.raises(ValueError, match="at least two segmentations"):
            compare({"a": halves(3)})
        with pytest.raises(ValueError, match="a has 40x60, b has 4x5"):
            compare({"a": halves(30), "b": halves(3, (4, 5))})

    def test_the_picture_goes_from_dark_to_bright_with_the_votes(self) -> None:
        found = compare({"a": halves(20), "b": halves(20), "c": halves(40)})
        picture = found.picture().astype(int).sum(axis=2)
        assert picture[0, 0] == 3 * 255
        assert picture[0, 40] < picture[0, 20] < 3 * 255
        assert found.picture(np.zeros((40, 60, 3), np.float32))[0, 0].max() < 255
        assert found.border_agreement == pytest.approx((2 / 3 + 1 / 3) / 2)


class TestCommand:
    def test_two_files(self, command, tmp_path) -> None:
        halves(30).save(tmp_path / "a.png")
        halves(31).save(tmp_path / "b.npz")
        code, out, err = command("a.png", "b.npz")
        assert (code, err) == (0, "")
        assert "a.png - b.npz" in out
        assert "1 image; 100% of the segmentations have a border where any has one" in out
        with (tmp_path / "upseg-compare" / "agreement.csv").open() as file:
            [row] = csv.DictReader(file)
        assert (row["image"], row["matched"], row["first"]) == ("a", "2", "a.png")
        with (tmp_path / "upseg-compare" / "matches.csv").open() as file:
            assert [row["iou"] for row in csv.DictReader(file)] == [str(round(30 / 31, 4)), str(round(29 / 30, 4))]
        with Image.open(tmp_path / "upseg-compare" / "a.agreement.png") as picture:
            assert picture.size == (60, 40)

    def test_folders_and_photos_belong_together_by_name(self, command, tmp_path) -> None:
        for folder, suffix, names in (("one", "png", "xy"), ("two", "geojson", "yz")):
            for name in names:
                halves(30).save(tmp_path / folder / "deep" / f"{name}.{suffix}")
        (tmp_path / "photos" / "deep").mkdir(parents=True)
        Image.new("RGB", (60, 40)).save(tmp_path / "photos" / "deep" / "y.jpg")
        code, out, err = command("one", "two", "-i", "photos", "--json")
        document = json.loads(out)
        assert (code, err) == (0, "upseg: left out, because not in every folder: 2 (deep/x, deep/z)\n")
        assert [pair["image"] for pair in document["pairs"]] == ["deep/y"]
        assert document["pairs"][0]["adjusted_rand"] == 1.0
        assert document["border_agreement"] == {"deep/y": 1.0}

    def test_models_segment_the_image(self, command, tmp_path) -> None:
        pixels = np.zeros((32, 48, 3), np.uint8)
        pixels[:, 24:] = 255
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        halves(24, (32, 48)).save(tmp_path / "true.tif")
        code, out, _ = command("true.tif", "dynaseg", "-i", "photo.png", "--device", "cpu", "--json")
        assert code == 0
        assert json.loads(out)["pairs"][0]["matched"] == 2

    def test_images_of_two_channels_need_one_to_be_named(self, command, tmp_path) -> None:
        pixels = np.zeros((2, 32, 48), np.uint8)
        pixels[1, :, 24:] = 255
        tifffile.imwrite(tmp_path / "photo.tif", pixels, photometric="minisblack", planarconfig="separate")
        halves(24, (32, 48)).save(tmp_path / "true.png")
        asked = ("true.png", "dynaseg", "-i", "photo.tif", "--device", "cpu", "--json")
        code, _, err = command(*asked)
        assert code == 2
        assert "--channels" in err
        code, out, _ = command(*asked, "--channels", "1")
        assert code == 0
        assert json.loads(out)["pairs"][0]["matched"] == 2

    def test_annotators_of_one_file(self, command, tmp_path) -> None:
        cells = np.empty((1, 3), object)
        for number, column in enumerate((20, 20, 40)):
            cells[0, number] = {"Segmentation": np.asarray(halves(column)).astype(np.uint16)}
        savemat(tmp_path / "7.mat", {"groundTruth": cells})
        code, out, _ = command("7.mat")
        assert code == 0
        assert "7 1 - 7 2" in out
        assert (tmp_path / "upseg-compare" / "7.agreement.png").exists()

    def test_annotators_of_a_folder_of_files_alone_and_beside_results(self, command, tmp_path) -> None:
        (tmp_path / "people").mkdir()
        for name, columns in {"7": (20, 20, 40), "8": (20, 30)}.items():
            cells = np.empty((1, len(columns)), object)
            for number, column in enumerate(columns):
                cells[0, number] = {"Segmentation": np.asarray(halves(column)).astype(np.uint16)}
            savemat(tmp_path / "people" / f"{name}.mat", {"groundTruth": cells})
            halves(20).save(tmp_path / "found" / f"{name}.png")
        code, out, _ = command("people", "--json")
        pairs = json.loads(out)["pairs"]
        assert code == 0
        assert [(row["image"], row["first"], row["second"], row["adjusted_rand"] == 1) for row in pairs] == [
            ("7", "people 1", "people 2", True),
            ("7", "people 1", "people 3", False),
            ("7", "people 2", "people 3", False),
            ("8", "people 1", "people 2", False),
        ]
        code, out, _ = command("found", "people", "--json")
        assert code == 0
        assert sum(row["first"] == "found" and row["adjusted_rand"] == 1 for row in json.loads(out)["pairs"]) == 3

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("a.png",), "at least two"),
            (("a.png", "a.png"), "named once"),
            (("a.png", "dynaseg"), "name the image with --image"),
            (("a.png", "small.png"), "a has|must have the same size"),
            (("one", "empty"), "no result that can be read"),
            (("one", "other"), "no image in common"),
        ],
    )
    def test_wrong_usage(self, command, tmp_path, arguments, message) -> None:
        halves(30).save(tmp_path / "a.png")
        halves(3, (4, 5)).save(tmp_path / "small.png")
        halves(3).save(tmp_path / "one" / "x.png")
        halves(3).save(tmp_path / "other" / "y.png")
        (tmp_path / "empty").mkdir()
        code, _, err = command(*arguments)
        assert code == 2
        assert err.startswith("upseg: ")
        assert any(part in err for part in message.split("|"))
