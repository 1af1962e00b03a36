"""The Laplace posterior over the mean head: Σ = (G/κ + τI)⁻¹, exact and dense.

The head is linear in its weights, so the predictive covariance of the logits is exact:
V_i[a, b] = φ̃_iᵀ Σ_ab φ̃_i, without linearisation and without sampling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.errors import PosteriorError
from lfusion.uncertainty.curvature import with_bias
from lfusion.uncertainty.gauge import contrast_basis

DEFAULT_POSTERIOR_TEMPERATURE = 100.0
"""κ: neighbouring pixels are no independent observations; about the pixels of one speckle patch."""


@dataclass(frozen=True, eq=False)
class LastLayerLaplace:
    """Gaussian posterior over the weights of a linear head.

    Attributes:
        weight: MAP weights W [C, D + 1] with the bias as last column, float64.
        ggn: G [C·(D + 1), C·(D + 1)], float64; no prior in it.
        prior_precision: τ > 0.
        posterior_temperature: κ ≥ 1, divides G.
    """

    weight: Float[Tensor, "classes dim"]
    ggn: Float[Tensor, "parameters parameters"]
    prior_precision: float = 1.0
    posterior_temperature: float = DEFAULT_POSTERIOR_TEMPERATURE

    def __post_init__(self) -> None:
        """Check shapes and positivity.

        Raises:
            PosteriorError: shapes do not belong together, or a value is not finite or positive.
        """
        size = self.weight.numel()
        if tuple(self.ggn.shape) != (size, size):
            raise PosteriorError(
                f"expected a curvature of {size}×{size} for a head of "
                f"{self.weight.shape[0]}×{self.weight.shape[1]} weights, "
                f"got {'×'.join(map(str, self.ggn.shape))}"
            )
        if not (torch.isfinite(self.ggn).all() and torch.isfinite(self.weight).all()):
            raise PosteriorError("the curvature or the head's weights are not finite")
        if not (self.prior_precision > 0 and self.posterior_temperature > 0):
            raise PosteriorError(
                "expected a positive prior precision and posterior temperature, got "
                f"{self.prior_precision} and {self.posterior_temperature}"
            )

    @property
    def classes(self) -> int:
        """C, background included."""
        return int(self.weight.shape[0])

    def with_prior_precision(self, prior_precision: float) -> LastLayerLaplace:
        """Return the posterior with another τ."""
        return replace(self, prior_precision=prior_precision)

    def precision(self) -> Tensor:
        """Return G/κ + τI."""
        identity = torch.eye(len(self.ggn), dtype=self.ggn.dtype, device=self.ggn.device)
        return self.ggn / self.posterior_temperature + self.prior_precision * identity

    def covariance(self) -> Tensor:
        """Return Σ, same shape as G.

        Raises:
            PosteriorError: G/κ + τI is not positive definite.
        """
        cholesky, info = torch.linalg.cholesky_ex(self.precision())
        if int(info):
            raise PosteriorError(
                "G/κ + τI is not positive definite: the curvature is no sum of Λ ⊗ φ̃φ̃ᵀ, "
                "or the prior precision is too small for float64"
            )
        sigma: Tensor = torch.cholesky_inverse(cholesky)
        return sigma

    def contrast_covariance_factor(self) -> Float[Tensor, "contrasts dim rank"]:
        """Return F with (Uᵀ ⊗ I) Σ (U ⊗ I) = F Fᵀ, F reshaped to [C − 1, D + 1, rank].

        The posterior as a predictor needs it; made once, it is used for every image.
        """
        classes, dim = self.weight.shape
        basis = contrast_basis(classes, self.ggn)
        sigma = self.covariance().reshape(classes, dim, classes, dim)
        contrasts = torch.einsum("aibj,ak,bl->kilj", sigma, basis, basis)
        size = (classes - 1) * dim
        factor: Tensor = torch.linalg.cholesky(contrasts.reshape(size, size))
        return factor.reshape(classes - 1, dim, size)


def contrast_covariance(
    features: Float[Tensor, "batch dim height width"],
    factor: Float[Tensor, "contrasts dim_with_bias rank"],
) -> Float[Tensor, "batch contrasts contrasts height width"]:
    """Return the epistemic covariance V of the class contrasts at each pixel.

    Args:
        features: φ.
        factor: of `LastLayerLaplace.contrast_covariance_factor`, in the dtype of φ.

    Returns:
        Positive semi-definite over the two contrast axes by construction.
    """
    batch, _, height, width = features.shape
    contrasts = len(factor)
    phi = with_bias(features)
    projected = torch.stack([phi @ factor[k] for k in range(contrasts)])
    covariance = torch.einsum("kpr,lpr->klp", projected, projected)
    return covariance.view(contrasts, contrasts, batch, height, width).movedim(2, 0)


def log_marginal_likelihood(posterior: LastLayerLaplace, log_likelihood: float) -> float:
    """Return the Laplace evidence of the tempered likelihood, in nats.

    Args:
        posterior: at the MAP.
        log_likelihood: Σ log p(y | W) over the pixels that made G, before tempering by κ.

    Source:
        MacKay, Neural Computation 4(3), 1992; the tempering is our addition.
    """
    tau, size = posterior.prior_precision, posterior.weight.numel()
    log_det = torch.linalg.slogdet(posterior.precision())[1]
    quadratic = tau * float(posterior.weight.square().sum())
    return float(
        log_likelihood / posterior.posterior_temperature
        - 0.5 * quadratic
        + 0.5 * size * torch.tensor(tau).log()
        - 0.5 * log_det
    )


def fit_prior_precision(posterior: LastLayerLaplace, iterations: int = 200) -> LastLayerLaplace:
    """Return the posterior with the τ that maximises the marginal likelihood.

    MacKay's fixed point τ = γ/‖W‖² with γ = Σ λ/(λ + τ), the number of well-determined
    parameters; λ are the eigenvalues of G/κ, found once.

    Raises:
        PosteriorError: the head's weights are all zero, so no finite τ is best.
    """
    norm = float(posterior.weight.square().sum())
    if norm == 0:
        raise PosteriorError("the head's weights are all zero: train it before fitting a prior")
    eigenvalues = torch.linalg.eigvalsh(posterior.ggn / posterior.posterior_temperature)
    eigenvalues = eigenvalues.clamp_min(0)
    tau = posterior.prior_precision
    for _ in range(iterations):
        update = float((eigenvalues / (eigenvalues + tau)).sum()) / norm
        if update <= 0:
            raise PosteriorError("the curvature is zero: fit it on at least one image first")
        if abs(update - tau) <= 1e-10 * tau:
            break
        tau = update
    return posterior.with_prior_precision(tau)
