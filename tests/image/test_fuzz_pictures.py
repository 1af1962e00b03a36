"""Changed bytes of pictures: values within the limits or an `ImageError`, and twice the same."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lfusion.image.pictures import parse_picture

if TYPE_CHECKING:
    from tests.support.fuzzing import FUZZ, check_reader, mutated
else:
    from fuzzing import FUZZ, check_reader, mutated


def _saved(values: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    values.save(file, kind, **options)
    return file.getvalue()


def _tiff(values: object, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)  # type: ignore[arg-type]
    return file.getvalue()


@cache
def _seeds() -> dict[str, dict[str, bytes]]:
    noise = np.random.default_rng(0)
    grey = noise.integers(0, 256, (23, 19), dtype=np.uint8)
    wide = noise.integers(0, 4096, (23, 19), dtype=np.uint16)
    colour = noise.integers(0, 256, (23, 19, 3), dtype=np.uint8)
    alpha = np.dstack([colour, np.full((23, 19), 255, np.uint8)])
    turned = Image.Exif()
    turned[274] = 6
    pages = io.BytesIO()
    with tifffile.TiffWriter(pages) as writer:
        writer.write(grey, subfiletype=0)
        writer.write(grey[::2, ::2], subfiletype=1)
    return {
        "png": {
            "grey": _saved(Image.fromarray(grey), "PNG"),
            "bits": _saved(Image.fromarray(grey > 99), "PNG"),
            "wide": _saved(Image.fromarray(wide), "PNG"),
            "colour": _saved(Image.fromarray(colour), "PNG", exif=turned),
            "alpha": _saved(Image.fromarray(alpha), "PNG"),
            "palette": _saved(Image.fromarray(grey).convert("P"), "PNG", transparency=3),
            "wide colour": bytes(imagecodecs.png_encode(colour.astype(np.uint16) * 257)),
        },
        "jpeg": {
            "grey": _saved(Image.fromarray(grey), "JPEG"),
            "colour": _saved(Image.fromarray(colour), "JPEG", exif=turned),
            "progressive": _saved(Image.fromarray(colour), "JPEG", progressive=True),
        },
        "bmp": {
            "grey": _saved(Image.fromarray(grey), "BMP"),
            "bits": _saved(Image.fromarray(grey > 99), "BMP"),
            "colour": _saved(Image.fromarray(colour), "BMP"),
            "alpha": _saved(Image.fromarray(alpha), "BMP"),
        },
        "tiff": {
            "plain": _tiff(grey),
            "big": _tiff(wide, bigtiff=True, byteorder=">"),
            "lzw": _tiff(wide, compression="lzw", predictor=True, rowsperstrip=8),
            "deflate": _tiff(grey, compression="zlib", tile=(16, 16)),
            "zstd": _tiff(
                colour.transpose(2, 0, 1),
                photometric="rgb",
                compression="zstd",
                planarconfig="separate",
            ),
            "lzma": _tiff(grey, compression="lzma"),
            "packbits": _tiff(grey, compression="packbits", photometric="miniswhite"),
            "jpeg": _tiff(colour, compression="jpeg", photometric="ycbcr"),
            "float": _tiff(grey.astype(np.float32) / 255, compression="zlib", predictor=3),
            "palette": _tiff(
                grey, photometric="palette", colormap=np.tile(np.arange(256) * 257, (3, 1))
            ),
            "bits": _tiff(grey > 99, photometric="minisblack"),
            "reduced": pages.getvalue(),
        },
    }


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "tiff"])
def test_the_seeds_are_read(kind: str) -> None:
    for name, content in _seeds()[kind].items():
        parsed = check_reader(parse_picture, content)
        assert parsed is not None, name


@FUZZ
@given(content=st.deferred(lambda: mutated(_seeds()["png"])))
def test_changed_png(content: bytes) -> None:
    check_reader(parse_picture, content)


@FUZZ
@given(content=st.deferred(lambda: mutated(_seeds()["jpeg"])))
def test_changed_jpeg(content: bytes) -> None:
    check_reader(parse_picture, content)


@FUZZ
@given(content=st.deferred(lambda: mutated(_seeds()["bmp"])))
def test_changed_bmp(content: bytes) -> None:
    check_reader(parse_picture, content)


@FUZZ
@given(content=st.deferred(lambda: mutated(_seeds()["tiff"])))
def test_changed_tiff(content: bytes) -> None:
    check_reader(parse_picture, content)
