"""Means and quantiles in which each image counts as often as its weight says.

A resample of the bootstrap is a set of whole-number weights; leading axes of the weights hold many
resamples, and one call evaluates them all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def weighted_mean(values: Floats, weights: Floats | None = None) -> NDArray[np.float64]:
    """Return Σ w x / Σ w over the last axis; NaN where the weights sum to 0.

    Args:
        values: [images].
        weights: [..., images]; by default one each.
    """
    w = np.ones(len(values)) if weights is None else weights
    return ratio(w @ values, w.sum(axis=-1))


def weighted_quantile(
    values: Floats, share: float, weights: Floats | None = None
) -> NDArray[np.float64]:
    """Return NumPy's linear quantile of each value repeated as often as its weight says.

    NaN where the weights sum to 0.

    Args:
        values: [images].
        share: in [0, 1].
        weights: [..., images], whole numbers; by default one each.

    Example:
        >>> float(weighted_quantile(np.array([1.0, 3.0]), 0.5, np.array([3.0, 1.0])))
        1.0
    """
    order = np.argsort(values, kind="stable")
    w = (np.ones(len(values)) if weights is None else weights)[..., order]
    ends = np.cumsum(w, axis=-1)
    place = share * (ends[..., -1:] - 1)
    low, high = (_value_at(values[order], ends, np.floor(place) + up) for up in (0.0, 1.0))
    found = low + (high - low) * (place - np.floor(place))[..., 0]
    return np.asarray(np.where(ends[..., -1] > 0, found, np.nan))


def _value_at(ordered: Floats, ends: Floats, place: Floats) -> Floats:
    """The value of the copy at a place counted from 0; the last one beyond the end."""
    index = np.minimum((ends <= place).sum(axis=-1), len(ordered) - 1)
    return np.asarray(ordered[index])


def ratio(part: ArrayLike, whole: ArrayLike) -> NDArray[np.float64]:
    """Return part / whole elementwise; NaN where the whole is not positive."""
    denominator = np.asarray(whole, np.float64)
    out = np.full(denominator.shape, np.nan)
    return np.asarray(np.divide(part, denominator, out=out, where=denominator > 0))
