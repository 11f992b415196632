import contextlib
import io
import os
import subprocess
import sys
import threading
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.images.image_files import png_header, sixteen_bit_png
from upseg.errors import ImageError
from upseg.files import printable
from upseg.images import reading

# what is decoded, in its own proportions
read_image = partial(reading.read_image, normalize="none")

LOSSLESS = {"png": {}, "webp": {"lossless": True}, "bmp": {}, "tiff": {}}


def colours(height: int = 7, width: int = 5, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5)])
def test_rgb_files_are_read_exactly(tmp_path, suffix, height, width) -> None:
    expected = colours(height, width)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(expected).save(path, **LOSSLESS[suffix])
    before = path.read_bytes()
    image = read_image(path)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.float32
    assert np.array_equal(image, expected.astype(np.float32) / 255)
    assert path.read_bytes() == before


def test_a_jpeg_is_read_close_to_what_was_saved(tmp_path) -> None:
    Image.new("RGB", (16, 16), (200, 100, 50)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg") * 255 - [200, 100, 50]).max() <= 2


def test_the_content_decides_and_not_the_suffix(tmp_path) -> None:
    Image.fromarray(colours()).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(read_image(str(tmp_path / "a.jpg")), colours().astype(np.float32) / 255)


@pytest.mark.parametrize("name", ["with space.png", "größe 画像.png", "line\nbreak.png", "a[1]*.png", "ünï'\".png"])
def test_any_file_name_will_do(tmp_path, name) -> None:
    Image.new("L", (1, 1), 255).save(tmp_path / name)
    assert read_image(tmp_path / name).tolist() == [[[1, 1, 1]]]


def test_the_first_frame_of_a_gif_is_read(tmp_path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif") == [1, 0, 0]).all()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 102, (102, 102, 102)),
        ("LA", (0, 51), (204, 204, 204)),
        ("RGBA", (255, 0, 0, 51), (255, 204, 204)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (255, 128, 128), (255, 255, 255)),
        ("LAB", (128, 128, 128), (119, 119, 119)),
        ("HSV", (0, 0, 51), (51, 51, 51)),
        ("RGBa", (51, 0, 0, 51), (255, 204, 204)),
        ("F", 0.2, (51, 51, 51)),
        ("I", 51, (51, 51, 51)),
        ("I;16", 65535, (255, 255, 255)),
    ],
)
def test_every_pillow_mode_becomes_rgb(mode, colour, expected) -> None:
    image = Image.new(mode, (2, 2), colour)
    assert (read_image(image) * 255).round().astype(int).tolist() == [[list(expected)] * 2] * 2
    assert image.mode == mode


