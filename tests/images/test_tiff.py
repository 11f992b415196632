import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.images.image_files import lzw_tiff
from upseg.errors import ImageError
from upseg.images import tiff
from upseg.images.reading import read_image


def samples(*shape: int, dtype: type = np.uint16) -> np.ndarray:
    values = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    values.flat[0] = np.iinfo(dtype).max
    return values


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3)])
def test_every_depth_byte_order_and_layout_is_read(tmp_path, shape, dtype, options, byteorder) -> None:
    values = samples(*shape, dtype=dtype)
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=byteorder, photometric=photometric, **options)
    expected = np.broadcast_to(values.reshape(9, 7, -1), (9, 7, 3)) / np.iinfo(dtype).max
    assert np.abs(read_image(tmp_path / "a.tif") - expected).max() < 1e-6


def test_bigtiff_is_read(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", samples(9, 7), bigtiff=True)
    assert read_image(tmp_path / "a.tif").shape == (9, 7, 3)


def test_planar_and_interleaved_colours_are_the_same_image(tmp_path) -> None:
    values = samples(9, 7, 3)
    tifffile.imwrite(tmp_path / "a.tif", values)
    tifffile.imwrite(
        tmp_path / "b.tif", values.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", compression="zlib"
    )
    assert np.array_equal(read_image(tmp_path / "a.tif"), read_image(tmp_path / "b.tif"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_outside_the_unit_range_are_stretched(tmp_path, dtype) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-1, 0, 3]], dtype))
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == pytest.approx([0, 0.25, 1])


def test_a_value_that_is_not_a_number_is_refused_with_the_files_name(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[np.nan]], np.float32))
    with pytest.raises(ImageError, match=r"a.tif: .*not a number"):
        read_image(tmp_path / "a.tif")


def test_many_channels_ask_for_a_choice_and_take_it(tmp_path) -> None:
    values = samples(9, 7, 5)
    values[0, 0] = 65535
    tifffile.imwrite(tmp_path / "a.tif", values, planarconfig="contig", photometric="minisblack")
    with pytest.raises(ImageError, match="this one has 5; choose one or three"):
        read_image(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif", channels=(4, 0, 2))
    assert np.abs(image - values[..., [4, 0, 2]] / 65535).max() < 1e-6
    with pytest.raises(ImageError, match="only 0 to 4"):
        read_image(tmp_path / "a.tif", channels=(5,))


def test_channels_of_an_instrument_come_first_in_the_file(tmp_path) -> None:
    values = samples(3, 9, 7)
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "CYX"})
    assert np.abs(read_image(tmp_path / "a.tif") - values.transpose(1, 2, 0) / 65535).max() < 1e-6
    assert np.abs(read_image(tmp_path / "a.tif", channels=(0,)) - values[0][..., None] / 65535).max() < 1e-6


def test_colours_before_infrared_are_taken_and_infrared_can_be_picked(tmp_path) -> None:
    values = samples(9, 7, 4)
    values[0, 0] = 65535
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
    assert np.abs(read_image(tmp_path / "a.tif") - values[..., :3] / 65535).max() < 1e-6
    infrared = read_image(tmp_path / "a.tif", channels=(3, 0, 1))
    assert np.abs(infrared - values[..., [3, 0, 1]] / 65535).max() < 1e-6


def test_alpha_is_put_on_white_and_multiplied_only_once(tmp_path) -> None:
    straight = np.full((2, 2, 4), (100, 0, 0, 51), np.uint8)
    tifffile.imwrite(tmp_path / "straight.tif", straight, photometric="rgb", extrasamples=["unassalpha"])
    multiplied = np.full((2, 2, 4), (20, 0, 0, 51), np.uint8)
    tifffile.imwrite(tmp_path / "multiplied.tif", multiplied, photometric="rgb", extrasamples=["assocalpha"])
    assert np.allclose(read_image(tmp_path / "straight.tif"), [20 / 255 + 0.8, 0.8, 0.8])
    assert np.allclose(read_image(tmp_path / "multiplied.tif"), read_image(tmp_path / "straight.tif"))
    grey = np.full((2, 2, 2), (0, 51), np.uint8)
    tifffile.imwrite(tmp_path / "grey.tif", grey, photometric="minisblack", planarconfig="contig", extrasamples=[2])
    assert np.allclose(read_image(tmp_path / "grey.tif"), 0.8)


def test_grey_that_counts_down_from_white_is_turned_round(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 255]], np.uint8), photometric="miniswhite")
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [1, 0]
    tifffile.imwrite(tmp_path / "b.tif", np.array([[False, True]]), photometric="miniswhite")
    assert read_image(tmp_path / "b.tif")[0, :, 0].tolist() == [1, 0]


def test_a_stack_asks_which_plane_and_reads_it(tmp_path) -> None:
    values = samples(4, 9, 7)
    values[:, 0, 0] = 65535
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(ImageError, match=r"holds 4 planes \(axes ZYX.*--page"):
        read_image(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif", page=2)[..., 0] - values[2] / 65535).max() < 1e-6
    with pytest.raises(ImageError, match="only 0 to 3"):
        read_image(tmp_path / "a.tif", page=4)


def test_planes_of_a_stack_with_channels_are_counted_in_order(tmp_path) -> None:
    values = samples(2, 4, 3, 9, 7)
    values[..., 0, 0] = 65535
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "TZCYX"})
    image = read_image(tmp_path / "a.tif", page=6)
    assert np.abs(image - values[1, 2].transpose(1, 2, 0) / 65535).max() < 1e-6
    assert np.abs(read_image(tmp_path / "a.tif", page=6, channels=(1,))[..., 0] - values[1, 2, 1] / 65535).max() < 1e-6


