"""JPEG files: colour, orientation, and streams that lack a part of the picture."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import read_image
from lfusion.image.pictures import parse_picture

if TYPE_CHECKING:
    from tests.support.picture_files import shown, stored
else:
    from picture_files import shown, stored

_SOF = 0xC0


@pytest.fixture(scope="module")
def colours() -> NDArray[np.uint8]:
    """[41, 33, 3]: squares of 5 pixels, each of its own colour."""
    squares = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return np.kron(squares, np.ones((5, 5, 1), np.uint8))[:41, :33]


def _jpeg(values: NDArray[np.uint8], **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", **options)
    return file.getvalue()


def _by_pillow(content: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


def _without_applications(content: bytes) -> bytes:
    """Remove JFIF and Adobe, so that only the component identifiers tell the colours."""
    start = 2
    while content[start] == 0xFF and content[start + 1] in (0xE0, 0xEE):
        start += 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    return content[:2] + content[start:]


def _frame(content: bytes, marker: int = _SOF) -> int:
    return content.index(bytes([0xFF, marker]))


def _changed(content: bytes, offset: int, new: bytes) -> bytes:
    return content[:offset] + new + content[offset + len(new) :]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:2"},
        {"subsampling": "4:1:1"},
        {"keep_rgb": True},
        {"restart_marker_blocks": 3},
        {"optimize": True, "quality": 30},
    ],
)
def test_colours_are_those_of_libjpeg(colours: NDArray[np.uint8], options: dict[str, Any]) -> None:
    content = _jpeg(colours, **options)
    np.testing.assert_array_equal(shown(content), _by_pillow(content))


def test_grey(colours: NDArray[np.uint8]) -> None:
    content = _jpeg(colours[..., 0])
    np.testing.assert_array_equal(shown(content), _by_pillow(content))


@pytest.mark.parametrize("options", [{}, {"keep_rgb": True}])
def test_component_identifiers_tell_the_colours_without_other_marks(
    colours: NDArray[np.uint8], options: dict[str, Any]
) -> None:
    content = _jpeg(colours, subsampling="4:4:4", quality=98, **options)
    bare = _without_applications(content)
    np.testing.assert_array_equal(shown(bare), _by_pillow(bare))
    np.testing.assert_array_equal(shown(bare), shown(content))


@pytest.mark.parametrize("transform", [0, 1])
def test_adobes_mark_tells_the_colours(colours: NDArray[np.uint8], transform: int) -> None:
    bare = _without_applications(_jpeg(colours, subsampling="4:4:4", quality=98))
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
    content = bare[:2] + adobe + bare[2:]
    np.testing.assert_array_equal(shown(content), _by_pillow(content))
    assert np.array_equal(shown(content), shown(bare)) == (transform == 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    values = np.zeros((16, 32), np.uint8)
    values[:8, :8] = 200
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "a.jpg").write_bytes(_jpeg(values, exif=exif))
    pixels = read_image(tmp_path / "a.jpg").pixels
    assert pixels.shape == ((32, 16) if orientation >= 5 else (16, 32))
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0)} | {
        5: (0, 0),
        6: (0, -1),
        7: (-1, -1),
        8: (-1, 0),
    }
    bright = pixels > 0.5
    assert bright[corner[orientation]]
    assert bright.sum() == 64
    with (tmp_path / "a.jpg").open("rb") as file:
        layout = parse_picture(file).layout
    assert (layout.height, layout.width) == pixels.shape


@pytest.mark.parametrize("progressive", [False, True])
def test_a_premature_end_is_refused_even_with_an_end_mark(
    colours: NDArray[np.uint8], progressive: bool
) -> None:
    content = _jpeg(colours, progressive=progressive)
    first = content.index(b"\xff\xda") + 14
    for length in range(first, len(content) - 2):
        for end in (b"", b"\xff\xd9"):
            with pytest.raises(ImageError, match="copy it again from its source"):
                shown(content[:length] + end)


def test_a_progressive_picture_without_its_last_scans_is_refused(
    colours: NDArray[np.uint8],
) -> None:
    content = _jpeg(colours, progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", content)]
    assert len(scans) > 5
    for start in scans[1:]:
        with pytest.raises(ImageError, match="lacks scans"):
            shown(content[:start] + b"\xff\xd9")


def test_hundreds_of_scans_are_refused(colours: NDArray[np.uint8]) -> None:
    content = _jpeg(colours, progressive=True)
    last = content.rindex(b"\xff\xda")
    many = content[:-2] + content[last:-2] * 500 + b"\xff\xd9"
    with pytest.raises(TooLargeError, match="more than 100 scans"):
        shown(many)


def test_a_size_beyond_the_limit_is_refused_before_decoding(colours: NDArray[np.uint8]) -> None:
    content = _jpeg(colours)
    content = _changed(content, _frame(content) + 5, struct.pack(">HH", 60_000, 60_000))
    with pytest.raises(TooLargeError, match="the limit"):
        shown(content)


def test_a_second_size_is_refused(colours: NDArray[np.uint8]) -> None:
    content = _jpeg(colours)
    start = _frame(content)
    frame = content[start : start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")]
    with pytest.raises(ImageError, match="gives its size twice"):
        shown(content[:start] + frame + content[start:])


def test_a_larger_size_than_the_stream_holds(colours: NDArray[np.uint8]) -> None:
    content = _jpeg(colours)
    with pytest.raises(ImageError, match="incomplete"):
        shown(_changed(content, _frame(content) + 5, struct.pack(">H", 200)))


@pytest.mark.parametrize(
    ("marker", "name"),
    [
        (0xC3, "lossless JPEG"),
        (0xC5, "hierarchical JPEG"),
        (0xC9, "arithmetic-coded JPEG"),
        (0xCA, "arithmetic-coded JPEG"),
        (0xF7, "JPEG-LS"),
    ],
)
def test_kinds_that_are_not_read_are_named(
    colours: NDArray[np.uint8], marker: int, name: str
) -> None:
    content = _jpeg(colours)
    with pytest.raises(ImageError, match=f"{name}.*save it as PNG"):
        shown(_changed(content, _frame(content) + 1, bytes([marker])))


def test_twelve_bits_and_lossless_streams_are_named(colours: NDArray[np.uint8]) -> None:
    wide = imagecodecs.jpeg_encode(colours.astype(np.uint16) * 16, bitspersample=12)
    with pytest.raises(ImageError, match="JPEG of 12 bits"):
        shown(bytes(wide))
    with pytest.raises(ImageError, match="lossless JPEG"):
        shown(bytes(imagecodecs.jpeg_encode(colours, lossless=True)))


def test_cmyk_is_refused_by_name(colours: NDArray[np.uint8]) -> None:
    file = io.BytesIO()
    Image.fromarray(colours).convert("CMYK").save(file, "JPEG")
    with pytest.raises(ImageError, match="a CMYK JPEG"):
        shown(file.getvalue())


def test_unusual_subsampling_is_refused_by_name(colours: NDArray[np.uint8]) -> None:
    content = _jpeg(colours)
    with pytest.raises(ImageError, match="unusual subsampling"):
        shown(_changed(content, _frame(content) + 11, b"\x42"))


def test_a_file_of_several_pictures_is_refused(colours: NDArray[np.uint8]) -> None:
    file = io.BytesIO()
    picture = Image.fromarray(colours)
    picture.save(file, "MPO", save_all=True, append_images=[picture])
    with pytest.raises(ImageError, match="a file of 2 pictures"):
        shown(file.getvalue())


def test_what_follows_the_end_is_ignored(colours: NDArray[np.uint8]) -> None:
    content = _jpeg(colours)
    np.testing.assert_array_equal(shown(content + bytes(100)), shown(content))


def test_a_mask_is_refused(colours: NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError, match="a lossy JPEG"):
        stored(_jpeg(colours[..., 0]))
