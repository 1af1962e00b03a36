"""How much to trust the prior and the pixels: τ by marginal likelihood, τ and κ by held-out NLL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lfusion.errors import NotFittedError, PosteriorError
from lfusion.uncertainty.posterior import LastLayerLaplace
from lfusion.uncertainty.structure import Structure

POSTERIOR_TEMPERATURES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""κ that `fit_held_out` tries, from independent pixels to about one independent pixel in 30²."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Features with the right answer, from images that neither weights nor curvature have seen.

    Attributes:
        features: φ.
        target: class numbers; negative where there is none.
    """

    features: Float[Tensor, "batch dim height width"]
    target: Int[Tensor, "batch height width"]


def log_marginal_likelihood(posterior: LastLayerLaplace, log_likelihood: float) -> float:
    """Return the Laplace evidence of the tempered likelihood, in nats.

    It compares τ and structures at one κ. It cannot choose κ: the likelihood to the power 1/κ is
    not normalised, and both log p/κ and −½ logdet(G/κ + τI) rise with κ without end.

    Args:
        posterior: at the MAP.
        log_likelihood: Σ log p(y | W) over the pixels that made G, before tempering by κ.

    Source:
        MacKay, Neural Computation 4(3), 1992; the tempering is our addition.
    """
    tau, kappa = posterior.prior_precision, posterior.posterior_temperature
    spectrum = posterior.curvature.spectrum(kappa)
    # ½ P log τ − ½ logdet(G/κ + τI), in one sum
    occam = 0.5 * float(torch.log1p(spectrum / tau).sum())
    quadratic = 0.5 * tau * float(posterior.weight.square().sum())
    return log_likelihood / kappa - quadratic - occam


def fit_prior_precision(posterior: LastLayerLaplace, iterations: int = 200) -> LastLayerLaplace:
    """Return the posterior with the τ that maximises the marginal likelihood.

    MacKay's fixed point τ = γ/‖W‖² with γ = Σ λ/(λ + τ), the number of well-determined
    parameters; λ are the eigenvalues of G/κ, found once. `PRIOR_ONLY` has no evidence to weigh
    and takes the τ under which the prior makes W most likely: γ is the number of all parameters.

    Raises:
        PosteriorError: the head's weights are all zero, so no finite τ is best, or there is no
            curvature yet.
    """
    norm = float(posterior.weight.square().sum())
    if norm == 0:
        raise PosteriorError("the head's weights are all zero: train it before fitting a prior")
    if posterior.structure is Structure.PRIOR_ONLY:
        return posterior.with_prior_precision(posterior.weight.numel() / norm)
    eigenvalues = posterior.curvature.spectrum(posterior.posterior_temperature).clamp_min(0)
    tau = posterior.prior_precision
    for _ in range(iterations):
        update = float((eigenvalues / (eigenvalues + tau)).sum()) / norm
        if update <= 0:
            raise PosteriorError("the curvature is zero: fit it on at least one image first")
        if abs(update - tau) <= 1e-10 * tau:
            break
        tau = update
    return posterior.with_prior_precision(tau)


@torch.no_grad()
def held_out_nll(posterior: LastLayerLaplace, held_out: Sequence[HeldOut]) -> float:
    """Return −log p(y) of the predictive mean, in nats per labelled pixel.

    Raises:
        NotFittedError: no labelled pixel.
        PosteriorError: targets of another size or with classes that the head does not know.
    """
    total, labelled = 0.0, 0
    for part in held_out:
        probabilities = posterior.predict(part.features).probabilities
        _check_target(part, posterior.classes)
        known = part.target >= 0
        chosen = probabilities.gather(1, part.target.clamp_min(0)[:, None])[:, 0][known]
        total -= float(chosen.double().clamp_min(torch.finfo(chosen.dtype).tiny).log().sum())
        labelled += int(known.sum())
    if not labelled:
        raise NotFittedError("expected held-out images with labels, got no labelled pixel")
    return total / labelled


def fit_held_out(
    posterior: LastLayerLaplace,
    held_out: Sequence[HeldOut],
    *,
    posterior_temperatures: Sequence[float] = POSTERIOR_TEMPERATURES,
    prior_precisions: Sequence[float] | None = None,
) -> LastLayerLaplace:
    """Return the posterior with the κ and τ of a grid that have the least held-out NLL.

    Args:
        posterior: in any structure; its curvature is used as it is.
        held_out: read once for each point of the grid.
        posterior_temperatures: κ to try; the first of equals wins.
        prior_precisions: τ to try with each κ; by default only the one of
            `fit_prior_precision` for that κ.

    Raises:
        NotFittedError: no labelled pixel.
        PosteriorError: see `fit_prior_precision`.
        ValueError: an empty grid.
    """
    best, least = None, math.inf
    for kappa in posterior_temperatures:
        tempered = replace(posterior, posterior_temperature=kappa)
        candidates = (
            [fit_prior_precision(tempered)]
            if prior_precisions is None
            else [tempered.with_prior_precision(tau) for tau in prior_precisions]
        )
        for candidate in candidates:
            nll = held_out_nll(candidate, held_out)
            if nll < least:
                best, least = candidate, nll
    if best is None:
        raise ValueError("expected at least one κ and one τ to try")
    return best


def _check_target(part: HeldOut, classes: int) -> None:
    expected = (len(part.features), *part.features.shape[2:])
    if tuple(part.target.shape) != expected:
        raise PosteriorError(
            f"expected a target of the features' size {expected}, got {tuple(part.target.shape)}"
        )
    if int(part.target.max()) >= classes:
        raise PosteriorError(
            f"expected class numbers below {classes}, or negative ones for pixels to leave out, "
            f"got {int(part.target.max())}"
        )
