"""Small pictures of images, for lists."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from lfusion.image import read_image

_REMEMBERED = 1000
"""Thumbnails, of some 10 kB each."""


@lru_cache(_REMEMBERED)
def thumbnail_png(image: Path, mtime_ns: int, size: int) -> bytes:
    """A grey PNG of an image.

    Args:
        image: The file.
        mtime_ns: Of the file; another one is another picture.
        size: Pixels of the longer side.

    Returns:
        The content of the PNG file.

    Raises:
        ImageError: The file cannot be read.
    """
    pixels = np.round(255 * read_image(image).pixels).astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture.thumbnail((size, size))
    content = BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
