"""Small pictures of images, for lists."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lfusion.image import read_image

_REMEMBERED = 1000
"""Thumbnails, of some 10 kB each."""


class FileStamp(NamedTuple):
    """Signs that a file is another one, or was changed.

    Attributes:
        inode: Number of the file on its disk.
        size: Bytes.
        mtime_ns: Time of the last change.
    """

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: Path) -> FileStamp:
        """Read the signs of a file.

        Raises:
            OSError: It is gone.
        """
        status = file.stat()
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(_REMEMBERED)
def thumbnail_png(image: Path, stamp: FileStamp, size: int) -> bytes:
    """Draw a grey PNG of an image.

    Args:
        image: The file.
        stamp: Of the file; another one is another picture.
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
