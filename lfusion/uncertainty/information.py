"""What the pixels of one image would tell a posterior, in the posterior's own units."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.uncertainty.gauge import contrast_basis
from lfusion.uncertainty.posterior import LastLayerLaplace


def whitened_information(
    ggn: Float[Tensor, "parameters parameters"], posterior: LastLayerLaplace
) -> Float[Tensor, "weights weights"]:
    """Return A = Fᵀ (Uᵀ ⊗ I) G (U ⊗ I) F / κ, with F Fᵀ the covariance between class contrasts.

    G is blind to the gauge, so nothing is lost: det(I + A) = det(I + Σ G / κ).

    Args:
        ggn: G of the image, as `full_ggn` returns it.
        posterior: Σ and κ, in any structure.

    Returns:
        Symmetric, positive semi-definite, [(C − 1)·d, (C − 1)·d], float64.
    """
    classes, dim = posterior.weight.shape
    basis = contrast_basis(classes, ggn)
    blocks = ggn.reshape(classes, dim, classes, dim)
    reduced = torch.einsum("aibj,ak,bl->kilj", blocks, basis, basis).flatten(0, 1).flatten(1)
    factor = posterior.covariance.contrast_factor().to(ggn)
    information = factor.T @ reduced @ factor / posterior.posterior_temperature
    return (information + information.T) / 2
