"""PNG files of every colour type, bit depth and option."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import read_image, read_mask
from lfusion.image.pictures import parse_picture

if TYPE_CHECKING:
    from tests.support.picture_files import (
        CHANNELS,
        chunk,
        filtered,
        header,
        noise,
        png,
        shown,
        stored,
    )
else:
    from picture_files import CHANNELS, chunk, filtered, header, noise, png, shown, stored

KINDS = [
    (colour, bits)
    for colour, depths in {
        0: (1, 2, 4, 8, 16),
        2: (8, 16),
        3: (1, 2, 4, 8),
        4: (8, 16),
        6: (8, 16),
    }.items()
    for bits in depths
]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "bits"), KINDS)
def test_all_kinds_are_shown_with_all_their_bits(colour: int, bits: int, interlaced: bool) -> None:
    samples = noise(13, 11, CHANNELS[colour], bits)
    before = b""
    expected: NDArray[Any] = samples
    if colour == 3:
        palette = np.random.default_rng(1).integers(0, 256, (2**bits, 3), dtype=np.uint8)
        before = chunk(b"PLTE", palette.tobytes())
        expected = palette[samples[..., 0]]
    if colour in (4, 6):
        samples[..., -1] = 2**bits - 1
        expected = samples[..., :-1]
    if bits < 8 and colour == 0:
        expected = samples * (255 // (2**bits - 1))
    content = png(samples, bits, colour, interlaced=interlaced, before=before)
    pixels = shown(content)
    np.testing.assert_array_equal(pixels, np.squeeze(expected))
    assert pixels.dtype == (np.uint16 if bits == 16 else np.uint8)
    with Image.open(io.BytesIO(content)) as picture:  # Pillow shows 16-bit colour in 8 bits
        if bits < 16:
            oracle = np.asarray(picture.convert("RGB"))
            colours = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
            np.testing.assert_array_equal(colours, oracle)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (13, 11)])
def test_a_mask_has_the_values_as_stored(
    tmp_path: Path, bits: int, interlaced: bool, size: tuple[int, int]
) -> None:
    samples = noise(*size, 1, min(bits, 8))
    (tmp_path / "a.png").write_bytes(png(samples, bits, 0, interlaced=interlaced))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), samples[..., 0])


def test_sixteen_bit_colour_keeps_its_low_bits(tmp_path: Path) -> None:
    samples = np.array([[[1000, 1000, 1000], [65535, 65535, 65535]]], np.uint16)
    (tmp_path / "a.png").write_bytes(png(samples, 16, 2))
    pixels = read_image(tmp_path / "a.png").pixels
    np.testing.assert_allclose(pixels, [[1000 / 65535, 1]], atol=1e-7)


@pytest.mark.parametrize(("colour", "bits"), [(4, 8), (4, 16), (6, 8), (6, 16)])
def test_a_transparent_pixel_is_refused(colour: int, bits: int) -> None:
    samples = noise(5, 4, CHANNELS[colour], bits)
    samples[..., -1] = 2**bits - 1
    samples[2, 2, -1] -= 1
    with pytest.raises(ImageError, match=r"transparent pixels.*save it without transparency"):
        shown(png(samples, bits, colour))


def test_a_transparent_colour_is_refused_where_a_pixel_has_it() -> None:
    samples = noise(5, 4, 3, 8)
    samples[0, 0] = 255, 0, 0
    key = chunk(b"tRNS", struct.pack(">3H", 255, 0, 0))
    with pytest.raises(ImageError, match="transparent pixels"):
        shown(png(samples, 8, 2, before=key))
    samples[0, 0] = 254, 0, 0
    pixels = shown(png(samples, 8, 2, before=key))
    np.testing.assert_array_equal(pixels, samples)


def test_a_transparent_grey_value_is_refused_as_image_and_read_as_mask() -> None:
    samples = np.array([[[0], [1], [2]]], np.uint8)
    content = png(samples, 2, 0, before=chunk(b"tRNS", b"\0\0"))
    with pytest.raises(ImageError, match="transparent pixels"):
        shown(content)
    assert stored(content).tolist() == [[0, 1, 2]]


def test_a_transparent_palette_entry_is_refused_where_a_pixel_has_it() -> None:
    samples = np.array([[[0], [1], [1]]], np.uint8)
    palette = chunk(b"PLTE", bytes([9, 9, 9, 200, 200, 200]))
    content = png(samples, 8, 3, before=palette + chunk(b"tRNS", b"\xff\x80"))
    with pytest.raises(ImageError, match="transparent pixels"):
        shown(content)
    opaque = png(samples * 0, 8, 3, before=palette + chunk(b"tRNS", b"\xff\x80"))
    assert shown(opaque).tolist() == [[9, 9, 9]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_image_and_mask(tmp_path: Path, orientation: int) -> None:
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    upright = {
        1: [[0, 1, 2], [3, 4, 5]],
        2: [[2, 1, 0], [5, 4, 3]],
        3: [[5, 4, 3], [2, 1, 0]],
        4: [[3, 4, 5], [0, 1, 2]],
        5: [[0, 3], [1, 4], [2, 5]],
        6: [[3, 0], [4, 1], [5, 2]],
        7: [[5, 2], [4, 1], [3, 0]],
        8: [[2, 5], [1, 4], [0, 3]],
    }[orientation]
    with (tmp_path / "a.png").open("rb") as file:
        picture = parse_picture(file)
        assert (picture.layout.height, picture.layout.width) == np.shape(upright)
        assert picture.shown()[0].tolist() == upright
    assert read_mask(tmp_path / "a.png").tolist() == upright


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff" + b"\0" * 30])
def test_exif_data_without_an_orientation_count_as_upright(exif: bytes) -> None:
    samples = noise(3, 4, 1, 8)
    pixels = shown(png(samples, 8, 0, before=chunk(b"eXIf", exif)))
    np.testing.assert_array_equal(pixels, samples[..., 0])


def test_twelve_bits_in_sixteen_are_scaled_by_their_own_white(tmp_path: Path) -> None:
    samples = np.array([[[0], [819], [4095]]], np.uint16)
    for before in (b"", chunk(b"sBIT", b"\x0c")):
        (tmp_path / "a.png").write_bytes(png(samples, 16, 0, before=before))
        pixels = read_image(tmp_path / "a.png").pixels
        np.testing.assert_allclose(pixels, [[0, 0.2, 1]], atol=1e-7)


def test_significant_bits_bound_the_white(tmp_path: Path) -> None:
    samples = np.array([[[0], [300]]], np.uint16)
    (tmp_path / "a.png").write_bytes(png(samples, 16, 0, before=chunk(b"sBIT", b"\x09")))
    np.testing.assert_allclose(read_image(tmp_path / "a.png").pixels, [[0, 300 / 511]], atol=1e-7)


def test_texts_and_profiles_are_never_decompressed() -> None:
    bomb = zlib.compress(bytes(2**28), 9)
    before = chunk(b"zTXt", b"a\0\0" + bomb) + chunk(b"iCCP", b"a\0\0" + bomb)
    samples = noise(3, 4, 1, 8)
    pixels = shown(png(samples, 8, 0, before=before + chunk(b"gAMA", b"\0" * 4)))
    np.testing.assert_array_equal(pixels, samples[..., 0])


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (0, 99, 200)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="an animation of 3 frames"):
        read_image(tmp_path / "a.png")


def test_pixel_data_shorter_than_the_header_promises() -> None:
    samples = noise(6, 4, 1, 8)
    with pytest.raises(ImageError, match="promises 45 bytes of pixel data, the file holds 30"):
        shown(png(samples, 8, 0, size=(9, 4)))
    with pytest.raises(ImageError, match="promises 25 bytes of pixel data, the file holds more"):
        shown(png(samples, 8, 0, size=(5, 4)))


def test_cut_off_anywhere() -> None:
    content = png(noise(7, 9, 3, 8), 8, 2)
    for length in range(8, len(content)):
        with pytest.raises(ImageError, match=r"the (file|part)"):
            shown(content[:length])


def test_any_changed_byte_of_the_pixels_is_noticed() -> None:
    content = png(noise(7, 9, 1, 8), 8, 0)
    for place in range(content.index(b"IDAT") + 4, len(content) - 12):
        changed = bytearray(content)
        changed[place] ^= 4
        with pytest.raises(ImageError):
            shown(bytes(changed))


def test_a_bomb_is_stopped_at_the_promised_size() -> None:
    data = zlib.compress(bytes(2**29), 9)
    content = header(4, 4, 8, 0) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    started = time.process_time()
    with pytest.raises(ImageError, match="promises 20 bytes"):
        shown(content)
    assert time.process_time() - started < 1


def test_a_size_beyond_the_limit_is_refused_before_decoding() -> None:
    content = header(50_000, 50_000, 8, 0) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(TooLargeError, match="limit"):
        shown(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header(4, 0, 8, 0) + chunk(b"IDAT", b""), "the size 1 x 0 x 4"),
        (header(4, 4, 3, 0) + chunk(b"IDAT", b""), "3 bits for colour type 0"),
        (header(4, 4, 8, 5) + chunk(b"IDAT", b""), "8 bits for colour type 5"),
        (header(4, 4, 8, 0, 2) + chunk(b"IDAT", b""), "an interlacing"),
        (header(4, 4, 8, 3) + chunk(b"IDAT", b""), "the palette has 0 bytes"),
        (header(4, 4, 1, 3) + chunk(b"PLTE", bytes(9)) + chunk(b"IDAT", b""), "9 bytes"),
        (header(4, 4, 8, 0) + chunk(b"ABCD", b""), "the part ABCD is unknown"),
        (header(4, 4, 8, 0), "no pixel data"),
        (chunk(b"CgBI", b""), "does not begin"),
        (
            header(1, 1, 8, 0) + chunk(b"IDAT", b"") + chunk(b"tEXt", b"") + chunk(b"IDAT", b""),
            "in two places",
        ),
        (header(1, 1, 8, 0) + chunk(b"IDAT", zlib.compress(b"\5\0")), "a filter that PNG"),
    ],
)
def test_headers_that_contradict_themselves(content: bytes, reason: str) -> None:
    content = content if content.startswith(b"\x89") else b"\x89PNG\r\n\x1a\n" + content
    with pytest.raises(ImageError, match=reason):
        shown(content + chunk(b"IEND", b""))


def test_palette_number_beyond_the_palette() -> None:
    content = png(noise(4, 4, 1, 8), 8, 3, before=chunk(b"PLTE", bytes(30)))
    with pytest.raises(ImageError, match="palette number 255, the palette ends at 9"):
        shown(content)


def test_many_small_parts_are_read_in_order() -> None:
    samples = noise(40, 30, 3, 8)
    data = zlib.compress(filtered(samples, 8))
    parts = b"".join(chunk(b"IDAT", data[start : start + 1]) for start in range(len(data)))
    content = header(30, 40, 8, 2) + parts + chunk(b"IEND", b"")
    np.testing.assert_array_equal(shown(content), samples)


def test_what_follows_the_end_is_ignored() -> None:
    samples = noise(3, 4, 1, 8)
    content = png(samples, 8, 0) + os.urandom(50)
    np.testing.assert_array_equal(shown(content), samples[..., 0])
