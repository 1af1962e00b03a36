"""Wrong masks made on purpose, to measure how well wrong masks are found.

Each mistake is one that data sets really have: a mask saved with another origin (`shifted`), drawn
inside the line (`shrunk`), stored under the name of another image (`foreign`), or never drawn
(`empty`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfusion.types import LabelMap

MISTAKES = ("shifted", "shrunk", "foreign", "empty")
SEVERITIES = (1, 2, 3, 4, 5)
"""From what two annotators may differ by to gross; of `shifted` and `shrunk` only."""

STEP = 0.04
"""A severity moves a mask by this share of its diameter, or takes it from its diameter."""


def draw_mistake(
    kind: str, severity: int, mask: LabelMap, other: NDArray[np.uint8], rng: np.random.Generator
) -> LabelMap:
    """Return a wrong mask for the image of a right one.

    Args:
        kind: One of `MISTAKES`.
        severity: 1 to 5; without effect on a `foreign` or an `empty` mask.
        mask: The right one, [height, width].
        other: That of another image, of any size.
        rng: Source of the direction of a shift.

    Raises:
        ValueError: Another kind or severity.
    """
    if kind not in MISTAKES:
        raise ValueError(f"expected a mistake of {', '.join(MISTAKES)}; got {kind!r}")
    if severity not in SEVERITIES:
        raise ValueError(f"expected a severity from 1 to 5; got {severity}")
    share = STEP * severity
    if kind == "shifted":
        return shifted(mask, share, float(rng.uniform(0.0, 2 * math.pi)))
    if kind == "shrunk":
        return shrunk(mask, 1 - share)
    if kind == "foreign":
        return fitted(other, mask.shape)
    return np.zeros_like(mask)


def shifted(mask: LabelMap, share: float, angle_rad: float) -> LabelMap:
    """Move a mask; what leaves the image is lost.

    Args:
        mask: [height, width].
        share: Of the diameter of the disc that has the area of its foreground.
        angle_rad: Direction, 0 to the right, growing downwards.

    Example:
        >>> shifted(np.array([[1, 0, 0]], np.uint8), 1.0, 0.0).tolist()
        [[0, 1, 0]]
    """
    distance = share * 2 * math.sqrt(float((mask > 0).sum()) / math.pi)
    move = round(distance * math.sin(angle_rad)), round(distance * math.cos(angle_rad))
    moved: LabelMap = ndimage.shift(mask, move, order=0, mode="constant")
    return moved


def shrunk(mask: LabelMap, scale: float) -> LabelMap:
    """Scale a mask about the centre of its foreground; an empty one stays empty.

    Args:
        mask: [height, width].
        scale: Of its lengths.
    """
    if not mask.any():
        return mask.copy()
    centre = np.argwhere(mask).mean(0)
    smaller: LabelMap = ndimage.affine_transform(
        mask, np.full(2, 1 / scale), centre * (1 - 1 / scale), order=0, mode="constant"
    )
    return smaller


def fitted(mask: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Stretch the mask of another image to the shape (height, width) of this one."""
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1)
        for n, m in zip(shape, mask.shape, strict=True)
    )
    found: NDArray[np.uint8] = mask[np.ix_(rows, columns)]
    return found
