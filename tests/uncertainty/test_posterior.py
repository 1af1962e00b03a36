from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.errors import PosteriorError
from lfusion.uncertainty import (
    FullCurvature,
    LastLayerLaplace,
    fit_prior_precision,
    log_marginal_likelihood,
    sample_weights,
)
from lfusion.uncertainty.curvature import with_bias
from lfusion.uncertainty.gauge import contrast_basis

MakePosterior = Callable[[int], tuple[LastLayerLaplace, torch.Tensor]]


def _posterior(weight: torch.Tensor, ggn: torch.Tensor, tau: float = 1.0) -> LastLayerLaplace:
    return LastLayerLaplace(weight.double(), FullCurvature(ggn.double()), tau)


def _sigma(posterior: LastLayerLaplace) -> torch.Tensor:
    """Σ = (G/κ + τI)⁻¹, written down."""
    identity = torch.eye(len(posterior.ggn), dtype=torch.float64)
    kappa, tau = posterior.posterior_temperature, posterior.prior_precision
    inverse: torch.Tensor = torch.linalg.inv(posterior.ggn / kappa + tau * identity)
    return inverse


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_basis_is_orthonormal_and_blind_to_a_common_shift(classes: int) -> None:
    basis = contrast_basis(classes, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(basis.T @ basis, torch.eye(classes - 1, dtype=torch.float64))
    assert (basis.sum(0).abs() < 1e-15).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_predictive_covariance_is_that_of_explicit_jacobians(
    make_posterior: MakePosterior, classes: int
) -> None:
    posterior, features = make_posterior(classes)
    fast = posterior.covariance.contrasts(features)
    basis = contrast_basis(classes, posterior.ggn)
    sigma = _sigma(posterior)
    for pixel, phi in enumerate(with_bias(features)):
        jacobian = torch.kron(torch.eye(classes, dtype=phi.dtype), phi[None])
        slow = basis.T @ jacobian @ sigma @ jacobian.T @ basis
        row, column = divmod(pixel, features.shape[-1])
        torch.testing.assert_close(fast[0, :, :, row, column], slow, rtol=1e-9, atol=1e-12)


def test_the_covariance_is_that_of_sampled_heads(make_posterior: MakePosterior) -> None:
    posterior, _ = make_posterior(3)
    heads = sample_weights(posterior, 40_000, torch.Generator().manual_seed(0))
    sampled = torch.cov(heads.flatten(1).T)
    exact = _sigma(posterior)
    assert (sampled - exact).abs().max() < 0.05 * exact.diagonal().max()


def test_the_common_shift_of_all_logits_is_left_out(make_posterior: MakePosterior) -> None:
    """The gauge trap: that direction keeps the prior's variance and would drown the rest."""
    posterior, features = make_posterior(3)
    weak_prior = posterior.with_prior_precision(1e-6)
    phi = with_bias(features)
    sigma = _sigma(weak_prior).view(3, 5, 3, 5)
    raw = torch.einsum("pi,iaj,pj->pa", phi, sigma.diagonal(dim1=0, dim2=2).movedim(-1, 1), phi)
    projected = weak_prior.covariance.contrasts(features)
    # the raw variance is that of the prior, 1/τ; the contrasts' is what the data leave open
    assert raw.mean() > 1e5
    assert projected.diagonal(dim1=1, dim2=2).mean() < 1e3


@given(st.floats(1e-3, 1e3), st.floats(1.0, 100.0))
@settings(max_examples=30, deadline=None)
def test_a_larger_prior_precision_never_increases_the_variance(tau: float, factor: float) -> None:
    chance = torch.Generator().manual_seed(3)
    phi = torch.randn(20, 6, generator=chance, dtype=torch.float64)
    weak = _posterior(torch.ones(2, 3), phi.T @ phi, tau)
    strong = weak.with_prior_precision(tau * factor)
    features = torch.randn(1, 2, 4, 4, generator=chance, dtype=torch.float64)
    wide, narrow = (p.covariance.contrasts(features) for p in (weak, strong))
    assert (narrow <= wide * (1 + 1e-9)).all()


def test_the_fitted_prior_precision_maximises_the_marginal_likelihood(
    make_posterior: MakePosterior,
) -> None:
    fitted = fit_prior_precision(make_posterior(3)[0])
    best = log_marginal_likelihood(fitted, -50.0)
    for factor in (0.5, 0.9, 1.1, 2.0):
        other = fitted.with_prior_precision(fitted.prior_precision * factor)
        assert log_marginal_likelihood(other, -50.0) < best


@pytest.mark.parametrize(
    ("ggn", "tau", "message"),
    [
        (torch.eye(5), 1.0, "expected a curvature of 6 weights"),
        (torch.eye(6) * torch.nan, 1.0, "not finite"),
        (torch.eye(6), 0.0, "positive prior precision"),
    ],
)
def test_what_is_no_posterior_is_refused(ggn: torch.Tensor, tau: float, message: str) -> None:
    with pytest.raises(PosteriorError, match=message):
        _posterior(torch.ones(2, 3), ggn, tau)


def test_a_curvature_that_is_no_gram_matrix_is_refused() -> None:
    posterior = _posterior(torch.ones(2, 3), -1e6 * torch.eye(6))
    with pytest.raises(PosteriorError, match="not positive definite"):
        _ = posterior.covariance


def test_a_head_of_zeros_has_no_best_prior() -> None:
    with pytest.raises(PosteriorError, match="all zero"):
        fit_prior_precision(_posterior(torch.zeros(2, 3), torch.eye(6)))
