"""Figures of merit as pure functions of two masks, or of probabilities and a mask.

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

from lfusion.types import BoolMap, Probabilities

CALIBRATION_BINS = 15

Mask: TypeAlias = NDArray[np.bool_]
"""[height, width]; of any size, as the metrics themselves refuse masks of two sizes."""
Labels: TypeAlias = NDArray[np.uint8]
"""[height, width], class number a pixel; of any size, as the metrics refuse a misfit."""


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


def hausdorff95_px(predicted: Mask, reference: Mask) -> float:
    """Return the 95th percentile Hausdorff distance of two boundaries, in pixels.

    The larger of the two directed 95th percentiles (linear interpolation) of the distances
    from each boundary pixel of one mask to the nearest boundary pixel of the other. A
    boundary pixel belongs to the mask and touches its outside, or the image edge, by a side.

    Both empty: 0. One empty: the diagonal of the image, the largest distance there is.

    Args:
        predicted: mask.
        reference: mask of the same shape.

    Raises:
        ValueError: the shapes differ.

    Source:
        D. P. Huttenlocher et al., IEEE TPAMI 15 (1993) 850. doi:10.1109/34.232073; conventions
        of `monai.metrics.compute_hausdorff_distance(percentile=95)`.
    """
    _require_same_shape(predicted, reference)
    if not predicted.any() or not reference.any():
        return 0.0 if predicted.any() == reference.any() else math.hypot(*reference.shape)
    return max(float(np.percentile(d, 95)) for d in _boundary_distances(predicted, reference))


def normalised_surface_dice(predicted: Mask, reference: Mask, tolerance_px: float = 2.0) -> float:
    """Return the share of both boundaries that lies within a tolerance of the other one.

    (|{p : d(p, ∂R) ≤ t}| + |{r : d(r, ∂P) ≤ t}|) / (|∂P| + |∂R|), counted in boundary pixels
    as defined at `hausdorff95_px`.

    Both empty: 1. One empty: 0.

    Args:
        predicted: mask P.
        reference: mask R of the same shape.
        tolerance_px: t; the default is about the width of an annotator's line in HC18.

    Raises:
        ValueError: the shapes differ or the tolerance is negative.

    Source:
        S. Nikolov et al., J. Med. Internet Res. 23 (2021) e26151. doi:10.2196/26151;
        conventions of `monai.metrics.compute_surface_dice`.
    """
    _require_same_shape(predicted, reference)
    if not tolerance_px >= 0:
        raise ValueError(f"expected a tolerance of at least 0 px, got {tolerance_px}")
    if not predicted.any() or not reference.any():
        return float(predicted.any() == reference.any())
    distances = np.concatenate(_boundary_distances(predicted, reference))
    return float(np.mean(distances <= tolerance_px))


def negative_log_likelihood(probabilities: Probabilities, reference: Labels) -> float:
    """Return the mean over pixels of -log p(reference class), nats; 0 is perfect.

    A probability of 0 counts as the smallest positive float32, so that the result is finite.

    Args:
        probabilities: [classes, H, W].
        reference: class numbers.

    Raises:
        ValueError: the shapes differ or the reference holds a class without probability.

    Source:
        I. J. Good, J. R. Stat. Soc. B 14 (1952) 107. doi:10.1111/j.2517-6161.1952.tb00104.x
    """
    p = _probability_of(probabilities, reference)
    return float(np.mean(-np.log(np.maximum(p, np.finfo(np.float32).tiny))))


def brier_score(probabilities: Probabilities, reference: Labels) -> float:
    """Return the mean over pixels of Σ_c (p_c - [reference = c])², in [0, 2]; 0 is perfect.

    Args:
        probabilities: [classes, H, W].
        reference: class numbers.

    Raises:
        ValueError: the shapes differ or the reference holds a class without probability.

    Source:
        G. W. Brier, Mon. Weather Rev. 78 (1950) 1.
        doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """
    p = _probability_of(probabilities, reference)
    return float(np.mean((probabilities.astype(np.float64) ** 2).sum(axis=0) - 2 * p + 1))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Pixels counted by the confidence of their predicted class; sums over images with `+`.

    Bin k of K holds confidences in (k/K, (k+1)/K]; each array has shape [K].

    Attributes:
        pixels: how many.
        confidence: sum of their confidences.
        correct: how many of them were predicted rightly.
    """

    pixels: NDArray[np.float64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.float64]

    @classmethod
    def of(
        cls, probabilities: Probabilities, reference: Labels, bins: int = CALIBRATION_BINS
    ) -> Reliability:
        """Count the pixels of one image.

        Args:
            probabilities: [classes, H, W].
            reference: class numbers.
            bins: K, of equal width.

        Raises:
            ValueError: the shapes differ or the reference holds a class without probability.
        """
        _require_comparable(probabilities, reference)
        right = (probabilities.argmax(axis=0) == reference).ravel()
        confidence = probabilities.max(axis=0).ravel().astype(np.float64)
        index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
        weights = (np.ones_like(confidence), confidence, right)
        return cls(*(np.bincount(index, w, bins).astype(np.float64) for w in weights))

    def __add__(self, other: Reliability) -> Reliability:
        """Pool the pixels of both."""
        return Reliability(
            self.pixels + other.pixels,
            self.confidence + other.confidence,
            self.correct + other.correct,
        )


def expected_calibration_error(reliability: Reliability) -> float:
    """Return Σ_k n_k/N · |accuracy_k - confidence_k|, in [0, 1]; 0 without pixels.

    Args:
        reliability: pixels of all images, pooled before the error is taken.

    Source:
        C. Guo et al., ICML 2017. doi:10.48550/arXiv.1706.04599; equal-width bins.
    """
    pixels = float(reliability.pixels.sum())
    gap = np.abs(reliability.correct - reliability.confidence).sum()
    return float(gap) / pixels if pixels else 0.0


def _probability_of(probabilities: Probabilities, reference: Labels) -> NDArray[np.float64]:
    """Probability of the reference class, [H, W]."""
    _require_comparable(probabilities, reference)
    index = reference[None].astype(np.intp)
    return np.asarray(np.take_along_axis(probabilities, index, axis=0)[0], np.float64)


def _boundary_distances(one: BoolMap, other: BoolMap) -> list[NDArray[np.float64]]:
    """Distances of each boundary's pixels to the nearest pixel of the other boundary."""
    # Not by scipy's KDTree: it crashes while the CPU flushes denormal numbers, as in training.
    first, second = (mask & ~binary_erosion(mask) for mask in (one, other))
    return [
        distance_transform_edt(~second)[first],
        distance_transform_edt(~first)[second],
    ]


def _require_same_shape(predicted: Mask, reference: Mask) -> None:
    if predicted.shape != reference.shape:
        raise ValueError(f"expected masks of one shape, got {predicted.shape}, {reference.shape}")


def _require_comparable(probabilities: Probabilities, reference: Labels) -> None:
    classes, *shape = probabilities.shape
    if tuple(shape) != reference.shape:
        raise ValueError(f"expected a reference of shape {tuple(shape)}, got {reference.shape}")
    if reference.size and int(reference.max()) >= classes:
        raise ValueError(f"expected classes below {classes}, got class {int(reference.max())}")
