"""The fetal head from one segmentation: circumference, BPD and OFD.

The head is measured as sonographers do it: one ellipse along the outer border
of the skull. It is fitted to the sub-pixel contour where the head probability
crosses one half; the length of a pixel contour itself is several per cent too
long, and the outermost pixels are half a pixel too far inside.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from scipy.spatial import ConvexHull
from skimage.measure import find_contours, label

from lfusion.biometry.ellipse import Ellipse, Points, fit_ellipse
from lfusion.errors import NonFiniteError
from lfusion.types import BoolMap, PixelSize

CONTOUR_LEVEL = 0.5
"""Probability at which the head ends and background begins."""
BORDER_PX = 1.5
"""Contour points closer than this to the image edge show the cut, not the skull."""
MIN_AREA_PX = 200
"""Below this (a disc 16 px wide) the pixel grid alone costs about one per cent of HC."""
MIN_OUTLINE = 0.5
"""Least part of the ellipse along which contour points are seen."""
MAX_RESIDUAL = 0.05
"""Largest root mean square distance of the contour from the ellipse, in radii."""
MIN_SOLIDITY = 0.9
"""Least ratio of the region's area to that of its convex hull; an ellipse has 1."""

_SECTORS = 72
_CUT_OFF = "less than half of the head's outline is inside the image"
_NOT_ELLIPTIC = "the outline is not an ellipse: {}"


