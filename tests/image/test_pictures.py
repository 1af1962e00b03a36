"""PNG, JPEG, BMP and TIFF files, good and bad."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import ImageError
from lfusion.image import read_image, read_mask

Grey8 = NDArray[np.uint8]


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.Tif", "a.tiff"])
def test_eight_bit_grey_is_divided_by_255(tmp_path: Path, ramp: Grey8, name: str) -> None:
    Image.fromarray(ramp).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.pixels.dtype == np.float32
    np.testing.assert_allclose(image.pixels, ramp / 255, atol=1e-7)
    assert image.pixel_size_mm is None
    assert not image.geometry.physical


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_is_divided_by_65535(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 13107, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    np.testing.assert_allclose(read_image(tmp_path / name).pixels, [[0, 0.2, 1]], atol=1e-7)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_jpeg_is_close_to_its_source(tmp_path: Path, name: str) -> None:
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
    Image.fromarray(smooth).save(tmp_path / name, quality=95)
    np.testing.assert_allclose(read_image(tmp_path / name).pixels, smooth / 255, atol=0.02)


def test_colour_becomes_luminance_and_opaque_alpha_is_dropped(tmp_path: Path) -> None:
    colours = np.array([[[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]]], dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png").pixels
    np.testing.assert_allclose(pixels, [[0.299, 0.587, 0.114]], atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_stays_the_same_in_colour_modes(tmp_path: Path, ramp: Grey8, mode: str) -> None:
    Image.fromarray(ramp).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png").pixels, ramp / 255, atol=1e-6)


def test_palette_colours_are_looked_up(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    picture.putpalette([255, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png").pixels, [[0.299, 1]], atol=1e-6)


def test_black_and_white_picture(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").pixels.tolist() == [[1, 0]]


def test_float_tiff_in_unit_range_is_taken_as_it_is(tmp_path: Path) -> None:
    values = np.array([[0, 0.25], [0.5, 1]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, values)


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "NaN"), (np.inf, "NaN or infinity"), (200.0, r"in \[0, 1\]")]
)
def test_float_tiff_outside_unit_range_is_refused(
    tmp_path: Path, value: float, reason: str
) -> None:
    Image.fromarray(np.array([[0.5, value]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(tmp_path / "a.tif")
    assert "a.tif" in str(caught.value)


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    Image.fromarray(np.array([[51]], dtype=np.uint8)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(image.pixels, [[0.2]], atol=1e-7)
    assert image.sector.all()


def test_twelve_megapixels(tmp_path: Path) -> None:
    Image.fromarray(np.full((3000, 4000), 128, dtype=np.uint8)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.pixels.shape == (3000, 4000)
    assert image.sector.all()


def test_all_black_is_an_image_and_all_sector(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 40), dtype=np.uint8)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert not image.pixels.any()
    assert image.sector.all()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "empty"),
        ("text.png", b"this is no picture\n" * 9, r"ends in \.png, but its content is no PNG file"),
        ("text.tif", b"II*\0 but no more", "of the TIFF file takes .* the file holds 0"),
        ("a.gif", b"GIF89a", r"\.png, \.jpg.*got \.gif"),
        ("noext", b"x", "no suffix"),
    ],
)
def test_files_that_are_no_picture(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
def test_truncated_picture(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"the file (holds|ends)") as caught:
        read_image(tmp_path / name)
    assert "copy it again from its source" in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ImageError, match="a folder"):
        read_image(tmp_path / "b.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "c.png")
        with pytest.raises(ImageError, match="a pipe"):
            read_image(tmp_path / "c.png")


def test_several_pages_are_refused(tmp_path: Path, ramp: Grey8) -> None:
    page = Image.fromarray(ramp)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
    with pytest.raises(ImageError, match="3 frames or pages"):
        read_image(tmp_path / "a.tif")


def test_mask_keeps_its_numbers(tmp_path: Path, ramp: Grey8) -> None:
    for name, values in (("a.png", ramp), ("b.png", ramp.astype(np.uint16)), ("c.tif", ramp)):
        Image.fromarray(values).save(tmp_path / name)
        mask = read_mask(tmp_path / name)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, ramp)


@pytest.mark.parametrize(
    ("mode", "reason"), [("P", "a palette"), ("RGB", "RGB colour"), ("LA", "an alpha channel")]
)
def test_mask_in_colour_is_refused(tmp_path: Path, ramp: Grey8, mode: str, reason: str) -> None:
    Image.fromarray(ramp).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=reason):
        read_mask(tmp_path / "a.png")


def test_mask_beyond_255_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 300]], dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="got 0 to 300"):
        read_mask(tmp_path / "a.png")


def test_lossy_mask_is_refused(tmp_path: Path, ramp: Grey8) -> None:
    Image.fromarray(ramp).save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="a lossy JPEG"):
        read_mask(tmp_path / "a.jpg")
