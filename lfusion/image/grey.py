"""Arrays of any integer, float or colour kind to grey values in [0, 1], or to class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.types import GreyImage, LabelMap

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_ROUNDING = 1e-6


def to_grey(
    array: NDArray[Any], *, stretch: bool = False, full_scale: float | None = None
) -> GreyImage:
    """Bring pixel values to [0, 1] and colour to luminance.

    uint8 and uint16 are divided by the greatest value of their type, so equal brightness in
    two files stays equal. Values of another type that are already in [0, 1] stay as they are.

    Args:
        array: [height, width], or [height, width, 3 or 4] for RGB(A); alpha is ignored.
        stretch: What to do with values of another type outside [0, 1]: map their minimum to 0
            and their maximum to 1 (True), or refuse them (False).
        full_scale: The value that means 1, where a file says so (12 bits stored in 16).

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
    if full_scale is None and array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        full_scale = float(np.iinfo(array.dtype).max)
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