@dataclass(frozen=True)
class HeadBiometry:
    """What could be measured of one head, and why not when it could not.

    Attributes:
        hc_mm: Head circumference along the outer border of the skull.
        bpd_mm: Biparietal diameter, outer to outer: the ellipse's short axis.
        ofd_mm: Occipitofrontal diameter, outer to outer: the long axis.
        hc_px: Circumference in pixels; known without a pixel size, too.
        ellipse: The fitted ellipse in native pixels, to draw it.
        refusal: Why there is no `hc_mm`, in words for the sonographer; None
            when everything was measured.
    """

    hc_mm: float | None = None
    bpd_mm: float | None = None
    ofd_mm: float | None = None
    hc_px: float | None = None
    ellipse: Ellipse | None = None
    refusal: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The measurement in plain JSON types; the ellipse is a nested object."""
        return asdict(self)


def measure_head(foreground: NDArray[Any], pixel_size_mm: PixelSize | None = None) -> HeadBiometry:
    """Measure the largest head region of one image.

    Args:
        foreground: [height, width] in native pixels: the probability of head
            (its contour is found between the pixels), a bool mask, or an
            integer mask with one class (non-zero is head).
        pixel_size_mm: (row, column) size of a pixel; the two may differ.

    Returns:
        The measurement. A head that cannot be measured is a value with a
        `refusal`, never an exception.

    Raises:
        NonFiniteError: If the probabilities hold NaN or infinity.
        ValueError: If the array is no such map or the pixel size is not positive.

    Example:
        >>> rows, columns = np.mgrid[:100, :120]
        >>> disc = np.hypot(rows - 50, columns - 60) <= 40
        >>> round(measure_head(disc, (0.5, 0.5)).bpd_mm)  # 80 px of 0.5 mm
        40
    """
    if pixel_size_mm is not None and not all(0 < size < math.inf for size in pixel_size_mm):
        raise ValueError(f"expected a pixel size of two positive mm, got {pixel_size_mm}")
    probability = _as_probability(foreground)
    region = _largest_region(probability)
    if region is None:
        return HeadBiometry(refusal="no head found in the image")
    area = int(region.sum())
    if area < MIN_AREA_PX:
        return HeadBiometry(
            refusal=f"the head region is too small: {area} px, at least {MIN_AREA_PX} are needed"
        )
    contour = _skull_contour(probability, region)
    ellipse = fit_ellipse(contour)
    refusal = _shape_refusal(contour, region, ellipse)
    if ellipse is None or refusal is not None:
        return HeadBiometry(refusal=refusal)
    return _measurement(ellipse, contour, pixel_size_mm)


def _as_probability(foreground: NDArray[Any]) -> NDArray[np.float64]:
    """The map as float64 in [0, 1], whichever of the accepted kinds it is."""
    if foreground.ndim != 2:
        raise ValueError(f"expected one map [height, width], got shape {foreground.shape}")
    if foreground.dtype.kind in "bui":
        classes = np.unique(foreground[foreground != 0])
        if classes.size > 1:
            raise ValueError(
                f"expected a mask of one class, got classes {classes.tolist()}: "
                "pass `mask == number of the head`"
            )
        return np.asarray(foreground != 0, dtype=np.float64)
    probability: NDArray[np.float64] = foreground.astype(np.float64)
    if not np.isfinite(probability).all():
        raise NonFiniteError("expected finite head probabilities, got NaN or infinity")
    if ((probability < -1e-6) | (probability > 1 + 1e-6)).any():
        raise ValueError(
            "expected head probabilities in [0, 1], got values from "
            f"{probability.min():g} to {probability.max():g}: pass probabilities, not logits"
        )
    return probability


def _largest_region(probability: NDArray[np.float64]) -> BoolMap | None:
    """The largest connected head region with its holes filled; None if there is none."""
    regions = label(  # type: ignore[no-untyped-call]
        probability > CONTOUR_LEVEL, connectivity=2
    )
    sizes = np.bincount(regions.ravel())[1:]
    if sizes.size == 0:
        return None
    filled: BoolMap = binary_fill_holes(regions == int(sizes.argmax()) + 1)
    return filled


def _skull_contour(probability: NDArray[np.float64], region: BoolMap) -> Points:
    """Sub-pixel outer contour of the region, without the part that the image edge cuts."""
    if min(probability.shape) < 2:
        return np.empty((0, 2))
    # Holes are filled and other regions emptied, so that only the outer border crosses
    # the level; 8-connected regions share no interpolated edge, so it does not move.
    just_head = CONTOUR_LEVEL + 1e-6
    filled = np.where(region, np.maximum(probability, just_head), probability)
    lone = np.where(~region & (probability > CONTOUR_LEVEL), 0.0, filled)
    pieces: list[Points] = find_contours(lone, CONTOUR_LEVEL)  # type: ignore[no-untyped-call]
    points: Points = np.concatenate([*pieces, np.empty((0, 2))])
    last = np.array(probability.shape) - 1
    visible = ((points >= BORDER_PX) & (points <= last - BORDER_PX)).all(axis=1)
    return np.asarray(points[visible])


def _shape_refusal(contour: Points, region: BoolMap, ellipse: Ellipse | None) -> str | None:
    """Why the contour is no skull outline; None if it is one."""
    if ellipse is None:
        return _NOT_ELLIPTIC.format("no ellipse fits it") if contour.size else _CUT_OFF
    angle, radius = ellipse.polar(contour)
    seen = np.unique((angle / (2 * np.pi) * _SECTORS).astype(int)).size / _SECTORS
    if seen < MIN_OUTLINE:
        return _CUT_OFF
    residual = float(np.sqrt(np.mean((radius - 1) ** 2)))
    if residual > MAX_RESIDUAL:
        return _NOT_ELLIPTIC.format(f"it is {residual:.0%} off the best ellipse")
    solidity = _solidity(region)
    if solidity < MIN_SOLIDITY:
        return _NOT_ELLIPTIC.format(f"notches take {1 - solidity:.0%} of its hull")
    return None


def _solidity(region: BoolMap) -> float:
    """Area of a region over that of its convex hull, pixels taken as unit squares."""
    rows = np.flatnonzero(region.any(axis=1))
    first = region[rows].argmax(axis=1)
    last = region.shape[1] - 1 - region[rows, ::-1].argmax(axis=1)
    corners = [(rows + dr, side) for side in (first - 0.5, last + 0.5) for dr in (-0.5, 0.5)]
    hull = ConvexHull(np.concatenate([np.stack(c, axis=1) for c in corners]))
    return float(region.sum() / hull.volume)  # the volume of a polygon is its area


def _measurement(
    ellipse: Ellipse, contour: Points, pixel_size_mm: PixelSize | None
) -> HeadBiometry:
    """The accepted ellipse in pixels and, with a pixel size, in mm."""
    hc_px = ellipse.circumference
    if pixel_size_mm is None:
        refusal = "no pixel size: the head is measured in pixels only"
        return HeadBiometry(hc_px=hc_px, ellipse=ellipse, refusal=refusal)
    # Fitted again in mm, because pixels that are not square turn and stretch the axes.
    in_mm = fit_ellipse(contour * np.asarray(pixel_size_mm))
    assert in_mm is not None, "an ellipse in pixels is an ellipse in mm"
    return HeadBiometry(
        hc_mm=in_mm.circumference,
        bpd_mm=2 * in_mm.semi_minor,
        ofd_mm=2 * in_mm.semi_major,
        hc_px=hc_px,
        ellipse=ellipse,
    )