def test_palettes_with_and_without_transparency_are_resolved(tmp_path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(tmp_path / "opaque.png")
    assert read_image(tmp_path / "opaque.png").tolist() == [[[1, 0, 0], [0, 0, 1]]]
    image.save(tmp_path / "clear.png", transparency=1)
    assert read_image(tmp_path / "clear.png").tolist() == [[[1, 0, 0], [1, 1, 1]]]
    Image.new("L", (2, 1), 7).save(tmp_path / "grey.png", transparency=7)
    assert (read_image(tmp_path / "grey.png") == 1).all()
    image.save(tmp_path / "partly.png", transparency=bytes([255, 51]))
    assert read_image(tmp_path / "partly.png")[0, 1].tolist() == pytest.approx([0.8, 0.8, 1])


def test_a_cmyk_jpeg_is_not_inverted(tmp_path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "a.jpg") - [1, 0, 0]).max() < 0.02


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_pngs_keep_all_their_bits(tmp_path, channels) -> None:
    samples = colours(channels=channels, dtype=np.uint16)
    samples[0, 0] = 65535
    if channels in (2, 4):
        samples[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(sixteen_bit_png(samples))
    values = samples[..., : 1 if channels < 3 else 3].astype(np.float32) / 65535
    assert np.abs(read_image(tmp_path / "a.png") - values).max() < 1e-7


def test_a_sixteen_bit_png_with_twelve_significant_bits_is_not_dark(tmp_path) -> None:
    samples = colours(channels=3, dtype=np.uint16) % 4096
    samples[0, 0] = 4095
    (tmp_path / "a.png").write_bytes(sixteen_bit_png(samples))
    assert np.abs(read_image(tmp_path / "a.png") - samples / 4095).max() < 1e-6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_the_cameras_orientation_is_applied_as_pillow_does(tmp_path, orientation, suffix) -> None:
    upright = Image.fromarray(np.kron(colours(2, 3), np.ones((8, 8, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiff": {"tiffinfo": {274: orientation}}}.get(suffix, {"exif": exif})
    upright.save(tmp_path / f"a.{suffix}", **options)
    plain = read_image(tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.array_equal((plain * 255).round(), expected)
        assert np.array_equal(read_image(image), plain)
    assert plain.shape[:2] == ((16, 24) if orientation < 5 else (24, 16))


def test_an_orientation_that_makes_no_sense_is_ignored(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.fromarray(colours()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), colours().astype(np.float32) / 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 3, 3), (4, 3, 4)])
def test_arrays_are_taken_in_every_usual_shape_and_type(shape, dtype) -> None:
    array = np.ones(shape, dtype) * (np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1)
    array.flags.writeable = False
    assert np.array_equal(read_image(array.astype(dtype)), np.ones((4, 3, 3), np.float32))


@pytest.mark.parametrize("shape", [(4,), (4, 3, 2), (4, 3, 5), (2, 4, 3, 3), (3, 40, 50), ()])
def test_arrays_of_another_shape_are_refused_with_what_was_expected(shape) -> None:
    with pytest.raises(ImageError, match=r"\(H, W\) or \(H, W, C\) with 1, 3 or 4 channels.*got shape"):
        read_image(np.zeros(shape, np.uint8))


def test_a_channel_first_array_gets_a_hint() -> None:
    with pytest.raises(ImageError, match=r"transpose\(1, 2, 0\)"):
        read_image(np.zeros((3, 40, 50), np.uint8))


def test_channels_pick_from_an_array_with_any_number_of_them() -> None:
    array = np.arange(5, dtype=np.uint8).reshape(1, 1, 5) * 50
    assert (read_image(array, channels=(4, 0, 2)) * 255).round().tolist() == [[[200, 0, 100]]]
    assert (read_image(array, channels=[3]) * 255).round().tolist() == [[[150, 150, 150]]]


@pytest.mark.parametrize("channels", [(), (0, 1), (0, 1, 2, 3), (-1,)])
def test_only_one_or_three_channels_can_be_picked(channels) -> None:
    with pytest.raises(ImageError, match="one or three numbers, counted from 0"):
        read_image(np.zeros((2, 2, 5)), channels=channels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8])
def test_tensors_are_channel_first(dtype) -> None:
    tensor = torch.zeros(3, 4, 5, dtype=dtype)
    tensor[0] = 1 if dtype.is_floating_point else 255
    image = read_image(tensor)
    assert image.shape == (4, 5, 3)
    assert (image == [1, 0, 0]).all()


def test_tensors_with_gradients_alpha_or_no_channel_axis_are_read() -> None:
    assert read_image(torch.ones(4, 5, requires_grad=True)).shape == (4, 5, 3)
    assert (read_image(torch.zeros(4, 4, 5)) == 1).all()  # fully transparent is white
    with pytest.raises(ImageError, match=r"\(C, H, W\) with 1, 3 or 4 channels, got shape \(7, 4, 5\)"):
        read_image(torch.zeros(7, 4, 5))
    assert read_image(torch.rand(7, 4, 5), channels=(6,)).shape == (4, 5, 3)


def test_something_that_is_no_image_is_refused_with_its_type() -> None:
    # in a process of its own, because the shape checks of the tests would refuse it first
    code = "from upseg.images.reading import read_image\ntry: read_image([1])\nexcept Exception as e: print(repr(e))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ImageError" in done.stdout
    assert "a torch tensor, bytes or an open file, got list" in done.stdout


def test_too_many_pixels_are_refused_from_the_header_alone(tmp_path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(30_000, 30_000))
    with pytest.raises(ImageError, match=r"bomb.png: 30000 x 30000 is 900,000,000 pixels, over .*--max-pixels"):
        read_image(path)


def test_the_limit_can_be_raised_beyond_that_of_pillow_and_lowered(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    path = tmp_path / "a.png"
    Image.new("L", (10, 10)).save(path)
    assert read_image(path).shape == (10, 10, 3)  # 100 is more than twice the limit of Pillow
    assert read_image(path, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(ImageError, match="100 pixels, over the limit of 99"):
        read_image(path, max_pixels=99)
    assert PIL.Image.MAX_IMAGE_PIXELS == 10


def test_pillows_limit_comes_back_after_many_threads_read(tmp_path) -> None:
    Image.new("L", (50, 50)).save(tmp_path / "a.png")
    limit = PIL.Image.MAX_IMAGE_PIXELS
    threads = [threading.Thread(target=read_image, args=(tmp_path / "a.png",)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert limit == PIL.Image.MAX_IMAGE_PIXELS


def test_missing_empty_and_wrong_files_each_get_one_clear_error(tmp_path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.png").write_text("these are notes, not pixels")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name, message in {
        "missing.png": "there is no such file",
        "empty.png": "the file is empty",
        "notes.png": "not an image that upseg reads",
        "folder.png": "this is a folder",
        "pipe.png": "not a regular file",
    }.items():
        with pytest.raises(ImageError, match=f"{name}: .*{message}"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300 + ".png"])
def test_names_that_cannot_exist_are_refused(tmp_path, name) -> None:
    with pytest.raises(ImageError, match=r"cannot be read|no such file"):
        read_image(tmp_path / name)


def test_a_file_without_read_permission_is_named(tmp_path, monkeypatch) -> None:
    Image.new("L", (1, 1)).save(tmp_path / "a.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"a.png: you have no permission to read this file"):
        read_image(tmp_path / "a.png")


def encoded(format_name: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(colours(40, 30)).save(buffer, format=format_name)
    return buffer.getvalue()


FILES = {name: encoded(name) for name in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")}
FILES["PNG16"] = sixteen_bit_png(colours(40, 30, 3, np.uint16))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_gets_one_clear_error(tmp_path, name, share) -> None:
    path = tmp_path / "cut.img"
    path.write_bytes(FILES[name][: int(len(FILES[name]) * share)])
    with pytest.raises(ImageError, match=r"cut.img: "):
        read_image(path)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_but_never_crashes(tmp_path_factory, name, data) -> None:
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.img"
    path.write_bytes(content)
    # Pillow warns about what it could put right; anything but an ImageError fails the test
    with warnings.catch_warnings(), contextlib.suppress(ImageError):
        warnings.simplefilter("ignore")
        image = read_image(path, max_pixels=10_000)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1


def test_a_pillow_image_of_a_broken_file_gets_the_same_error(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(FILES["PNG"][:-500])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(ImageError, match="damaged or cut off"):
        read_image(image)


def test_paths_are_shown_on_one_line() -> None:
    assert printable("photos/größe 1.png") == "photos/größe 1.png"
    assert printable(Path("a\nb.png")) == "'a\\nb.png'"
    assert printable(os.fsdecode(b"a\xff.png")) == "'a\\udcff.png'"


def test_bytes_and_open_files_are_read_like_the_file(tmp_path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)).save(path)
    expected = read_image(path)
    np.testing.assert_array_equal(read_image(path.read_bytes()), expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_image(file), expected)
    with pytest.raises(ImageError, match="this is not an image"):
        read_image(b"no image at all")
