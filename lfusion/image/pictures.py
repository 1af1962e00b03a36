"""Picture files: one way in for PNG, JPEG, BMP and TIFF, and writing PNG and TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import ImageError
from lfusion.image import bmp, jpeg, png, tiff
from lfusion.image.parsed import ParsedImage

_READERS = (
    (png.SIGNATURE, png.parse_png),
    (jpeg.START, jpeg.parse_jpeg),
    (bmp.SIGNATURE, bmp.parse_bmp),
    *((mark, tiff.parse_tiff) for mark in tiff.SIGNATURES),
)


def parse_picture(file: BinaryIO) -> ParsedImage:
    """Parse a PNG, JPEG, BMP or TIFF file, told by its first bytes.

    Args:
        file: The file, at any place; stays open for the pixels.

    Returns:
        The picture.

    Raises:
        ImageError: The file is something else, cut off, or has an option that is not read.
        TooLargeError: The picture exceeds the limits.
    """
    file.seek(0)
    start = file.read(8)
    for signature, parse in _READERS:
        if start.startswith(signature):
            return parse(file)
    raise ImageError(
        "the content is no PNG, JPEG, BMP or TIFF image, or is cut off; "
        "open and save it in an image viewer"
    )


def write_picture(path: Path, values: NDArray[Any]) -> None:
    """Write uint8 or float32 values as a lossless PNG or TIFF, by suffix.

    Args:
        path: The file.
        values: [height, width].
    """
    picture = Image.fromarray(values)
    if path.suffix.lower() == ".png":
        picture.save(path, format="PNG")
    else:
        picture.save(path, format="TIFF", compression="tiff_adobe_deflate")
