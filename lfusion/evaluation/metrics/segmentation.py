"""Overlap of two masks and distance of their boundaries.

Every function says what it returns when one or both masks are empty: a missing
structure must cost something finite, and agreeing that nothing is there is right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from lfusion.types import BoolMap

Mask: TypeAlias = NDArray[np.bool_]
"""[height, width]; of any size, as the metrics themselves refuse masks of two sizes."""

IN_PIXELS = (1.0, 1.0)
"""The pixel size that makes every distance one in pixels."""


def dice(predicted: Mask, reference: Mask) -> float:
    """Return the overlap 2 |P ∩ R| / (|P| + |R|), in [0, 1].

    Both empty: 1. One empty: 0.

    Args:
        predicted: mask P.
        reference: mask R of the same shape.

    Raises:
        ValueError: the shapes differ.

    Source:
        L. R. Dice, Ecology 26 (1945) 297. doi:10.2307/1932409

    Example:
        >>> dice(np.array([[True, True, False]]), np.array([[True, False, False]]))
        0.6666666666666666
    """
    _require_same_shape(predicted, reference)
    size = int(predicted.sum()) + int(reference.sum())
    return 1.0 if size == 0 else 2 * int((predicted & reference).sum()) / size


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far the boundary pixels of two masks lie from the other mask's boundary.

    A boundary pixel belongs to the mask and touches its outside, or the image edge, by a side.

    Attributes:
        to_reference: of the boundary pixels of the predicted mask.
        to_predicted: of those of the reference.
    """

    to_reference: NDArray[np.float64]
    to_predicted: NDArray[np.float64]

    @classmethod
    def of(
        cls, predicted: Mask, reference: Mask, pixel_size: tuple[float, float] = IN_PIXELS
    ) -> SurfaceDistances:
        """Measure two masks; beside an empty one, a boundary is as far as the image is long.

        Args:
            predicted: mask.
            reference: mask of the same shape.
            pixel_size: (row, column); the distances are in its unit, by default pixels.

        Raises:
            ValueError: the shapes differ.
        """
        _require_same_shape(predicted, reference)
        if not predicted.any() or not reference.any():
            diagonal = math.hypot(
                *(n * s for n, s in zip(predicted.shape, pixel_size, strict=True))
            )
            first, second = (
                np.full(int(m.any()), diagonal, np.float64) for m in (predicted, reference)
            )
            return cls(first, second)
        # The nearest boundary lies within the smallest box around both masks.
        box = _bounding_box(predicted | reference)
        first, second = (mask[box] & ~binary_erosion(mask[box]) for mask in (predicted, reference))
        # Not by scipy's KDTree: it crashes while the CPU flushes denormal numbers, as in training.
        return cls(
            distance_transform_edt(~second, sampling=pixel_size)[first],
            distance_transform_edt(~first, sampling=pixel_size)[second],
        )

    def hausdorff95(self) -> float:
        """Return the larger of the two directed 95th percentiles; see `hausdorff95`."""
        sides = (self.to_reference, self.to_predicted)
        return max((float(np.percentile(side, 95)) for side in sides if side.size), default=0.0)

    def surface_dice(self, tolerance: float) -> float:
        """Return the share of both boundaries within a tolerance; see `normalised_surface_dice`.

        Raises:
            ValueError: the tolerance is negative.
        """
        if not tolerance >= 0:
            raise ValueError(f"expected a tolerance of at least 0, got {tolerance}")
        if not self.to_reference.size or not self.to_predicted.size:
            return float(self.to_reference.size == self.to_predicted.size)
        both = np.concatenate([self.to_reference, self.to_predicted])
        return float(np.mean(both <= tolerance))


def hausdorff95(
    predicted: Mask, reference: Mask, pixel_size: tuple[float, float] = IN_PIXELS
) -> float:
    """Return the 95th percentile Hausdorff distance of two boundaries.

    The larger of the two directed 95th percentiles (linear interpolation) of the distances
    from each boundary pixel of one mask to the nearest boundary pixel of the other.

    Both empty: 0. One empty: the diagonal of the image, the largest distance there is.

    Args:
        predicted: mask.
        reference: mask of the same shape.
        pixel_size: (row, column) in mm; by default the distance is in pixels.

    Raises:
        ValueError: the shapes differ.

    Source:
        D. P. Huttenlocher et al., IEEE TPAMI 15 (1993) 850. doi:10.1109/34.232073; conventions
        of `monai.metrics.compute_hausdorff_distance(percentile=95)`.
    """
    return SurfaceDistances.of(predicted, reference, pixel_size).hausdorff95()


def normalised_surface_dice(
    predicted: Mask,
    reference: Mask,
    tolerance: float = 2.0,
    pixel_size: tuple[float, float] = IN_PIXELS,
) -> float:
    """Return the share of both boundaries that lies within a tolerance of the other one.

    (|{p : d(p, ∂R) ≤ t}| + |{r : d(r, ∂P) ≤ t}|) / (|∂P| + |∂R|), counted in boundary pixels.

    Both empty: 1. One empty: 0.

    Args:
        predicted: mask P.
        reference: mask R of the same shape.
        tolerance: t in the unit of the pixel size; the default, in pixels, is about the width
            of an annotator's line in HC18.
        pixel_size: (row, column) in mm; by default the tolerance is in pixels.

    Raises:
        ValueError: the shapes differ or the tolerance is negative.

    Source:
        S. Nikolov et al., J. Med. Internet Res. 23 (2021) e26151. doi:10.2196/26151;
        conventions of `monai.metrics.compute_surface_dice`.
    """
    return SurfaceDistances.of(predicted, reference, pixel_size).surface_dice(tolerance)


def _bounding_box(mask: BoolMap) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _require_same_shape(predicted: Mask, reference: Mask) -> None:
    if predicted.shape != reference.shape:
        raise ValueError(f"expected masks of one shape, got {predicted.shape}, {reference.shape}")
