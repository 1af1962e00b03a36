"""The outline of one structure in one segmentation, and the ellipse through it.

The ellipse is fitted to the sub-pixel contour where the probability crosses one half; the length
of a pixel contour itself is several per cent too long, and the outermost pixels are half a pixel
too far inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
"""Probability at which the structure ends and background begins."""
BORDER_PX = 1.5
"""Contour points closer than this to the image edge show the cut, not the structure."""
MIN_AREA_PX = 200
"""Below this (a disc 16 px wide) the pixel grid alone costs about one per cent of a length."""
MIN_OUTLINE = 0.5
"""Least part of the ellipse along which contour points are seen."""
MIN_SOLIDITY = 0.9
"""Least ratio of the region's area to that of its convex hull; an ellipse has 1."""

_SECTORS = 72
_CUT_OFF = "less than half of the {}'s outline is inside the image"
_NOT_ELLIPTIC = "the outline is not an ellipse: {}"


@dataclass(frozen=True, eq=False)
class _Region:
    """The largest region of a structure.

    Attributes:
        filled: the region without holes, in a box around all that lies above the level: what
            follows costs by area.
        probability: in that box.
        corner: of the box in the image, (row, column).
        image: shape of the image.
    """

    filled: BoolMap
    probability: NDArray[np.float64]
    corner: tuple[int, int]
    image: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Outline:
    """A contour and the ellipse through it, in one unit.

    Attributes:
        contour: [points, 2], (row, column).
        ellipse: fitted to them.
    """

    contour: Points
    ellipse: Ellipse

    def scaled(self, pixel_size: PixelSize) -> Outline:
        """Return an outline in pixels in the unit of the pixel size.

        It is fitted again, because pixels that are not square turn and stretch the axes.
        """
        contour = self.contour * np.asarray(pixel_size)
        ellipse = fit_ellipse(contour)
        assert ellipse is not None, "an ellipse in pixels is an ellipse in mm"
        return Outline(contour, ellipse)


def checked_pixel_size(pixel_size_mm: PixelSize | None) -> PixelSize | None:
    """Return the pixel size as it is.

    Raises:
        ValueError: one of the two is not positive.
    """
    if pixel_size_mm is not None and not all(0 < size < math.inf for size in pixel_size_mm):
        raise ValueError(f"expected a pixel size of two positive mm, got {pixel_size_mm}")
    return pixel_size_mm


def trace_outline(foreground: NDArray[Any], structure: str, max_residual: float) -> Outline | str:
    """Trace the largest region of a structure.

    Args:
        foreground: [height, width] in native pixels: the probability of the structure, a bool
            mask, or an integer mask with one class.
        structure: what it is, for the refusal: "head".
        max_residual: largest root mean square distance of the contour from the ellipse, in radii.

    Returns:
        The outline in pixels, or why there is none, in words for the sonographer.

    Raises:
        NonFiniteError: the probabilities hold NaN or infinity.
        ValueError: the array is no such map.
    """
    region = _largest_region(_as_probability(foreground, structure))
    if region is None:
        return f"no {structure} found in the image"
    area = int(region.filled.sum())
    if area < MIN_AREA_PX:
        return f"the {structure} region is too small: {area} px, at least {MIN_AREA_PX} are needed"
    contour = _outer_contour(region)
    ellipse = fit_ellipse(contour)
    if ellipse is None:
        cut_off = _CUT_OFF.format(structure)
        return _NOT_ELLIPTIC.format("no ellipse fits it") if contour.size else cut_off
    refusal = _shape_refusal(contour, region.filled, ellipse, max_residual)
    return refusal.format(structure) if refusal else Outline(contour, ellipse)


def _as_probability(foreground: NDArray[Any], structure: str) -> NDArray[np.floating[Any]]:
    """The map as floats in [0, 1], whichever of the accepted kinds it is."""
    if foreground.ndim != 2:
        raise ValueError(f"expected one map [height, width], got shape {foreground.shape}")
    if foreground.dtype.kind in "bui":
        classes = np.unique(foreground[foreground != 0])
        if classes.size > 1:
            raise ValueError(
                f"expected a mask of one class, got classes {classes.tolist()}: "
                f"pass `mask == number of the {structure}`"
            )
        return np.asarray(foreground != 0, dtype=np.float64)
    low, high = (foreground.min(), foreground.max()) if foreground.size else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise NonFiniteError(f"expected finite {structure} probabilities, got NaN or infinity")
    if low < -1e-6 or high > 1 + 1e-6:
        raise ValueError(
            f"expected {structure} probabilities in [0, 1], got values from "
            f"{low:g} to {high:g}: pass probabilities, not logits"
        )
    return foreground


def _largest_region(probability: NDArray[np.floating[Any]]) -> _Region | None:
    """The largest connected region with its holes filled; None if there is none."""
    above = probability > CONTOUR_LEVEL
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if rows.size == 0:
        return None
    corner = (max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0))
    box = np.s_[corner[0] : int(rows[-1]) + 2, corner[1] : int(columns[-1]) + 2]
    regions = label(above[box], connectivity=2)  # type: ignore[no-untyped-call]
    largest = int(np.bincount(regions.ravel())[1:].argmax()) + 1
    filled: BoolMap = binary_fill_holes(regions == largest)
    inside: NDArray[np.float64] = probability[box].astype(np.float64)
    return _Region(filled, inside, corner, probability.shape)


def _outer_contour(region: _Region) -> Points:
    """Sub-pixel outer contour of the region, without the part that the image edge cuts."""
    if min(region.image) < 2:
        return np.empty((0, 2))
    # Holes are filled and other regions emptied, so that only the outer border crosses
    # the level; 8-connected regions share no interpolated edge, so it does not move.
    just_inside = CONTOUR_LEVEL + 1e-6
    filled = np.where(
        region.filled, np.maximum(region.probability, just_inside), region.probability
    )
    lone = np.where(~region.filled & (region.probability > CONTOUR_LEVEL), 0.0, filled)
    pieces: list[Points] = find_contours(lone, CONTOUR_LEVEL)  # type: ignore[no-untyped-call]
    points: Points = np.concatenate([*pieces, np.empty((0, 2))]) + region.corner
    last = np.array(region.image) - 1
    visible = ((points >= BORDER_PX) & (points <= last - BORDER_PX)).all(axis=1)
    return np.asarray(points[visible])


def _shape_refusal(
    contour: Points, region: BoolMap, ellipse: Ellipse, max_residual: float
) -> str | None:
    """Why the contour is no outline of an ellipse; None if it is one."""
    angle, radius = ellipse.polar(contour)
    seen = np.unique((angle / (2 * np.pi) * _SECTORS).astype(int)).size / _SECTORS
    if seen < MIN_OUTLINE:
        return _CUT_OFF
    residual = float(np.sqrt(np.mean((radius - 1) ** 2)))
    if residual > max_residual:
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
