"""How well one number tells two groups of images apart: AUROC and FPR95.

All functions take weights, how often each image counts, with any leading axes: one call
evaluates all resamples of a bootstrap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfusion.evaluation.metrics.weighted import ratio

Floats = NDArray[np.float64]


def auroc(
    scores: Floats, positive: NDArray[np.bool_], weights: Floats | None = None
) -> NDArray[np.float64]:
    """Return the chance that a positive image outscores a negative one; ties count half.

    P(s⁺ > s⁻) + ½ P(s⁺ = s⁻): 0.5 is chance, 1 separates perfectly. NaN when a group is empty.

    Args:
        scores: [images], finite.
        positive: [images], which to find by a high score.
        weights: [..., images], how often each image counts; by default once.

    Returns:
        [...], one value for each set of weights.

    Source:
        J. A. Hanley, B. J. McNeil, Radiology 143 (1982) 29. doi:10.1148/radiology.143.1.7063747

    Example:
        >>> float(auroc(np.array([1.0, 2.0, 2.0]), np.array([False, False, True])))
        0.75
    """
    above, below = _weights_by_value(scores, positive, weights)
    lower = np.cumsum(below, axis=-1) - below / 2
    pairs = above.sum(axis=-1) * below.sum(axis=-1)
    return ratio((above * lower).sum(axis=-1), pairs)


def fpr_at_tpr(
    scores: Floats,
    positive: NDArray[np.bool_],
    weights: Floats | None = None,
    *,
    tpr: float = 0.95,
) -> NDArray[np.float64]:
    """Return the share of negatives flagged by the highest threshold that finds enough positives.

    An image is flagged when its score reaches the threshold. Positives are the images to be
    found (out of distribution), as in OpenOOD; papers that take the other side differ. NaN when
    a group is empty.

    Args:
        scores: [images], finite.
        positive: [images], which to find by a high score.
        weights: [..., images], how often each image counts; by default once.
        tpr: share of the positives to find, in (0, 1].

    Returns:
        [...], one value for each set of weights.

    Raises:
        ValueError: `tpr` is not in (0, 1].

    Source:
        S. Liang et al., ICLR 2018. doi:10.48550/arXiv.1706.02690; J. Yang et al., OpenOOD,
        NeurIPS 2022. doi:10.48550/arXiv.2210.07242

    Example:
        >>> far = np.array([False, False, True, True])
        >>> float(fpr_at_tpr(np.array([1.0, 3.0, 2.0, 4.0]), far))
        0.5
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"expected a share of positives in (0, 1], got {tpr}")
    above, below = _weights_by_value(scores, positive, weights)
    found, flagged = (np.cumsum(side[..., ::-1], axis=-1) for side in (above, below))
    # A whole number of images compared with a share of them: room for rounding.
    enough = found >= tpr * found[..., -1:] * (1 - 1e-12)
    first = enough.argmax(axis=-1)[..., None]
    false = np.take_along_axis(flagged, first, axis=-1)[..., 0]
    usable = np.where(found[..., -1] > 0, flagged[..., -1], 0.0)
    return ratio(false, usable)


def _weights_by_value(
    scores: Floats, positive: NDArray[np.bool_], weights: Floats | None
) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, rising, [..., values]."""
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise ValueError(
            f"expected one score and one mark an image, got {scores.shape} and {positive.shape}"
        )
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    w = (np.ones(len(scores)) if weights is None else weights)[..., order]
    marks = positive[order]
    return (
        np.add.reduceat(w * marks, starts, axis=-1),
        np.add.reduceat(w * ~marks, starts, axis=-1),
    )
