"""Measured against reference lengths: limits of agreement, and how often an interval is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfusion.evaluation.metrics.weighted import weighted_mean

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman's summary of measured minus reference, in their unit.

    Attributes:
        bias: mean difference.
        lower: bias - 1.96 standard deviations; about 95 % of differences lie between the limits.
        upper: bias + 1.96 standard deviations.
    """

    bias: float
    lower: float
    upper: float


def limits_of_agreement(measured: Floats, reference: Floats) -> Agreement | None:
    """Return bias and 95 % limits of agreement; None below two pairs.

    bias ± 1.96 s, s the standard deviation with n - 1.

    Args:
        measured: [pairs].
        reference: [pairs].

    Raises:
        ValueError: not in pairs.

    Source:
        J. M. Bland, D. G. Altman, Lancet 327 (1986) 307. doi:10.1016/S0140-6736(86)90837-8

    Example:
        >>> limits_of_agreement(np.array([11.0, 19.0]), np.array([10.0, 20.0])).bias
        0.0
    """
    if measured.shape != reference.shape:
        raise ValueError(f"expected pairs, got {measured.shape} and {reference.shape}")
    if len(measured) < 2:
        return None
    difference = measured - reference
    bias, spread = float(difference.mean()), 1.96 * float(difference.std(ddof=1))
    return Agreement(bias, bias - spread, bias + spread)


def interval_coverage(
    lower: Floats, upper: Floats, truth: Floats, weights: Floats | None = None
) -> NDArray[np.float64]:
    """Return the share of intervals that hold the truth, ends included; NaN without intervals.

    An honest interval of level 90 % has a coverage of 0.9: less is overconfident, more is wide.

    Args:
        lower: [intervals].
        upper: [intervals].
        truth: [intervals].
        weights: [..., intervals], how often each counts; by default once.

    Returns:
        [...], one value for each set of weights.

    Source:
        T. Gneiting, A. E. Raftery, J. Am. Stat. Assoc. 102 (2007) 359.
        doi:10.1198/016214506000001437

    Example:
        >>> ends, truth = np.array([1.0, 2.0]), np.array([1.5, 9.0])
        >>> float(interval_coverage(ends, ends + 1, truth))
        0.5
    """
    held = ((lower <= truth) & (truth <= upper)).astype(np.float64)
    return weighted_mean(held, weights)
