"""Intervals for what is read off a segmentation: variances in closed form, held-out factors.

A quantity that follows the logits as dA = Σ_ic w_ic δz_ic has, with logits N(μ, PPᵀ + diag(d)) and
weights of the mean head N(W, Σ), independent of each other, the variance

    gᵀΣg + ‖Σ_i w_iᵀP_i‖² + Σ_ic w_ic² d_ic,    g = Σ_i w_i ⊗ φ̃_i

epistemic, shared and own: no sampling, and nothing is N×N. For the expected area of class c,
A = Σ_i p_ic, it is w_i = Λ_i[c, :].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lfusion.model.distribution import LogitDistribution
from lfusion.uncertainty.covariance import Covariance
from lfusion.uncertainty.curvature import softmax_curvature, with_bias


@dataclass(frozen=True, eq=False)
class LinearVariance:
    """Variance of some quantities, [quantities] each, by where it comes from.

    Attributes:
        epistemic: gᵀΣg, from the weights of the head; more labels reduce it.
        shared: from the low-rank factor P, which moves all pixels together.
        own: from each pixel's own noise d; almost nothing where many pixels are summed.
    """

    epistemic: Float[Tensor, " quantities"]
    shared: Float[Tensor, " quantities"]
    own: Float[Tensor, " quantities"]

    @property
    def total(self) -> Float[Tensor, " quantities"]:
        """All three; they are independent."""
        return self.epistemic + self.shared + self.own


def linear_variance(
    weights: Float[Tensor, "quantities classes height width"],
    logits: LogitDistribution,
    features: Float[Tensor, "1 dim height width"],
    covariance: Covariance,
) -> LinearVariance:
    """Return the variance of quantities that are linear in the logits of one image.

    Args:
        weights: w, blind to a shift of all logits of a pixel: Σ_c w_ic = 0.
        logits: of one image.
        features: φ that the mean logits were made from.
        covariance: Σ, in the dtype and on the device of `features`.

    Raises:
        ValueError: the batch is not of one image.
    """
    if len(logits.mean) != 1:
        raise ValueError(f"expected the logits of one image, got a batch of {len(logits.mean)}")
    flat = weights.flatten(2)
    gradient = torch.einsum("qcp,pd->qcd", flat, with_bias(features))
    shared = torch.einsum("qcp,crp->qr", flat, logits.factor[0].flatten(2))
    own = torch.einsum("qcp,cp->q", flat.square(), logits.scale[0].square().flatten(1))
    return LinearVariance(covariance.quadratic(gradient), shared.square().sum(1), own)


def area_weights(
    mean: Float[Tensor, "classes height width"],
) -> Float[Tensor, "quantities classes height width"]:
    """Return how the expected area of each class, in cells, follows the logits: Λ.

    Args:
        mean: μ.

    Returns:
        One quantity a class, the background first.
    """
    return softmax_curvature(mean.softmax(0)[None])[0]


def conformal_factor(errors: Sequence[float] | NDArray[np.float64], level: float) -> float | None:
    """Return the half-width of an interval in standard deviations.

    Split conformal prediction with |value − truth| / σ as score: of n held-out errors the
    ⌈(n + 1)·level⌉-th smallest. A new image of the same kind then lies inside with at least the
    probability `level`, on average over held-out sets, whatever the distribution of the errors.

    Args:
        errors: |value − truth| / σ on held-out images, in any order.
        level: share of images to cover, between 0 and 1.

    Returns:
        The factor; None when the images are too few for the level.

    Raises:
        ValueError: the level is not between 0 and 1, or an error is negative or not finite.

    Source:
        Lei et al., Distribution-free predictive inference for regression, JASA 113 (2018) 1094,
        section 5.2; arXiv 1604.04173.

    Example:
        >>> conformal_factor([0.1, 0.4, 0.2, 0.3], 0.6)  # the third of four
        0.3
        >>> conformal_factor([0.1, 0.4, 0.2, 0.3], 0.9) is None
        True
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    ordered = np.sort(np.asarray(errors, np.float64))
    if not (np.isfinite(ordered).all() and (ordered >= 0).all()):
        raise ValueError("expected finite errors of at least 0")
    # not by float: (9 + 1) * 0.9 must be 9
    rank = math.ceil(round((len(ordered) + 1) * level, 9))
    return float(ordered[rank - 1]) if rank <= len(ordered) else None
