from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

from upseg.errors import ImageError
from upseg.images.options import ReadingOptions, options_from_json
from upseg.images.reading import read_image


def test_what_one_leaves_open_the_other_says() -> None:
    own, model = ReadingOptions(page=1), ReadingOptions((0,), normalize="minmax")
    assert own.over(model) == ReadingOptions((0,), 1, normalize="minmax")
    assert ReadingOptions((2,), normalize="none").over(model) == ReadingOptions((2,), normalize="none")


def test_the_defaults_are_no_facts_and_read_as_read_image_does(tmp_path) -> None:
    assert ReadingOptions().facts() == ReadingOptions(normalize="auto").facts() == {}
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert (ReadingOptions().read(image) == read_image(image)).all()


def test_facts_survive_json_except_the_page() -> None:
    options = ReadingOptions((1, 0, 2), page=3, normalize="2,98")
    assert options.facts() == {"channels": [1, 0, 2], "page": 3, "normalize": "2,98"}
    assert options_from_json(options.of_model()) == ReadingOptions((1, 0, 2), normalize="2,98")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channels": 1}, "channels .a list of numbers."),
        ({"channels": [0, 1]}, "channels must be one or three numbers"),
        ({"normalize": "often"}, "normalize: expected auto, none, minmax or two percentiles"),
        ({"page": 1}, "how images are read is said by channels"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        options_from_json(values)


def test_a_model_reads_files_its_way_and_leaves_floats_that_were_read_alone(tmp_path) -> None:
    stored = np.zeros((4, 5, 2), np.uint16)
    stored[..., 1] = np.arange(20).reshape(4, 5) + 30000
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig="contig")
    options = ReadingOptions((1,), normalize="minmax")
    pixels = options.read_for_model(tmp_path / "a.tif")
    assert np.allclose(pixels[..., 0], np.arange(20).reshape(4, 5) / 19)
    assert (options.read_for_model(pixels) == pixels).all()
    assert (options.read_for_model(torch.from_numpy(pixels).permute(2, 0, 1)) == pixels).all()
    assert np.allclose(options.read_for_model(stored), pixels)
