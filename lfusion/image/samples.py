"""Stored samples of pictures: unpacking, palettes, transparency."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError


def unpacked(rows: NDArray[np.uint8], bits: int, count: int) -> NDArray[Any]:
    """Take samples apart that are packed from the highest bit of each byte on.

    Args:
        rows: [rows, bytes].
        bits: Of one sample, 1 to 16.
        count: Samples of a row; bits after them are padding.

    Returns:
        [rows, count] of uint8, or of uint16 for more than 8 bits; the numbers as stored.

    Example:
        >>> unpacked(np.array([[0b00011011]], np.uint8), 2, 3).tolist()
        [[0, 1, 2]]
    """
    single = np.unpackbits(rows, axis=1, count=count * bits)
    samples: NDArray[Any] = np.zeros((len(rows), count), np.uint8 if bits <= 8 else np.uint16)
    for place in range(bits):
        samples = samples << 1 | single[:, place::bits]
    return samples


def scaled_to_bytes(samples: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Scale samples of less than 8 bits to 0 to 255, rounded, as viewers show them.

    Args:
        samples: Of any shape.
        bits: Of one sample, 1 to 8.

    Returns:
        The same shape.

    Example:
        >>> scaled_to_bytes(np.array([0, 1, 2, 3], np.uint8), 2).tolist()
        [0, 85, 170, 255]
    """
    top = 2**bits - 1
    scale = (np.arange(top + 1) * 255 + top // 2) // top
    scaled: NDArray[np.uint8] = scale.astype(np.uint8)[samples]
    return scaled


def looked_up(indices: NDArray[Any], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replace palette numbers by colours, or by grey where all used colours are grey.

    Args:
        indices: [height, width] of unsigned integers.
        palette: [colours, 3] red, green, blue.

    Returns:
        [height, width] or [height, width, 3].

    Raises:
        ImageError: A pixel has a number beyond the palette.

    Example:
        >>> palette = np.array([[255, 255, 255], [9, 9, 9]], np.uint8)
        >>> looked_up(np.array([[0, 1]], np.uint8), palette).tolist()
        [[255, 9]]
    """
    used = np.flatnonzero(np.bincount(indices.ravel()))
    if used[-1] >= len(palette):
        raise ImageError(
            f"a pixel has palette number {used[-1]}, the palette ends at {len(palette) - 1}; "
            "save the picture again as grey"
        )
    grey = (palette[used] == palette[used, :1]).all()
    colours: NDArray[np.uint8] = (palette[:, 0] if grey else palette)[indices]
    return colours


def refuse_transparency(transparent: bool | np.bool_) -> None:
    """Refuse a picture that has transparent pixels.

    Args:
        transparent: Whether it has.

    Raises:
        ImageError: It has.
    """
    if transparent:
        raise ImageError(
            "the picture has transparent pixels, and viewers differ in the colour they show "
            "there; save it without transparency"
        )
