"""BMP files of every depth, header and compression."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import bmp

if TYPE_CHECKING:
    from tests.support.picture_files import noise, shown, stored
else:
    from picture_files import noise, shown, stored

GREY = {bits: np.arange(2**bits) * 255 // (2**bits - 1) for bits in (1, 4, 8)}


def make(
    rows: list[bytes],
    width: int,
    bits: int,
    *,
    palette: Any = None,
    compression: int = 0,
    header: int = 40,
    masks: tuple[int, ...] = (),
    top_down: bool = False,
    height: int | None = None,
) -> bytes:
    """A file of these rows, the upper one first; runs are given as one row with `height`."""
    tall = len(rows) if height is None else height
    if header == 12:
        fields = struct.pack("<IHHHH", 12, width, tall, 1, bits)
    else:
        signed = -tall if top_down else tall
        fields = struct.pack("<IiiHHIIiiII", header, width, signed, 1, bits, compression, *(0,) * 5)
    words = struct.pack(f"<{len(masks)}I", *masks)
    fields = (fields + words).ljust(max(header, len(fields + words)), b"\0")
    colours = b""
    if palette is not None:
        entries = [bytes((c, c, c) if np.ndim(c) == 0 else tuple(c)[::-1]) for c in palette]
        colours = b"".join(entry + (b"" if header == 12 else b"\0") for entry in entries)
    ordered = rows if top_down else rows[::-1]
    data = b"".join(ordered if height else (row + bytes(-len(row) % 4) for row in ordered))
    offset = 14 + len(fields) + len(colours)
    return struct.pack("<2sIII", b"BM", offset + len(data), 0, offset) + fields + colours + data


def packed(indices: NDArray[np.uint8], bits: int) -> list[bytes]:
    """Rows of palette numbers, as they are stored without padding to four bytes."""
    rows = []
    for row in indices:
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8)))
    return rows


def words(values: NDArray[Any], dtype: str) -> list[bytes]:
    return [row.astype(dtype).tobytes() for row in values]


def _by_pillow(content: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("header", [12, 40, 108, 124])
@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_grey_palettes(bits: int, top_down: bool, header: int) -> None:
    if header == 12 and top_down:
        header = 40
    indices = noise(5, 7, 1, bits)[..., 0]
    content = make(
        packed(indices, bits), 7, bits, palette=GREY[bits], top_down=top_down, header=header
    )
    np.testing.assert_array_equal(stored(content), indices)
    np.testing.assert_array_equal(shown(content), GREY[bits][indices])
    np.testing.assert_array_equal(np.stack([shown(content)] * 3, -1), _by_pillow(content))


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_an_inverted_palette_is_shown_inverted_and_is_no_mask(bits: int) -> None:
    indices = noise(5, 7, 1, bits)[..., 0]
    content = make(packed(indices, bits), 7, bits, palette=GREY[bits][::-1])
    np.testing.assert_array_equal(shown(content), GREY[bits][::-1][indices])
    with pytest.raises(ImageError, match="got a palette"):
        stored(content)


def test_a_colour_palette() -> None:
    palette = np.random.default_rng(0).integers(0, 256, (16, 3))
    indices = noise(5, 7, 1, 4)[..., 0]
    content = make(packed(indices, 4), 7, 4, palette=palette)
    np.testing.assert_array_equal(shown(content), palette[indices])
    np.testing.assert_array_equal(shown(content), _by_pillow(content))


def test_palette_number_beyond_the_palette() -> None:
    content = make([bytes([0, 1, 2])], 3, 8, palette=[0, 1])
    for read in (shown, stored):
        with pytest.raises(ImageError, match="palette number 2, the palette ends at 1"):
            read(content)


@pytest.mark.parametrize("top_down", [False, True])
def test_twenty_four_bits(top_down: bool) -> None:
    colours = noise(5, 7, 3, 8)
    rows = [row[:, ::-1].tobytes() for row in colours]
    content = make(rows, 7, 24, top_down=top_down)
    np.testing.assert_array_equal(shown(content), colours)
    with pytest.raises(ImageError, match="got RGB colour"):
        stored(content)


def test_the_fourth_byte_of_thirty_two_bits_is_not_a_colour() -> None:
    colours = noise(5, 7, 4, 8)
    rows = [row[:, [2, 1, 0, 3]].tobytes() for row in colours]
    np.testing.assert_array_equal(shown(make(rows, 7, 32)), colours[..., :3])


def test_sixteen_bits_have_five_of_each_colour() -> None:
    colours = noise(5, 7, 3, 5).astype(np.uint16)
    values = colours[..., 0] << 10 | colours[..., 1] << 5 | colours[..., 2]
    content = make(words(values, "<u2"), 7, 16)
    np.testing.assert_array_equal(shown(content), np.rint(colours * (255 / 31)))
    np.testing.assert_allclose(shown(content), _by_pillow(content), atol=1)


@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
def test_bit_fields(header: int) -> None:
    masks = (0xF800, 0x07E0, 0x001F)
    red, green, blue = (noise(5, 7, 1, bits)[..., 0].astype(np.uint16) for bits in (5, 6, 5))
    values = red << 11 | green << 5 | blue
    content = make(words(values, "<u2"), 7, 16, compression=3, masks=masks, header=header)
    expected = np.stack([red * (255 / 31), green * (255 / 63), blue * (255 / 31)], -1)
    np.testing.assert_array_equal(shown(content), np.rint(expected))


def test_ten_bits_of_a_colour_keep_their_low_bits() -> None:
    masks = (0x3FF00000, 0xFFC00, 0x3FF)
    values = np.array([[0, 1023 << 20 | 1023 << 10 | 1023, 512 << 20 | 512 << 10 | 512]], np.uint32)
    content = make(words(values, "<u4"), 3, 32, compression=3, masks=masks)
    white = 65535
    expected = [[[0] * 3, [white] * 3, [round(512 * white / 1023)] * 3]]
    assert shown(content).tolist() == [expected[0]]


@pytest.mark.parametrize("alpha", [255, 254, 0])
def test_alpha_must_be_opaque(alpha: int) -> None:
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    values = np.array([[0xFF010203, alpha << 24 | 0x040506]], np.uint32)
    content = make(words(values, "<u4"), 2, 32, compression=3, masks=masks, header=124)
    if alpha == 255:
        assert shown(content).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    else:
        with pytest.raises(ImageError, match="transparent pixels"):
            shown(content)


@pytest.mark.parametrize(
    "masks",
    [(0xFF, 0xFF, 0xFF), (0xA000, 0x0E0, 0x1F), (0, 0x3E0, 0x1F), (0xFF0000, 0xFF00, 0xFF)],
)
def test_bit_fields_that_contradict_themselves(masks: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"share bits or have gaps|no bits for a colour"):
        shown(make([bytes(4)], 2, 16, compression=3, masks=masks))


RLE8 = bytes([3, 5, 2, 9, 0, 0, 0, 3, 1, 2, 3, 0, 2, 7, 0, 1])
RLE4 = bytes([3, 0x56, 2, 0x99, 0, 0, 0, 5, 0x12, 0x34, 0x50, 0, 0, 1])


def test_run_lengths_of_eight_bits() -> None:
    content = make([RLE8], 5, 8, palette=GREY[8], compression=1, height=2)
    assert stored(content).tolist() == [[1, 2, 3, 7, 7], [5, 5, 5, 9, 9]]
    np.testing.assert_array_equal(np.stack([shown(content)] * 3, -1), _by_pillow(content))


def test_run_lengths_of_four_bits() -> None:
    content = make([RLE4], 5, 4, palette=GREY[4], compression=2, height=2)
    assert stored(content).tolist() == [[1, 2, 3, 4, 5], [5, 6, 5, 9, 9]]
    np.testing.assert_array_equal(np.stack([shown(content)] * 3, -1), _by_pillow(content))


@pytest.mark.parametrize(
    ("runs", "count"),
    [
        (RLE8[:8], 5),
        (bytes([3, 5, 0, 2, 2, 0, 0, 0, 5, 1, 0, 1]), 3),
        (bytes([3, 5, 0, 0, 5, 1, 0, 1]), 8),
        (bytes([0, 1]), 0),
        (b"", 0),
    ],
)
def test_pixels_that_the_run_lengths_skip_are_refused(runs: bytes, count: int) -> None:
    content = make([runs], 5, 8, palette=GREY[8], compression=1, height=2)
    with pytest.raises(ImageError, match=f"promises 10 pixels, the run lengths give {count}"):
        shown(content)


@pytest.mark.parametrize("runs", [bytes([6, 1]), bytes([5, 1, 0, 0, 5, 1, 0, 0, 5, 1])])
def test_run_lengths_beyond_the_picture_are_refused(runs: bytes) -> None:
    content = make([runs], 5, 8, palette=GREY[8], compression=1, height=2)
    with pytest.raises(ImageError, match="passes the end of its row"):
        shown(content)


def test_the_number_of_runs_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bmp, "MAX_RUNS", 10)
    content = make([bytes([0, 0]) * 20], 5, 8, palette=GREY[8], compression=1, height=2)
    with pytest.raises(TooLargeError, match="more runs of pixels than the limit of 10"):
        shown(content)


@pytest.mark.parametrize(("compression", "name"), [(4, "JPEG"), (5, "PNG"), (11, "CMYK")])
def test_embedded_pictures_are_refused_by_name(compression: int, name: str) -> None:
    with pytest.raises(ImageError, match=f"holds .*{name}.*which is not read"):
        shown(make([bytes(3)], 1, 24, compression=compression))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make([bytes(4)], 4, 2, palette=GREY[1]), "1 planes of 2 bits"),
        (make([bytes(4)], 4, 8, palette=GREY[8], compression=2), "compression 2 for 8 bits"),
        (make([bytes(4)], 4, 1, palette=GREY[1], compression=3, header=64), "of OS/2"),
        (make([], 4, 24), "the size 1 x 0 x 4"),
        (make([bytes(4)], 4, 8), "no palette for its 8 bits"),
        (make([bytes(4)], 4, 8, palette=GREY[8], compression=1, top_down=True), "from the top"),
        (make([bytes(12)], 4, 24)[:14] + struct.pack("<I", 41) + bytes(50), "header has 41 bytes"),
        (make([bytes(12)], 4, 24)[:16], "inside its header"),
        (make([bytes(12)], 4, 24)[:30], "inside its header"),
    ],
)
def test_headers_that_are_not_read(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        shown(content)


def test_pixel_data_shorter_than_the_header_promises() -> None:
    content = make([bytes(12)] * 5, 4, 24)
    with pytest.raises(ImageError, match="promises 60 bytes of pixel data, the file holds 59"):
        shown(content[:-1])


def test_padding_of_the_last_row_may_be_left_out() -> None:
    colours = noise(3, 3, 3, 8)
    content = make([row[:, ::-1].tobytes() for row in colours], 3, 24)
    np.testing.assert_array_equal(shown(content[:-3]), colours)


def test_a_size_beyond_the_limit_is_refused_before_decoding() -> None:
    content = bytearray(make([bytes(12)], 4, 24))
    content[18:26] = struct.pack("<ii", 60_000, 60_000)
    with pytest.raises(TooLargeError, match="the limit"):
        shown(bytes(content))
