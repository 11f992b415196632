import numpy as np
import pytest
import tifffile

from upseg.errors import ImageError
from upseg.images.normalization import AUTOMATIC, Normalization, normalized, parse_normalization
from upseg.images.reading import read_image


def microscope(*, size: int = 64) -> np.ndarray:
    """A 16-bit image of dim objects: 200 to 800 counts."""
    return np.random.default_rng(0).integers(200, 801, (size, size)).astype(np.uint16)


def test_percentiles_by_hand() -> None:
    values = np.arange(1001, dtype=np.uint16).reshape(7, 143, 1)
    found = normalized(values, Normalization(10.0, 90.0)).ravel()
    assert found[[0, 100, 300, 900, 1000]].tolist() == pytest.approx([0, 0, 0.25, 1, 1])


def test_each_channel_by_itself() -> None:
    values = np.stack([np.arange(100), 1000 + 5 * np.arange(100), np.full(100, 7)], axis=-1)[None].astype(np.int32)
    found = normalized(values, Normalization(0.0, 100.0))
    np.testing.assert_allclose(found[0, :, 0], found[0, :, 1], atol=1e-6)
    assert not found[..., 2].any()  # a constant


def test_where_nearly_all_is_alike_the_rest_says_what_is_bright() -> None:
    values = np.zeros((100, 100, 1), np.uint16)
    values[3, 4] = 500
    values[5, 5] = 250
    found = normalized(values, AUTOMATIC)
    assert (found[3, 4, 0], found[5, 5, 0], found.sum()) == (1, 0.5, 1.5)


def test_large_images_are_sampled(monkeypatch) -> None:
    values = microscope(size=300)[..., None]
    whole = normalized(values, AUTOMATIC)
    monkeypatch.setattr("upseg.images.normalization._MOST_SAMPLED", 2500)
    sampled = normalized(values, AUTOMATIC)
    assert not np.array_equal(whole, sampled)
    np.testing.assert_allclose(whole, sampled, atol=0.02)


@pytest.mark.parametrize("kind", ["hot pixel", "dead pixel", "offset", "float"])
def test_one_pixel_or_an_offset_changes_next_to_nothing(tmp_path, kind) -> None:
    image = microscope()
    tifffile.imwrite(tmp_path / "a.tif", image)
    changed = image + np.uint16(33_000) if kind == "offset" else image.copy()
    if "pixel" in kind:
        changed[10, 10] = 65_535 if kind == "hot pixel" else 0
    tifffile.imwrite(tmp_path / "b.tif", changed.astype(np.float32) / 1000 if kind == "float" else changed)
    before, after = (read_image(tmp_path / name) for name in ("a.tif", "b.tif"))
    assert np.abs(before - after).mean() < 0.01
    assert before.std() > 0.25  # and uses the whole range


def test_8_bits_and_floats_in_memory_stay_as_they_are(tmp_path) -> None:
    eight = np.arange(12, dtype=np.uint8).reshape(3, 4)
    tifffile.imwrite(tmp_path / "a.tif", eight)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif")[..., 0], eight / 255, atol=1e-7)
    real = (eight / 100).astype(np.float32)
    np.testing.assert_array_equal(read_image(real)[..., 0], real)
    tifffile.imwrite(tmp_path / "b.tif", real)  # of a float file nobody knows the range
    assert read_image(tmp_path / "b.tif").max() == 1
    np.testing.assert_allclose(read_image(tmp_path / "b.tif", normalize="none")[..., 0], real, atol=1e-7)
    assert read_image(eight, normalize="minmax").max() == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", AUTOMATIC),
        ("none", None),
        ("minmax", Normalization(0.0, 100.0)),
        (" 2, 98.5", Normalization(2.0, 98.5)),
    ],
)
def test_what_can_be_said(text, expected) -> None:
    assert parse_normalization(text) == expected


@pytest.mark.parametrize("text", ["", "98", "5,2", "1,101", "a,b", "1,2,3", "1..2,3"])
def test_what_makes_no_sense_is_refused(text) -> None:
    with pytest.raises(ImageError, match="normalize: "):
        read_image(np.zeros((2, 2)), normalize=text)
