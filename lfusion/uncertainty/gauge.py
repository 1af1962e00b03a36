"""The gauge of softmax: a shift common to all logits changes nothing, so nothing may depend on it.

All covariances are therefore held between *contrasts* Uᵀz, where the columns of U [C, C − 1] are
orthonormal and orthogonal to the all-ones vector. UUᵀ = I − 11ᵀ/C, so this is the projection PVP
without its null direction.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def contrast_basis(classes: int, like: Tensor) -> Tensor:
    """Return the Helmert basis U [classes, classes − 1] in the dtype and on the device of `like`.

    Example:
        >>> contrast_basis(2, torch.zeros(())).flatten().mul(2**0.5).round().tolist()
        [1.0, -1.0]
    """
    basis = torch.zeros(classes, classes - 1, dtype=torch.float64)
    for k in range(1, classes):
        basis[:k, k - 1] = 1 / (k * (k + 1)) ** 0.5
        basis[k, k - 1] = -k / (k * (k + 1)) ** 0.5
    return basis.to(like)


def gauge_projected(
    contrasts: Float[Tensor, "batch contrasts contrasts height width"],
) -> Float[Tensor, "batch classes classes height width"]:
    """Return PVP, P = I − 11ᵀ/C, of a covariance UᵀVU between class contrasts.

    This is the covariance of the centred logits, class by class: what may be shown or scored. The
    raw V of the logits may not, because softmax does not see most of it.

    Example:
        >>> gauge_projected(torch.ones(1, 1, 1, 1, 1)).flatten().round(decimals=6).tolist()
        [0.5, -0.5, -0.5, 0.5]
    """
    basis = contrast_basis(contrasts.shape[1] + 1, contrasts)
    return torch.einsum("ak,bklhw,cl->bachw", basis, contrasts, basis)
