"""Arrays of any integer, float or colour kind to grey values in [0, 1], or to class numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.types import GreyImage, LabelMap

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_ROUNDING = 1e-6
_DEPTHS = (8, 10, 12, 14, 16)


def full_scale_of(
    frames: Iterable[NDArray[Any]], significant_bits: int | None = None
) -> float | None:
    """Find the value that means white, from the data and not from their container.

    Devices store 10, 12 or 14 bits in files of 16. Numbers in [0, 255] of 8-bit images stay as
    comparable as they are: their white is 255 whatever occurs. Wider whole numbers have the white
    2^b − 1, where b is the smallest of 8, 10, 12, 14 and 16 whose range holds the greatest of
    them. All frames of a file share one scale.

    Args:
        frames: All images of one file, each of any shape; read one by one.
        significant_bits: Bits that the file says are used: an upper bound of b. Ignored where
            the data exceed them.

    Returns:
        The value, or None where the numbers give none: floats in [0, 1], fractions, negative
        numbers, NaN, or more than 16 bits.

    Example:
        >>> full_scale_of([np.array([0, 1000], dtype=np.uint16)])
        1023.0
        >>> full_scale_of([np.array([0, 7], dtype=np.uint8)])
        255.0
    """
    peak = 0.0
    unsigned = True
    for frame in frames:
        kind = frame.dtype.kind
        unsigned = unsigned and kind == "u"
        if frame.dtype == np.uint8:
            peak = max(peak, 255.0)
            continue
        if kind not in "iuf" or (kind == "f" and not np.array_equal(frame, np.rint(frame))):
            return None
        if kind != "u" and frame.min() < 0:
            return None
        peak = max(peak, float(frame.max()))
    if not unsigned and peak <= 1:
        return None
    for bits in _DEPTHS:
        if peak <= 2**bits - 1:
            named = significant_bits or bits
            holds = named >= _DEPTHS[0] and peak <= 2**named - 1
            return float(2 ** (min(bits, named) if holds else bits) - 1)
    return None


def to_grey(
    array: NDArray[Any], *, stretch: bool = False, full_scale: float | None = None
) -> GreyImage:
    """Bring pixel values to [0, 1] and colour to luminance.

    Whole numbers are divided by the white of `full_scale_of`, so that equal brightness in two
    8-bit files stays equal. Floats in [0, 1] stay as they are.

    Args:
        array: [height, width], or [height, width, 3 or 4] for RGB(A); alpha is ignored.
        stretch: How to treat values that have no full scale and lie outside [0, 1]: map their
            minimum to 0 and their maximum to 1 (True), or refuse them (False).
        full_scale: The value that means 1; by default that of this array. A file of several
            frames gives that of all of them.

    Returns:
        [height, width] in [0, 1].

    Raises:
        ImageError: For other shapes, an empty array, NaN or infinity, values outside [0, 1].

    Source: luminance weights of ITU-R BT.601, as in PNG and JPEG tools.

    Example:
        >>> to_grey(np.array([[0, 51, 255]], dtype=np.uint8)).tolist()
        [[0.0, 0.20000000298023224, 1.0]]
    """
    if array.size == 0 or not _is_plane(array):
        raise ImageError(
            "expected one image [height, width] or [height, width, 3 or 4], "
            f"got an array of shape {list(array.shape)}"
        )
    if array.ndim == 3:
        array = array[..., :3]
    scaled = _to_unit(array, stretch=stretch, full_scale=full_scale)
    grey = scaled @ _LUMINANCE if scaled.ndim == 3 else scaled
    clipped: GreyImage = np.clip(grey, 0.0, 1.0, dtype=np.float32)
    return clipped


def to_labels(array: NDArray[Any]) -> LabelMap:
    """Class numbers, exactly as they are.

    Args:
        array: [height, width] of booleans, integers, or floats without a fraction.

    Returns:
        [height, width], uint8.

    Raises:
        ImageError: For colour, fractions, or numbers outside 0 to 255.

    Example:
        >>> to_labels(np.array([[0.0, 2.0]])).tolist()
        [[0, 2]]
    """
    if array.ndim != 2 or array.size == 0:
        raise ImageError(
            "expected a mask of class numbers [height, width], "
            f"got an array of shape {list(array.shape)}"
        )
    if array.dtype.kind not in "biuf":
        raise ImageError(f"expected a mask of class numbers, got values of type {array.dtype}")
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        raise ImageError("expected a mask of whole class numbers, got fractions or NaN")
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        raise ImageError(f"expected class numbers from 0 to 255, got {low} to {high}")
    return array.astype(np.uint8)


def _is_plane(array: NDArray[Any]) -> bool:
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))


def _to_unit(
    array: NDArray[Any], *, stretch: bool, full_scale: float | None
) -> NDArray[np.float32]:
    if array.dtype.kind not in "biuf":
        raise ImageError(f"expected integer or float pixels, got values of type {array.dtype}")
    if full_scale is None:
        full_scale = full_scale_of((array,))
    if full_scale is not None:
        return array.astype(np.float32) / np.float32(full_scale)
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high, high - low]).all():
        raise ImageError("the image holds NaN or infinity; replace these pixels by finite values")
    if low >= -_ROUNDING and high <= 1 + _ROUNDING:
        return array.astype(np.float32)
    if not stretch:
        raise ImageError(
            f"expected {array.dtype} pixels in [0, 1], got {low:g} to {high:g}; "
            "divide by the greatest possible value, or store as uint8 or uint16"
        )
    span = high - low
    return ((array - low) / span if span > 0 else np.zeros(array.shape)).astype(np.float32)
