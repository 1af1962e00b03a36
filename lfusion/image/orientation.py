"""Orientation of a picture: the tag of EXIF and TIFF, and turning pixels upright."""

from __future__ import annotations

import struct
from typing import Any

from numpy.typing import NDArray

UPRIGHT = 1
_TAG = 274
_SHORT = 3
_ENTRY = 12


def orientation_or_upright(value: int) -> int:
    """Return a valid orientation, 1 to 8; any other number counts as absent."""
    return value if 1 <= value <= 8 else UPRIGHT


def exif_orientation(content: bytes) -> int:
    r"""Find the orientation in EXIF data.

    Viewers ignore EXIF data that they cannot follow, so such data give the upright orientation.

    Args:
        content: From the byte order mark on, without the prefix `Exif`.

    Returns:
        1 to 8, as the TIFF specification numbers them.

    Example:
        >>> exif_orientation(b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0")
        6
        >>> exif_orientation(b"")
        1
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None or len(content) < 8:
        return UPRIGHT
    (start,) = struct.unpack_from(order + "I", content, 4)
    if start + 2 > len(content):
        return UPRIGHT
    (count,) = struct.unpack_from(order + "H", content, start)
    end = min(start + 2 + count * _ENTRY, len(content) - _ENTRY + 1)
    for offset in range(start + 2, end, _ENTRY):
        tag, kind, values, value = struct.unpack_from(order + "HHIH", content, offset)
        if (tag, kind, values) == (_TAG, _SHORT, 1):
            return orientation_or_upright(value)
    return UPRIGHT


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return (height, width) of the upright picture."""
    return (width, height) if orientation >= 5 else (height, width)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a picture as every viewer shows it.

    Args:
        pixels: [height, width] or [height, width, channels], as stored.
        orientation: 1 to 8: the place of the first row and column, as the TIFF specification
            numbers them.

    Returns:
        The same values, rows and columns exchanged for 5 to 8.

    Example:
        >>> import numpy as np
        >>> upright(np.array([[1, 2], [3, 4]]), 6).tolist()
        [[3, 1], [4, 2]]
    """
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    return pixels.swapaxes(0, 1) if orientation >= 5 else pixels
