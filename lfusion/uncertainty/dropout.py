"""What dropout adds to the epistemic covariance, by the law of total variance.

The posterior is over the head alone; dropout in the layers below it says how far φ itself could
have come out otherwise. With φ_k the features of pass k:

    V = mean_k[φ̃_kᵀ Σ φ̃_k] + Cov_k[W φ̃_k]
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.errors import DropoutError
from lfusion.uncertainty.covariance import Covariance
from lfusion.uncertainty.gauge import contrast_basis


def total_variance(
    passes: Iterable[Float[Tensor, "batch dim height width"]],
    covariance: Covariance,
    weight: Float[Tensor, "classes weights"],
) -> Float[Tensor, "batch contrasts contrasts height width"]:
    """Return the epistemic covariance of the class contrasts over the head and the passes.

    Args:
        passes: φ_k, each read once and not kept.
        covariance: Σ, in the dtype and on the device of φ.
        weight: MAP weights W [C, D + 1], the bias last.

    Returns:
        Positive semi-definite over the contrast axes. Cov_k has K − 1 in its denominator, so that
        few passes estimate the same as many.

    Raises:
        DropoutError: fewer than two passes, which have no covariance.

    Source:
        method.md §4; the updates are Welford's.
    """
    count = 0
    within = mean = between = torch.zeros(())
    for count, features in enumerate(passes, start=1):
        head = (contrast_basis(len(weight), weight).T @ weight[:, :-1]).to(features)
        contrasts = torch.einsum("bdhw,kd->bkhw", features, head)
        conditional = covariance.contrasts(features)
        if count == 1:  # a plain copy, so that equal passes leave it as it is
            within, mean, between = conditional, contrasts, torch.zeros_like(conditional)
            continue
        deviation = contrasts - mean
        mean = mean + deviation / count
        within = within + (conditional - within) / count
        outer = torch.einsum("bkhw,blhw->bklhw", deviation, deviation)
        between = between + (count - 1) / count * outer
    if count < 2:
        raise DropoutError(f"expected at least 2 dropout passes to compare, got {count}")
    return within + between / (count - 1)
