"""What follows for all pixels when somebody says what a few of them are: a click, a scribble.

Gaussian conditioning in closed form. All algebra is R×R, R the rank of the shared factor, or
within a pixel; nothing is N×N. Computed in float64, returned in the dtype of the distribution.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfusion.errors import CounterfactualError
from lfusion.uncertainty.contrasts import ContrastDistribution
from lfusion.uncertainty.gauge import contrast_basis

UNSAID = -1
"""In a map of class numbers that somebody gave: nothing was said about this pixel."""


def condition(
    logits: ContrastDistribution,
    where: Bool[Tensor, "height width"],
    target: Float[Tensor, "pixels contrasts"],
    noise: float,
) -> ContrastDistribution:
    """Return the Gaussian given y_a = c_a + N(0, σ²I) at some pixels a.

    Its mean is m + Σ_·a (Σ_aa + σ²I)⁻¹ (y − m_a). Given ε the pixels are independent, so with
    Q_a = E_aE_aᵀ and W_a = (Q_a + σ²I)⁻¹ (Woodbury)

        ε | y ~ N(ε̂, S),  S⁻¹ = I + Σ_a A_aᵀW_aA_a,  ε̂ = S Σ_a A_aᵀW_a(y_a − m_a).

    A pixel becomes m_i + A_iε̂ with factor A_iS^½. An observed one, whose own noise was seen too,
    becomes y_a − σ²W_a(y_a − m_a − A_aε̂) with factor σ²W_aA_aS^½ and own covariance σ²W_aQ_a.
    The result is of the same form, so it can be conditioned again, in any order.

    Args:
        logits: of one image.
        where: the observed pixels, on the feature grid; none is allowed.
        target: y, row by row of the grid.
        noise: σ > 0, in logits. Small is a command, large a hint.

    Raises:
        CounterfactualError: a pixel outside the sector, which has no covariance and cannot move.
        ValueError: σ is not positive, a target is not finite, or their number is not that of
            the pixels.
    """
    _check(logits, where, target, noise)
    if not where.any():
        return logits
    dtype, variance = logits.mean.dtype, noise**2
    mean, factor, residual = (
        field.double() for field in (logits.mean, logits.factor, logits.residual)
    )
    gap = target.double() - mean[:, where].T
    seen = factor[..., where].movedim(-1, 0)
    own, axes = _eigen(residual[..., where].movedim(-1, 0))
    precision = axes @ (axes.mT / (own + variance)[..., None])  # W
    weighted = precision @ seen
    identity = torch.eye(seen.shape[-1], dtype=seen.dtype, device=seen.device)
    lower = torch.linalg.cholesky(identity + torch.einsum("nkr,nks->rs", seen, weighted))
    shift = torch.einsum("nkr,nk->r", weighted, gap)
    latent = torch.cholesky_solve(shift[:, None], lower)[:, 0]
    root = torch.linalg.solve_triangular(lower, identity, upper=False)  # S = rootᵀ root

    mean = mean + torch.einsum("krhw,r->khw", factor, latent)
    factor = (root @ factor.flatten(2)).view_as(factor)
    residual = residual.clone()
    rest = (precision @ (gap - seen @ latent)[..., None])[..., 0]
    mean[:, where] = (target.double() - variance * rest).T
    factor[..., where] = (variance * weighted @ root.T).movedim(0, -1)
    residual[..., where] = 0
    updated = axes * (variance * own / (own + variance)).sqrt()[:, None]
    residual[:, : len(mean), where] = updated.movedim(0, -1)
    return ContrastDistribution(mean.to(dtype), factor.to(dtype), residual.to(dtype))


def correct(
    logits: ContrastDistribution,
    said: Int[Tensor, "height width"],
    *,
    lead: float = 0.5,
    noise: float = 0.1,
) -> ContrastDistribution:
    """Return the Gaussian given what an annotator said by clicks, a scribble or a region.

    The class said is raised until it leads every other by `lead`; where it does already, the
    target is the mean itself, so that a click which agrees never makes the model less sure.

    Args:
        logits: of one image.
        said: class numbers on the feature grid (see `on_grid`), `UNSAID` elsewhere.
        lead: in logits; the least that settles a class, for what is corrected is mostly near a
            boundary, where the logits are near 0. 4 (p = 0.98) would push it away.
        noise: σ of an observation, in logits.

    Raises:
        CounterfactualError: see `condition`.
        ValueError: a class number that the model does not have.
    """
    where = said != UNSAID
    current = logits.logits.double()[:, where]
    _check_classes(said[where], len(current))
    chosen = said[where].long()[None]
    others = current.scatter(0, chosen, -torch.inf).amax(0, keepdim=True)
    raised = torch.maximum(current.gather(0, chosen), others + lead)
    target = current.scatter(0, chosen, raised).T @ contrast_basis(len(current), current)
    return condition(logits, where, target, noise)


def on_grid(
    said: Int[Tensor, "rows columns"], classes: int, size: tuple[int, int]
) -> Int[Tensor, "height width"]:
    """Return what was said in native pixels on a coarser grid, for `correct`.

    A cell takes the class that most of its pixels were given, the lower number among equals;
    one pixel is enough, so that a click is not lost.

    Args:
        said: class numbers in native pixels, `UNSAID` elsewhere.
        classes: C, background included.
        size: (height, width) of the feature grid.

    Raises:
        ValueError: a class number that the model does not have.
    """
    rows, columns = (said != UNSAID).nonzero(as_tuple=True)
    chosen = said[rows, columns].long()
    _check_classes(chosen, classes)
    height, width = size
    cells = rows * height // said.shape[0], columns * width // said.shape[1]
    votes = torch.zeros(classes, height, width, dtype=torch.long, device=said.device)
    votes.index_put_((chosen, *cells), torch.ones_like(chosen), accumulate=True)
    found = torch.full(size, UNSAID, device=said.device)
    found[cells] = votes[:, *cells].argmax(0)
    return found


def _check(logits: ContrastDistribution, where: Tensor, target: Tensor, noise: float) -> None:
    if not 0 < noise < math.inf:
        raise ValueError(f"expected an observation noise σ > 0 in logits, got {noise}")
    pixels = int(where.sum())
    if tuple(target.shape) != (pixels, len(logits.mean)):
        raise ValueError(
            f"expected targets of shape {(pixels, len(logits.mean))}, one row of class contrasts "
            f"for each observed pixel, got {tuple(target.shape)}"
        )
    if not torch.isfinite(target).all():
        raise ValueError("the target of an observed pixel is not finite")
    roots = (logits.factor[..., where], logits.residual[..., where])
    movable = roots[0].any(1).any(0) | roots[1].any(1).any(0)
    fixed = where.nonzero()[~movable]
    if len(fixed):
        raise CounterfactualError(
            f"expected pixels inside the ultrasound sector, got {len(fixed)} outside, the first at "
            f"(row, column) {tuple(fixed[0].tolist())} of the feature grid: there is no echo, so "
            "the logits have no covariance there and cannot move; leave these pixels out"
        )


def _check_classes(chosen: Tensor, classes: int) -> None:
    if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < classes:
        raise ValueError(
            f"expected class numbers from 0 to {classes - 1}, or {UNSAID} where nothing is said, "
            f"got {int(chosen.min())} to {int(chosen.max())}"
        )


def _eigen(root: Float[Tensor, "pixels contrasts noise"]) -> tuple[Tensor, Tensor]:
    """Return eigenvalues [pixels, contrasts] ≥ 0 and eigenvectors of root·rootᵀ at each pixel."""
    values, vectors = torch.linalg.eigh(root @ root.mT)
    return values.clamp_min(0), vectors
