"""From a map to one number; the aggregation decides what a ranking finds (method.md §7).

The sum of any uncertainty over an image grows with the length of the boundary, so a plain mean
ranks big structures first. All scores are scale-free: an image at another resolution keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from skimage.measure import find_contours

from lfusion.biometry import Ellipse, fit_ellipse
from lfusion.types import FloatMap, LabelMap, Probabilities

MIN_AREA_SHARE = 0.01
"""A predicted foreground below this share of the image counts as this much: smaller is no head,
and a vanishing area must not make its score infinite."""

PATCH_SHARE = 0.06
"""Side of the patch of `patch_max`, of the image's longer side."""


def mean_score(uncertainty: FloatMap, mask: LabelMap) -> float:
    """Return the mean of a map over all pixels, nats per pixel."""
    return float(np.mean(uncertainty, dtype=np.float64))


def per_sqrt_area_score(uncertainty: FloatMap, mask: LabelMap) -> float:
    """Return Σ u / √(N · A) for a map u of N pixels and a foreground of A pixels.

    Uncertainty lies along boundaries, and the length of a boundary grows with √A.

    Args:
        uncertainty: nats.
        mask: predicted labels on the same grid.
    """
    return mean_score(uncertainty, mask) / math.sqrt(_area_share(mask))


def per_area_score(uncertainty: FloatMap, mask: LabelMap) -> float:
    """Return Σ u / A: as an error of the area counts in the Dice coefficient."""
    return mean_score(uncertainty, mask) / _area_share(mask)


def patch_max_score(uncertainty: FloatMap, mask: LabelMap) -> float:
    """Return the highest mean of a map over a small square: the worst place of the image."""
    side = max(round(PATCH_SHARE * max(uncertainty.shape)), 1)
    return float(uniform_filter(uncertainty, side, mode="constant").max())


AGGREGATIONS: Mapping[str, Callable[[FloatMap, LabelMap], float]] = {
    "mean": mean_score,
    "per_sqrt_area": per_sqrt_area_score,
    "per_area": per_area_score,
    "patch_max": patch_max_score,
}
"""Name → (map, predicted labels) → score."""


def soft_dice_loss(probabilities: Probabilities, mask: LabelMap) -> float:
    """Return 1 − the expected overlap of mask and truth, averaged over the foreground classes.

    Per class 1 − 2 Σ p·m / (Σ p + Σ m): the Dice loss against the model's own probabilities. A
    class that is nowhere predicted counts by its probabilities alone, as 1.
    """
    losses = []
    for number in range(1, len(probabilities)):
        values, inside = probabilities[number], mask == number
        if not inside.any():
            losses.append(1.0)
            continue
        overlap = 2.0 * float(values[inside].sum(dtype=np.float64))
        losses.append(1.0 - overlap / (float(values.sum(dtype=np.float64)) + int(inside.sum())))
    return float(np.mean(losses))


def shape_misfit(probabilities: Probabilities) -> float:
    """Return how far the structures are from ellipses, averaged over the foreground classes.

    Per class the soft Dice loss between its probabilities and the ellipse through its longest
    contour. Heads and symphyses are ellipses; of other structures it tells which one is unlike
    the others, and calibration learns what is usual.
    """
    return float(np.mean([_misfit(values) for values in probabilities[1:]]))


def _misfit(values: NDArray[np.float32]) -> float:
    contours = find_contours(np.pad(values, 1), 0.5)  # type: ignore[no-untyped-call]
    if not contours:
        return 1.0
    ellipse = fit_ellipse(max(contours, key=len) - 1.0)
    if ellipse is None:
        return 1.0
    inside = _filled(ellipse, values.shape)
    total = float(values.sum(dtype=np.float64)) + int(inside.sum())
    return 1.0 - 2.0 * float(values[inside].sum(dtype=np.float64)) / total


def _filled(ellipse: Ellipse, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    down: NDArray[Any] = rows - ellipse.row
    right: NDArray[Any] = columns - ellipse.column
    angle = math.radians(ellipse.angle_deg)
    along = (right * math.cos(angle) + down * math.sin(angle)) / ellipse.semi_major
    across = (down * math.cos(angle) - right * math.sin(angle)) / ellipse.semi_minor
    inside: NDArray[np.bool_] = along**2 + across**2 <= 1.0
    return inside


def _area_share(mask: LabelMap) -> float:
    return max(float(np.count_nonzero(mask)) / mask.size, MIN_AREA_SHARE)
