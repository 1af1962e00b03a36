"""Percentile intervals by drawing whole examinations anew.

Images of one examination resemble each other, so an interval from images drawn one by one is too
narrow. A resample is the number of times each image is in it; every metric takes such weights on
leading axes, so all resamples of one figure are one call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

REPLICATES = 2000
LEVEL = 0.95
_LARGEST_STEP = 2**20
"""Weights evaluated at once; bounds the memory, whatever the number of images."""

Statistic: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights [..., images] → values [...]."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap interval, of 95 % by default; None where it does not exist."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high), or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def resample_weights(
    groups: Sequence[str | None], replicates: int = REPLICATES, seed: int = 0
) -> NDArray[np.float64]:
    """Draw as many examinations as there are, with replacement, again and again.

    Args:
        groups: the examination of each image; None: an examination of its own.
        replicates: number of resamples.
        seed: of the draws; the same seed gives the same intervals.

    Returns:
        [replicates, images], how often each image is in each resample. Images of one
        examination share their number.

    Source:
        B. Efron, R. J. Tibshirani, An introduction to the bootstrap, Chapman & Hall 1993,
        chapter 8; of clusters: C. A. Field, A. H. Welsh, J. R. Stat. Soc. B 69 (2007) 369.
        doi:10.1111/j.1467-9868.2007.00593.x

    Example:
        >>> weights = resample_weights(["exam 1", "exam 1", None], replicates=3)
        >>> bool((weights[:, 0] == weights[:, 1]).all())
        True
    """
    keys = [(0, str(i)) if group is None else (1, group) for i, group in enumerate(groups)]
    number = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    exams = len(number)
    draws = np.random.default_rng(seed).multinomial(exams, np.full(exams, 1 / exams), replicates)
    return np.asarray(draws[:, [number[key] for key in keys]], np.float64)


def expanded_level(blocks: Sequence[int]) -> float:
    """Return the level at which the percentile interval of a mean over few values holds 95 %.

    Resamples of five values spread too little: at a level of 0.95 the interval holds the mean of
    normal values in 84 % of all cases, at this one in 92 %.

    Args:
        blocks: number of values in each part that is drawn for itself, two or more in each.

    Source:
        T. C. Hesterberg, What teachers should know about the bootstrap, The American Statistician
        69 (2015) 371, arXiv 1411.5279: the expanded percentile interval. Of several parts the
        degrees of freedom are added, and the smallest part sets the factor.

    Example:
        >>> round(expanded_level([5]), 3), round(expanded_level([1000]), 3)
        (0.998, 0.95)
    """
    smallest, freedom = min(blocks), sum(blocks) - len(blocks)
    wide = stats.t.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(smallest / (smallest - 1))
    return float(1 - 2 * stats.norm.cdf(-wide))


def estimate(statistic: Statistic, weights: NDArray[np.float64], level: float = LEVEL) -> Estimate:
    """Return a statistic of all images and its percentile interval.

    Resamples for which the statistic is not defined (NaN) are left out.

    Args:
        statistic: weights [..., images] → [...].
        weights: [replicates, images], from `resample_weights`.
        level: share of the resamples that lie in the interval.
    """
    value = float(statistic(np.ones(weights.shape[-1])))
    if not np.isfinite(value):
        return Estimate(None, None, None)
    rows = max(1, _LARGEST_STEP // weights.shape[-1])
    steps = range(0, len(weights), rows)
    draws = np.concatenate([statistic(weights[start : start + rows]) for start in steps])
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Estimate(value, None, None)
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))
