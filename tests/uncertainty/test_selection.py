from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lfusion.errors import NotFittedError, PosteriorError
from lfusion.uncertainty import (
    HeldOut,
    LastLayerLaplace,
    Structure,
    fit_held_out,
    fit_prior_precision,
    held_out_nll,
    log_marginal_likelihood,
)

Head = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
MakeHead = Callable[..., Head]
DATA_STRUCTURES = [s for s in Structure if s is not Structure.PRIOR_ONLY]


@pytest.mark.parametrize("structure", DATA_STRUCTURES)
def test_the_fitted_prior_precision_maximises_the_marginal_likelihood(
    make_head: MakeHead, structure: Structure
) -> None:
    posterior = LastLayerLaplace.fit(*make_head(3), structure=structure, posterior_temperature=10.0)
    fitted = fit_prior_precision(posterior)
    best = log_marginal_likelihood(fitted, -50.0)
    for factor in (0.5, 0.9, 1.1, 2.0):
        other = fitted.with_prior_precision(fitted.prior_precision * factor)
        assert log_marginal_likelihood(other, -50.0) < best


def test_without_data_the_prior_is_the_one_that_makes_the_weights_most_likely() -> None:
    # six weights of 2: a variance of 4 each
    posterior = LastLayerLaplace.fit(
        torch.ones(1, 2, 2, 2), 2 * torch.ones(2, 2), 2 * torch.ones(2), structure="prior_only"
    )
    assert fit_prior_precision(posterior).prior_precision == pytest.approx(1 / 4)


def test_the_marginal_likelihood_by_hand() -> None:
    # one pixel φ̃ = [1, 1], equal logits: the only eigenvalue of G is ½·2 = 1
    posterior = LastLayerLaplace.fit(
        torch.ones(1, 1, 1, 1),
        torch.ones(2, 1),
        None,
        prior_precision=0.5,
        posterior_temperature=4.0,
    )
    expected = math.log(0.5) / 4 - 0.5 * 0.5 * 2 - 0.5 * math.log(1 + 0.25 / 0.5)
    assert log_marginal_likelihood(posterior, math.log(0.5)) == pytest.approx(expected)


@pytest.mark.parametrize("structure", DATA_STRUCTURES)
def test_the_marginal_likelihood_rises_with_the_posterior_temperature_without_end(
    make_head: MakeHead, structure: Structure
) -> None:
    """So it cannot choose κ; the docstring says so, and held-out images can."""
    posterior = LastLayerLaplace.fit(*make_head(3), structure=structure)
    evidence = [
        log_marginal_likelihood(replace(posterior, posterior_temperature=kappa), -50.0)
        for kappa in (1.0, 10.0, 1e2, 1e3, 1e4)
    ]
    assert evidence == sorted(evidence)


def test_the_held_out_loss_by_hand() -> None:
    features = torch.ones(1, 1, 1, 3)
    posterior = LastLayerLaplace.fit(features, torch.tensor([[0.0], [math.log(3)]]), None)
    sure = posterior.with_prior_precision(1e9)  # p = ¼, ¾
    target = torch.tensor([[[0, 1, -1]]])
    expected = -(math.log(0.25) + math.log(0.75)) / 2
    assert held_out_nll(sure, [HeldOut(features, target)]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("structure", DATA_STRUCTURES)
def test_held_out_images_tell_whether_the_head_is_to_be_trusted(structure: Structure) -> None:
    """A sure head that is right should stay sure; one that errs should doubt itself."""
    chance = torch.Generator().manual_seed(0)
    features = torch.randn(1, 2, 10, 10, generator=chance)
    weight = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
    posterior = LastLayerLaplace.fit(
        features, weight, None, structure=structure, prior_precision=0.05
    )
    right = posterior.mean_logits(features).argmax(1)
    guessed = torch.randint(2, (1, 10, 10), generator=chance)
    grid = (0.1, 1.0, 10.0, 100.0)
    trusted, doubted = (
        fit_held_out(
            posterior,
            [HeldOut(features, target)],
            posterior_temperatures=grid,
            prior_precisions=(0.05,),
        )
        for target in (right, guessed)
    )
    assert trusted.posterior_temperature == 0.1
    assert doubted.posterior_temperature == 100.0
    # of a grid over both, the best is at least as good as every other point
    held_out = [HeldOut(features, guessed)]
    best = fit_held_out(
        posterior, held_out, posterior_temperatures=grid, prior_precisions=(0.01, 1.0)
    )
    least = held_out_nll(best, held_out)
    for kappa in grid:
        for tau in (0.01, 1.0):
            other = replace(posterior, posterior_temperature=kappa, prior_precision=tau)
            assert least <= held_out_nll(other, held_out)


def test_by_default_each_posterior_temperature_meets_its_own_prior(make_head: MakeHead) -> None:
    features, weight, bias = make_head(3)
    posterior = LastLayerLaplace.fit(features, weight, bias)
    held_out = [HeldOut(features, posterior.mean_logits(features).argmax(1))]
    best = fit_held_out(posterior, held_out, posterior_temperatures=(3.0,))
    expected = fit_prior_precision(replace(posterior, posterior_temperature=3.0))
    assert best.posterior_temperature == 3.0
    assert best.prior_precision == expected.prior_precision


def test_held_out_images_that_cannot_be_used_are_refused(make_head: MakeHead) -> None:
    features, weight, bias = make_head(3)
    posterior = LastLayerLaplace.fit(features, weight, bias)
    unlabelled = HeldOut(features, torch.full((4, 5, 6), -1))
    with pytest.raises(NotFittedError, match="no labelled pixel"):
        fit_held_out(posterior, [unlabelled])
    with pytest.raises(NotFittedError, match="no labelled pixel"):
        held_out_nll(posterior, [])
    with pytest.raises(PosteriorError, match=r"below 3.*got 7"):
        held_out_nll(posterior, [HeldOut(features, torch.full((4, 5, 6), 7))])
    with pytest.raises(ValueError, match="at least one κ"):
        fit_held_out(posterior, [unlabelled], posterior_temperatures=())
