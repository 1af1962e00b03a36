"""Whether a score knows which images went wrong: rank correlation and risk over coverage.

All functions take weights, how often each image counts, with any leading axes: one call
evaluates all resamples of a bootstrap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfusion.evaluation.metrics.weighted import ratio

Floats = NDArray[np.float64]


def spearman(one: Floats, other: Floats, weights: Floats | None = None) -> NDArray[np.float64]:
    """Return Spearman's rank correlation, in [-1, 1]; ties share their mean rank.

    NaN where one of the two does not vary.

    Args:
        one: [images], finite.
        other: [images], finite.
        weights: [..., images], how often each image counts (whole numbers); by default once.

    Returns:
        [...], one value for each set of weights.

    Source:
        C. Spearman, Am. J. Psychol. 15 (1904) 72. doi:10.2307/1412159

    Example:
        >>> round(float(spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 5.0, 1.0]))), 6)
        -1.0
    """
    w = np.ones(len(one)) if weights is None else weights
    x, y = (_centred(_ranks(values, w), w) for values in (one, other))
    covariance = (w * x * y).sum(axis=-1)
    scale = np.sqrt((w * x**2).sum(axis=-1) * (w * y**2).sum(axis=-1))
    return ratio(covariance, scale)


def risk_coverage(
    risks: Floats, scores: Floats, weights: Floats | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean risk of the images kept, for each share of images kept.

    Images are kept from the lowest score up; those of one score are kept or not together,
    because no threshold parts them.

    Args:
        risks: [images], what it costs to accept an image, such as 1 - Dice.
        scores: [images], finite; high means unsure.
        weights: [..., images], how often each image counts; by default once.

    Returns:
        Coverage in [0, 1], rising to 1, and risk: [..., distinct scores] each.

    Raises:
        ValueError: not one risk and one score for each of at least one image.

    Source:
        R. El-Yaniv, Y. Wiener, JMLR 11 (2010) 1605.

    Example:
        >>> coverage, risk = risk_coverage(np.array([0.4, 0.0]), np.array([2.0, 1.0]))
        >>> coverage.tolist(), risk.tolist()
        ([0.5, 1.0], [0.0, 0.2])
    """
    if scores.ndim != 1 or scores.shape != risks.shape or not len(scores):
        raise ValueError(f"expected a risk for each score, got {risks.shape} and {scores.shape}")
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    w = (np.ones(len(scores)) if weights is None else weights)[..., order]
    kept = np.cumsum(np.add.reduceat(w, starts, axis=-1), axis=-1)
    cost = np.cumsum(np.add.reduceat(w * risks[order], starts, axis=-1), axis=-1)
    return kept / kept[..., -1:], cost / np.maximum(kept, 1.0)


def aurc(risks: Floats, scores: Floats, weights: Floats | None = None) -> NDArray[np.float64]:
    """Return the area under the risk-coverage curve, the mean over coverage of the risk; 0 is best.

    Σ_k Δcoverage_k · risk_k over the steps of `risk_coverage`.

    Args:
        risks: [images], what it costs to accept an image, such as 1 - Dice.
        scores: [images], finite; high means unsure.
        weights: [..., images], how often each image counts; by default once.

    Returns:
        [...], one value for each set of weights.

    Source:
        Y. Geifman, G. Uziel, R. El-Yaniv, ICLR 2019. doi:10.48550/arXiv.1805.08206

    Example:
        >>> round(float(aurc(np.array([0.4, 0.0]), np.array([2.0, 1.0]))), 6)
        0.1
    """
    coverage, risk = risk_coverage(risks, scores, weights)
    return np.asarray((np.diff(coverage, prepend=0.0, axis=-1) * risk).sum(axis=-1))


def excess_aurc(
    risks: Floats, scores: Floats, weights: Floats | None = None
) -> NDArray[np.float64]:
    """Return E-AURC: the area above that of the oracle, which orders by the risk itself; 0 is best.

    Args:
        risks: [images], what it costs to accept an image, such as 1 - Dice.
        scores: [images], finite; high means unsure.
        weights: [..., images], how often each image counts; by default once.

    Returns:
        [...], one value for each set of weights.

    Source:
        Y. Geifman, G. Uziel, R. El-Yaniv, ICLR 2019. doi:10.48550/arXiv.1805.08206

    Example:
        >>> risks = np.array([0.4, 0.0])
        >>> round(float(excess_aurc(risks, -risks)), 6)  # the worst order: 0.3 - 0.1
        0.2
    """
    return np.asarray(aurc(risks, scores, weights) - aurc(risks, risks, weights))


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Mean rank of each image among all copies, [..., images]."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))
    mass = np.add.reduceat(weights[..., order], starts, axis=-1)
    which = np.searchsorted(values[order][starts], values)
    return np.asarray((np.cumsum(mass, axis=-1) - (mass - 1) / 2)[..., which])


def _centred(ranks: Floats, weights: Floats) -> Floats:
    mean = (weights * ranks).sum(axis=-1, keepdims=True) / weights.sum(axis=-1, keepdims=True)
    return np.asarray(ranks - mean)