def test_planes_of_unknown_meaning_can_be_taken_as_channels(tmp_path) -> None:
    values = samples(5, 9, 7)
    values[:, 0, 0] = 65535
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for plane in values:
            writer.write(plane, metadata=None)
    with pytest.raises(ImageError, match=r"5 planes.*--page.*--channels"):
        read_image(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif", channels=(4, 1, 0))
    assert np.abs(image - values[[4, 1, 0]].transpose(1, 2, 0) / 65535).max() < 1e-6
    assert np.abs(read_image(tmp_path / "a.tif", page=3)[..., 0] - values[3] / 65535).max() < 1e-6


def test_a_thumbnail_after_the_image_is_ignored(tmp_path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(samples(9, 7, 3), photometric="rgb")
        writer.write(samples(3, 2, 3), photometric="rgb", subfiletype=1)
    assert read_image(tmp_path / "a.tif").shape == (9, 7, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_the_orientation_tag_is_applied_with_every_decoder(tmp_path, orientation, compression) -> None:
    values = samples(4, 6, 3, dtype=np.uint8)
    upright = Image.fromarray(values)
    upright.save(tmp_path / "a.tif", compression=compression, tiffinfo={274: orientation})
    turned = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.swapaxes(0, 1),
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(values),
    }[orientation]
    assert np.array_equal((read_image(tmp_path / "a.tif") * 255).round(), turned)


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        ("1", "group4"),
        ("L", "tiff_lzw"),
        ("P", "tiff_lzw"),
        ("RGB", "tiff_lzw"),
        ("RGBA", "tiff_lzw"),
        ("CMYK", "tiff_lzw"),
        ("I;16", "tiff_lzw"),
        ("F", "tiff_lzw"),
        ("P", None),
        ("CMYK", None),
        ("RGB", "packbits"),
    ],
)
def test_what_tifffile_does_not_decode_or_convert_is_left_to_pillow(tmp_path, mode, compression) -> None:
    if mode in ("I;16", "F"):
        image = Image.fromarray(samples(9, 7, dtype=np.uint16).astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        image = Image.fromarray(samples(9, 7, 3, dtype=np.uint8)).convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(read_image(tmp_path / "a.tif"), read_image(image))


def test_jpeg_compressed_colours_are_read(tmp_path) -> None:
    Image.new("RGB", (16, 16), (200, 100, 50)).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    assert np.abs(read_image(tmp_path / "a.tif") * 255 - [200, 100, 50]).max() <= 3


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("orientation", [1, 6])
def test_lzw_with_sixteen_bits_keeps_all_of_them(tmp_path, byte_order, channels, orientation) -> None:
    values = samples(9, 7, channels)
    if channels == 4:
        values[..., 3] = 65535
    (tmp_path / "a.tif").write_bytes(lzw_tiff(values, byte_order=byte_order, orientation=orientation))
    expected = np.broadcast_to(values[..., : min(channels, 3)], (9, 7, 3)) / 65535
    expected = np.rot90(expected, -1) if orientation == 6 else expected
    assert np.abs(read_image(tmp_path / "a.tif") - expected).max() < 1e-6


def test_a_compression_that_nothing_here_decodes_names_the_package(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.tif").write_bytes(lzw_tiff(samples(9, 7, 5)))
    monkeypatch.setattr(tiff, "_readable", lambda page: False)  # as where imagecodecs is not installed
    with pytest.raises(ImageError, match=r"a.tif: .*LZW compression.*16 bits.*imagecodecs"):
        read_image(tmp_path / "a.tif", channels=(0,))


def test_pages_of_a_compressed_file_are_counted_alike_with_pillow(tmp_path) -> None:
    pages = [Image.fromarray(samples(9, 7, dtype=np.uint8) // (i + 1)) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "a.tif", page=2), read_image(pages[2]))


def test_size_channels_and_tiles_are_limited_before_anything_is_decoded(tmp_path, monkeypatch) -> None:
    tifffile.imwrite(tmp_path / "large.tif", samples(9, 7))
    tifffile.imwrite(tmp_path / "deep.tif", samples(9, 7, 90), planarconfig="contig", photometric="minisblack")
    tifffile.imwrite(tmp_path / "tiles.tif", samples(2, 2), tile=(1024, 1024))
    monkeypatch.setattr(tifffile.TiffPage, "asarray", None)
    with pytest.raises(ImageError, match="7 x 9 is 63 pixels, over the limit of 62"):
        read_image(tmp_path / "large.tif", max_pixels=62)
    with pytest.raises(ImageError, match="with 90 channels is over the limit"):
        read_image(tmp_path / "deep.tif", channels=(0,), max_pixels=1000)
    with pytest.raises(ImageError, match="over the limit"):
        read_image(tmp_path / "tiles.tif", max_pixels=1000)


def test_a_tiff_without_an_image_is_refused(tmp_path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0\0\0\0\0")
    with pytest.raises(ImageError, match=r"a.tif: "):
        read_image(tmp_path / "a.tif")
