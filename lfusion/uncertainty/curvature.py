"""The generalised Gauss-Newton matrix of a linear head: exact, label-free, a sum over pixels.

For logits z = Wφ̃ with φ̃ = [φ; 1] and p = softmax(z), the GGN of the summed cross-entropy is
G = Σ_i Λ_i ⊗ φ̃_i φ̃_iᵀ with Λ_i = diag(p_i) − p_i p_iᵀ: its block (a, b) is the weighted Gram
matrix φ̃ᵀ diag(Λ_ab) φ̃, so no Jacobian is ever built. It is the exact Hessian in W.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

CURVATURE_SAMPLES = 8
"""Logit samples that the curvature of a stochastic head is averaged over; even."""

CurvatureMap = Float[Tensor, "batch classes classes height width"]


def with_bias(features: Tensor) -> Tensor:
    """Return φ̃ [pixels, D + 1] of φ [batch, D, height, width], batch-major."""
    rows = features.movedim(1, -1).flatten(0, 2)
    return torch.cat((rows, rows.new_ones(len(rows), 1)), 1)


def softmax_curvature(probabilities: Float[Tensor, "batch classes height width"]) -> CurvatureMap:
    """Return Λ = diag(p) − ppᵀ at each pixel, [batch, classes, classes, height, width]."""
    outer = probabilities[:, :, None] * probabilities[:, None]
    return torch.diag_embed(probabilities.movedim(1, -1)).movedim((-2, -1), (1, 2)) - outer


def expected_curvature(logits: Float[Tensor, "sample batch classes height width"]) -> CurvatureMap:
    """Return the mean of Λ over sampled logits: the curvature of a head trained as an SSN."""
    total = softmax_curvature(logits[0].softmax(1))
    for sample in logits[1:]:
        total = total + softmax_curvature(sample.softmax(1))
    return total / len(logits)


def full_ggn(
    features: Float[Tensor, "batch dim height width"],
    curvature: CurvatureMap,
    weight: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, "parameters parameters"]:
    """Return G in float64.

    Args:
        features: φ.
        curvature: Λ.
        weight: how much each pixel counts; 0 leaves it out.

    Returns:
        [C·(D + 1), C·(D + 1)], rows ordered class by class, the bias last within a class.
    """
    phi = with_bias(features).double()
    weighted = (curvature * weight[:, None]).double().movedim((1, 2), (-2, -1)).flatten(0, 2)
    return weighted_gram(phi, curvature.shape[1], lambda a, b: weighted[:, a, b])


def weighted_gram(
    phi: Float[Tensor, "pixels dim"], classes: int, weight: Callable[[int, int], Tensor]
) -> Float[Tensor, "parameters parameters"]:
    """Return the symmetric matrix whose block (a, b) is φ̃ᵀ diag(weight(a, b)) φ̃.

    Args:
        phi: φ̃.
        classes: blocks a side.
        weight: of the pixels, for a ≤ b; asked once each, so that no pixel needs all at once.
    """
    dim = phi.shape[1]
    blocks = phi.new_zeros(classes, dim, classes, dim)
    for a in range(classes):
        for b in range(a, classes):
            gram = phi.T @ (phi * weight(a, b)[:, None])
            blocks[a, :, b] = gram
            blocks[b, :, a] = gram
    return blocks.reshape(classes * dim, classes * dim)
