from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from upseg.errors import ImageError
from upseg.images.label_maps import one_channel, read_label_map, whole_numbers

LABELS = np.array([[0, 1, 1, 2], [0, 3, 3, 2], [4, 4, 0, 255]], np.uint8)


def written(path: Path, array: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits", "lzma", "deflate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.int64, np.float32, np.float64])
def test_tiffs_of_every_compression_and_number(tmp_path, compression, dtype):
    path = written(tmp_path / "a.tif", LABELS.astype(dtype), compression=compression)
    found = read_label_map(path)
    np.testing.assert_array_equal(found.values, LABELS)
    assert found.values.dtype.kind in "iu"
    assert (found.note, found.has_palette, found.is_turned) == (None, False, False)


def test_signs_are_kept(tmp_path):
    path = written(tmp_path / "a.tif", np.array([[-1, 5]], np.int16))
    np.testing.assert_array_equal(read_label_map(path).values, [[-1, 5]])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_that_was_saved_as_colours(tmp_path, mode, name):
    Image.fromarray(LABELS).convert(mode).save(tmp_path / name)
    np.testing.assert_array_equal(read_label_map(tmp_path / name).values, LABELS)


def test_samples_in_planes_of_their_own(tmp_path):
    path = written(tmp_path / "a.tif", np.stack([LABELS] * 3), planarconfig="separate", photometric="rgb")
    np.testing.assert_array_equal(read_label_map(path).values, LABELS)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_indices_of_a_palette_count(tmp_path, name):
    image = Image.fromarray(LABELS, mode=None).convert("P")
    image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    image.putdata(LABELS.ravel().tolist())
    image.save(tmp_path / name)
    found = read_label_map(tmp_path / name)
    np.testing.assert_array_equal(found.values, LABELS)
    assert found.has_palette


@pytest.mark.parametrize("tag", range(1, 9))
def test_the_orientation_that_the_file_notes_is_applied_to_both_kinds(tmp_path, tag):
    path = written(tmp_path / "a.tif", LABELS, extratags=[(274, "H", 1, tag, True)])
    exif = Image.Exif()
    exif[274] = tag
    Image.fromarray(LABELS).save(tmp_path / "a.png", exif=exif)
    expected = {1: LABELS, 2: LABELS[:, ::-1], 3: LABELS[::-1, ::-1], 4: LABELS[::-1], 5: LABELS.T}
    expected |= {6: np.rot90(LABELS, -1), 7: LABELS[::-1, ::-1].T, 8: np.rot90(LABELS)}
    for file in (path, tmp_path / "a.png"):
        found = read_label_map(file)
        np.testing.assert_array_equal(found.values, expected[tag])
        assert found.is_turned == (tag != 1)


def test_of_a_pyramid_the_largest_level_counts(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for step in (1, 2):
            file.write(np.kron(LABELS, np.ones((8, 8), np.uint8))[::step, ::step], metadata=None)
    assert read_label_map(path).values.shape == (24, 32)
    with tifffile.TiffWriter(path) as file:
        file.write(np.kron(LABELS, np.ones((8, 8), np.uint8)), subifds=1, metadata=None)
        file.write(LABELS, subfiletype=1, metadata=None)
    assert read_label_map(path).values.shape == (24, 32)


def test_what_the_name_says_does_not_matter(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif").values, LABELS)


def test_several_planes_and_colours_are_refused(tmp_path):
    with pytest.raises(ImageError, match="one page, this file has 2"):
        read_label_map(written(tmp_path / "a.tif", np.stack([LABELS] * 2), photometric="minisblack"))
    colours = np.stack([LABELS, LABELS, LABELS + 1], axis=-1)
    with pytest.raises(ImageError, match=r"3 channels that differ \(colours\)"):
        read_label_map(written(tmp_path / "b.tif", colours, photometric="rgb"))


def test_a_large_map_is_refused_before_it_is_decoded(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", written(tmp_path / "a.tif", LABELS)):
        with pytest.raises(ImageError, match="over the limit of 11"):
            read_label_map(path, max_pixels=11)


def test_a_flipped_bit_of_a_png_is_noticed(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(path, compress_level=0)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageError, match="damaged"):
        read_label_map(path)


def test_strips_that_are_missing_are_noticed(tmp_path):
    path = written(tmp_path / "a.tif", LABELS, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["ImageLength"].overwrite(4000)
    with pytest.raises(ImageError, match="missing"):
        read_label_map(path)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint64, np.ulonglong, ">u2", np.float16])
def test_any_whole_numbers_can_be_a_label_map(dtype):
    array = np.array([[0, 1], [1, 1]]).astype(dtype)
    np.testing.assert_array_equal(whole_numbers(one_channel(array)), [[0, 1], [1, 1]])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 2), 0.5), r"whole numbers, this one holds 0\.5"),
        (np.full((2, 2), np.nan), "this one holds nan"),
        (np.full((1, 1), 1e300), "beyond 2"),
        (np.full((1, 1), 1j), "this one holds complex"),
        (np.full((1, 1), 2**63, np.uint64), "must fit 64 bits with a sign, got 9223372036854775808"),
    ],
)
def test_what_can_be_no_label_map(array, message):
    with pytest.raises(ImageError, match=message):
        whole_numbers(array)
