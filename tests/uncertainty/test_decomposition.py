from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lfusion.model import LogitDistribution
from lfusion.uncertainty import (
    LastLayerLaplace,
    decompose,
    decompose_monte_carlo,
    gauge_projected,
)
from lfusion.uncertainty.decomposition import entropy, square_root
from lfusion.uncertainty.gauge import contrast_basis
from lfusion.uncertainty.quadrature import few_nodes, gaussian_nodes

MakePosterior = Callable[[int], tuple[LastLayerLaplace, torch.Tensor]]


def _field(
    classes: int, seed: int, epistemic: float, aleatoric: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random μ, V and A with the given standard deviations on a 6×7 grid."""
    chance = torch.Generator().manual_seed(seed)
    mean = 3 * torch.randn(1, classes, 6, 7, generator=chance)
    covariances = []
    for scale in (epistemic, aleatoric):
        root = torch.randn(1, classes - 1, classes - 1, 6, 7, generator=chance)
        covariances.append(scale**2 * torch.einsum("bikhw,bjkhw->bijhw", root, root))
    return mean, covariances[0], covariances[1]


@given(
    st.integers(2, 4),
    st.integers(0, 2**31),
    st.floats(0, 30),
    st.floats(0, 30),
)
@settings(max_examples=60, deadline=None)
def test_no_term_is_negative_and_they_sum_to_the_total(
    classes: int, seed: int, epistemic: float, aleatoric: float
) -> None:
    terms = decompose(*_field(classes, seed, epistemic, aleatoric))
    for term in (terms.mutual_information, terms.logit_ambiguity, terms.residual_entropy):
        assert (term >= 0).all()
    total = entropy(terms.probabilities, 1)
    torch.testing.assert_close(terms.predictive_entropy, total, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        terms.mutual_information + terms.expected_entropy, total, rtol=0, atol=1e-5
    )
    assert (total <= math.log(classes) + 1e-5).all()
    # E KL(p_θ ‖ p_θ′) = I(y;θ) + E KL(E p ‖ p_θ)
    assert (terms.expected_pairwise_kl >= terms.mutual_information - 1e-5).all()
    assert torch.isfinite(terms.expected_pairwise_kl).all()
    assert (terms.pixel_variance >= 0).all()
    assert (terms.pixel_variance <= 1 - 1 / classes + 1e-5).all()


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_a_collapsed_posterior_gives_exactly_zero_epistemic(classes: int) -> None:
    mean, _, aleatoric = _field(classes, 1, 0.0, 2.0)
    terms = decompose(mean, torch.zeros_like(aleatoric), aleatoric)
    assert (terms.mutual_information == 0).all()
    assert (terms.expected_pairwise_kl == 0).all()
    assert (terms.pixel_variance == 0).all()
    assert terms.logit_ambiguity.max() > 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_a_deterministic_head_has_residual_entropy_only(classes: int) -> None:
    none = torch.zeros(1, classes - 1, classes - 1, 2, 2)
    terms = decompose(torch.zeros(1, classes, 2, 2), none, none)
    torch.testing.assert_close(terms.residual_entropy, torch.full((1, 2, 2), math.log(classes)))
    assert terms.mutual_information.max() == 0
    assert terms.logit_ambiguity.max() < 1e-6


def test_knowing_nothing_of_the_head_is_all_epistemic() -> None:
    """Logits ±∞ with equal chance: each head is sure, and they disagree. MI → ln 2."""
    wide = torch.full((1, 1, 1, 1, 1), 1e8)
    terms = decompose(torch.zeros(1, 2, 1, 1), wide, torch.zeros_like(wide), theta_nodes=6)
    assert float(terms.mutual_information) == pytest.approx(math.log(2), abs=1e-5)
    assert float(terms.expected_entropy) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_disagreement_is_that_of_all_pairs_of_heads(classes: int) -> None:
    """Two nodes for one direction of θ are two heads: KL and variance by their definitions."""
    root = torch.zeros(1, classes - 1, 1, 1, dtype=torch.float64)
    root[:, 0] = 0.7
    covariance = torch.einsum("bihw,bjhw->bijhw", root, root)
    mean = torch.linspace(-0.4, 0.9, classes, dtype=torch.float64).view(1, classes, 1, 1)
    terms = decompose(
        mean, covariance, torch.zeros_like(covariance), theta_nodes=2 if classes == 2 else 16
    )
    nodes, weights = gaussian_nodes(classes - 1, 2 if classes == 2 else 16)
    direction = 0.7 * contrast_basis(classes, mean)[:, 0]
    heads = [(mean.flatten() + float(node[0]) * direction).softmax(0) for node in nodes]
    kl, variance = 0.0, 0.0
    average = sum(w * p for w, p in zip(weights, heads, strict=True))
    for w, p in zip(weights, heads, strict=True):
        variance += w * float(((p - average) ** 2).sum())
        for v, q in zip(weights, heads, strict=True):
            kl += w * v * float((p * (p / q).log()).sum())
    assert kl > 0.01
    assert float(terms.expected_pairwise_kl) == pytest.approx(kl, rel=1e-6)
    assert float(terms.pixel_variance) == pytest.approx(variance, rel=1e-6)


def test_heads_that_are_sure_and_disagree_have_the_largest_variance() -> None:
    wide = torch.full((1, 1, 1, 1, 1), 1e8)
    terms = decompose(torch.zeros(1, 2, 1, 1), wide, torch.zeros_like(wide), theta_nodes=6)
    assert float(terms.pixel_variance) == pytest.approx(0.5, abs=1e-5)
    # half of the pairs disagree, each by −ln of the smallest probability that counts
    most = -math.log(torch.finfo(torch.float32).eps) / 2
    assert float(terms.expected_pairwise_kl) == pytest.approx(most, rel=0.01)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_collapsed_posterior_has_no_sampled_disagreement(
    make_posterior: MakePosterior, classes: int
) -> None:
    posterior, features = make_posterior(classes)
    mean = posterior.mean_logits(features)
    noise = torch.zeros(1, classes, 1, *mean.shape[2:], dtype=torch.float64)
    terms = decompose_monte_carlo(
        features,
        LogitDistribution(mean, torch.ones_like(mean), noise),
        posterior.with_prior_precision(1e40),
        theta_samples=5,
        eta_samples=4,
        generator=torch.Generator().manual_seed(0),
    )
    assert (terms.expected_pairwise_kl == 0).all()
    assert (terms.pixel_variance == 0).all()


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_gauge_projected_covariance_is_pvp(classes: int) -> None:
    root = torch.randn(classes, classes, dtype=torch.float64)
    covariance = root @ root.T
    basis = contrast_basis(classes, covariance)
    contrasts = (basis.T @ covariance @ basis)[None, ..., None, None]
    projector = torch.eye(classes, dtype=torch.float64) - 1 / classes
    expected = projector @ covariance @ projector
    torch.testing.assert_close(gauge_projected(contrasts)[0, :, :, 0, 0], expected)


def test_a_shift_common_to_all_logits_changes_nothing() -> None:
    mean, epistemic, aleatoric = _field(3, 5, 1.0, 1.0)
    terms = decompose(mean, epistemic, aleatoric)
    shifted = decompose(mean + 7.0, epistemic, aleatoric)
    torch.testing.assert_close(terms.probabilities, shifted.probabilities)
    torch.testing.assert_close(
        terms.mutual_information, shifted.mutual_information, rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_the_closed_form_agrees_with_monte_carlo(
    make_posterior: MakePosterior, classes: int
) -> None:
    posterior, features = make_posterior(classes)
    posterior = posterior.with_prior_precision(20.0)
    chance = torch.Generator().manual_seed(2)
    shape = (1, classes, *features.shape[-2:])
    weight = posterior.weight
    mean = torch.einsum("bdhw,cd->bchw", features, weight[:, :-1]) + weight[:, -1, None, None]
    distribution = LogitDistribution(
        mean,
        torch.rand(shape, generator=chance, dtype=torch.float64),
        0.5 * torch.randn(1, classes, 2, *shape[2:], generator=chance, dtype=torch.float64),
    )
    closed = decompose(
        mean,
        posterior.covariance.contrasts(features),
        distribution.contrast_covariance(contrast_basis(classes, mean)),
    )
    sampled = decompose_monte_carlo(
        features, distribution, posterior, theta_samples=2000, eta_samples=400, generator=chance
    )
    torch.testing.assert_close(closed.probabilities, sampled.probabilities, rtol=0, atol=0.03)
    for name in (
        "mutual_information",
        "expected_entropy",
        "predictive_entropy",
        "expected_pairwise_kl",
        "pixel_variance",
    ):
        ours, theirs = (getattr(d, name).flatten() for d in (closed, sampled))
        assert spearmanr(ours, theirs).statistic >= 0.99, name
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.02)


@pytest.mark.parametrize(("dim", "fine", "n"), [(2, True, 7), (3, True, 13), (3, False, 6)])
def test_few_nodes_have_the_moments_of_a_gaussian(dim: int, fine: bool, n: int) -> None:
    nodes, weights = few_nodes(dim, fine=fine)
    assert len(nodes) == len(weights) == n
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights @ nodes, 0, atol=1e-12)
    np.testing.assert_allclose((nodes * weights[:, None]).T @ nodes, np.eye(dim), atol=1e-12)
    if fine:
        first, second = nodes[:, 0], nodes[:, 1]
        assert weights @ first**4 == pytest.approx(3)
        assert weights @ (first * second) ** 2 == pytest.approx(1)
        assert weights @ first**3 == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("classes", [3, 4])
def test_few_nodes_tell_the_same_as_many(classes: int) -> None:
    mean, epistemic, aleatoric = _field(classes, 5, 0.3, 0.7)
    few = decompose(mean, epistemic, aleatoric)
    many = decompose(mean, epistemic, aleatoric, theta_nodes=128, eta_nodes=128)
    for name in ("mutual_information", "expected_entropy", "predictive_entropy"):
        ours, theirs = (getattr(terms, name).flatten() for terms in (few, many))
        assert spearmanr(ours, theirs).statistic >= 0.99, name
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.02)


@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_the_square_root_is_one_also_of_a_singular_matrix(
    size: int, rank: int, seed: int, scale: float
) -> None:
    chance = torch.Generator().manual_seed(seed)
    factor = scale * torch.randn(1, size, rank, 2, 3, generator=chance, dtype=torch.float64)
    covariance = torch.einsum("birhw,bjrhw->bijhw", factor, factor)
    root = square_root(covariance)
    found = torch.einsum("bikhw,bjkhw->bijhw", root, root)
    torch.testing.assert_close(found, covariance, rtol=1e-6, atol=1e-6 * scale**2)
