"""Each structure against its definition, made from the Hessian that autograd finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.errors import PosteriorError
from lfusion.uncertainty import LastLayerLaplace, Structure, sample_weights
from lfusion.uncertainty.curvature import with_bias
from lfusion.uncertainty.gauge import contrast_basis

Head = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
MakeHead = Callable[..., Head]
KAPPA, TAU = 7.0, 0.3
DATA_STRUCTURES = [s for s in Structure if s is not Structure.PRIOR_ONLY]


def _hessian(head: Head) -> torch.Tensor:
    """Of the summed cross-entropy in [W, b], rows ordered class by class."""
    features, weight, bias = head
    phi = with_bias(features)
    labels = torch.randint(len(weight), (len(phi),), generator=torch.Generator().manual_seed(1))

    def loss(flat: torch.Tensor) -> torch.Tensor:
        logits = phi @ flat.view(len(weight), -1).T
        return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

    start = torch.cat((weight, bias[:, None]), 1).flatten()
    hessian: torch.Tensor = torch.autograd.functional.hessian(loss, start)  # type: ignore[no-untyped-call]
    return hessian


def _definition(structure: Structure, head: Head) -> torch.Tensor:
    """The dense matrix that a structure stands for."""
    hessian = _hessian(head)
    phi, classes = with_bias(head[0]), len(head[1])
    dim = phi.shape[1]
    if structure is Structure.FULL:
        return hessian
    if structure is Structure.BLOCK:
        same_class = torch.eye(classes).repeat_interleave(dim, 0).repeat_interleave(dim, 1)
        return hessian * same_class
    if structure is Structure.DIAG:
        return hessian.diagonal().diag()
    if structure is Structure.KRON:
        # the Hessian in the biases alone is the sum of Λ
        summed = hessian.view(classes, dim, classes, dim)[:, -1, :, -1]
        return torch.kron(summed, phi.T @ phi / len(phi))
    return torch.zeros_like(hessian)


def _sigma(structure: Structure, head: Head) -> torch.Tensor:
    dense = _definition(structure, head)
    identity = torch.eye(len(dense), dtype=torch.float64)
    inverse: torch.Tensor = torch.linalg.inv(dense / KAPPA + TAU * identity)
    return inverse


def _fit(head: Head, structure: Structure) -> LastLayerLaplace:
    return LastLayerLaplace.fit(
        *head, structure=structure, prior_precision=TAU, posterior_temperature=KAPPA
    )


@pytest.mark.parametrize("structure", Structure)
@pytest.mark.parametrize("classes", [2, 4])
def test_the_predictive_covariance_is_that_of_the_hessian(
    make_head: MakeHead, classes: int, structure: Structure
) -> None:
    head = make_head(classes)
    phi = with_bias(head[0])
    basis = contrast_basis(classes, phi)
    sigma = _sigma(structure, head).view(classes, 4, classes, 4)
    slow = torch.einsum("pi,aibj,pj,ak,bl->pkl", phi, sigma, phi, basis, basis)
    fast = _fit(head, structure).covariance.contrasts(head[0])
    torch.testing.assert_close(fast.movedim((1, 2), (-2, -1)).flatten(0, 2), slow)


@pytest.mark.parametrize("structure", Structure)
def test_the_spectrum_is_that_of_the_dense_matrix(
    make_head: MakeHead, structure: Structure
) -> None:
    head = make_head(3)
    spectrum = _fit(head, structure).curvature.spectrum(KAPPA)
    dense = torch.linalg.eigvalsh(_definition(structure, head) / KAPPA)
    torch.testing.assert_close(spectrum.sort().values, dense, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("structure", Structure)
def test_sampled_heads_have_the_covariance(make_head: MakeHead, structure: Structure) -> None:
    head = make_head(3)
    posterior = _fit(head, structure)
    heads = sample_weights(posterior, 40_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(heads.mean(0), posterior.weight, rtol=0, atol=0.05)
    exact = _sigma(structure, head)
    assert (torch.cov(heads.flatten(1).T) - exact).abs().max() < 0.05 * exact.diagonal().max()


@pytest.mark.parametrize(
    ("structure", "numbers"),
    [
        (Structure.FULL, (5 * 4) ** 2),
        (Structure.BLOCK, 5 * 4**2),
        (Structure.KRON, 5**2 + 4**2 + 1),
        (Structure.DIAG, 5 * 4),
        (Structure.PRIOR_ONLY, 0),
    ],
)
def test_a_structure_holds_only_the_numbers_it_needs(
    make_head: MakeHead, structure: Structure, numbers: int
) -> None:
    kept = _fit(make_head(5), structure).curvature.tensors()
    assert sum(values.untyped_storage().nbytes() for values in kept) == 8 * numbers


@pytest.mark.parametrize("structure", [Structure.KRON, Structure.DIAG, Structure.PRIOR_ONLY])
def test_a_head_whose_dense_curvature_fits_no_memory(structure: Structure) -> None:
    # 100 classes × 1001 weights: 80 GB as one matrix
    posterior = LastLayerLaplace.fit(
        torch.randn(1, 1000, 2, 2), torch.randn(100, 1000), None, structure=structure
    )
    assert posterior.covariance.contrasts(torch.randn(1, 1000, 1, 1).double()).isfinite().all()


def test_kron_is_exact_when_the_curvature_is_the_same_everywhere(make_head: MakeHead) -> None:
    features, weight, bias = make_head(3)
    for head in ((features, 0 * weight, bias), (features[:1, :, :1, :1], weight, bias)):
        full, kron = (_fit(head, s).covariance for s in (Structure.FULL, Structure.KRON))
        torch.testing.assert_close(full.contrasts(features), kron.contrasts(features))


def test_diag_is_block_when_the_features_are_orthogonal() -> None:
    # the columns of a Hadamard matrix; its first is the bias
    signs = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]], dtype=torch.float64)
    features = signs.T.reshape(1, 3, 2, 2)
    head = (features, torch.zeros(3, 3).double(), torch.tensor([0.0, 1.0, -1.0]).double())
    block, diag = (_fit(head, s).covariance for s in (Structure.BLOCK, Structure.DIAG))
    torch.testing.assert_close(block.contrasts(features), diag.contrasts(features))


@pytest.mark.parametrize("structure", DATA_STRUCTURES)
def test_with_data_that_count_nothing_every_structure_is_the_prior(
    make_head: MakeHead, structure: Structure
) -> None:
    features, weight, bias = make_head(3)
    arguments = (features, weight, bias)
    tempered = LastLayerLaplace.fit(
        *arguments, structure=structure, prior_precision=TAU, posterior_temperature=1e15
    )
    prior = _fit(arguments, Structure.PRIOR_ONLY)
    by_hand = with_bias(features).square().sum(1).view(4, 5, 6) / TAU
    torch.testing.assert_close(prior.covariance.contrasts(features)[:, 0, 0], by_hand)
    torch.testing.assert_close(
        tempered.covariance.contrasts(features), prior.covariance.contrasts(features)
    )


@given(
    structure=st.sampled_from(Structure),
    classes=st.integers(2, 4),
    seed=st.integers(0, 2**31),
    tau=st.floats(1e-3, 1e3),
    factor=st.floats(1.0, 100.0),
)
@settings(max_examples=40, deadline=None)
def test_a_larger_prior_precision_never_increases_the_variance(
    structure: Structure, classes: int, seed: int, tau: float, factor: float
) -> None:
    chance = torch.Generator().manual_seed(seed)
    features = torch.randn(1, 3, 3, 4, generator=chance, dtype=torch.float64)
    weight = torch.randn(classes, 3, generator=chance, dtype=torch.float64)
    weak = LastLayerLaplace.fit(features, weight, None, structure=structure, prior_precision=tau)
    strong = weak.with_prior_precision(tau * factor)
    wide, narrow = (
        p.covariance.contrasts(features).movedim((1, 2), (-2, -1)) for p in (weak, strong)
    )
    # not only each variance: no direction between classes gains
    lost = torch.linalg.eigvalsh(wide - narrow)
    assert lost.min() >= -1e-9 * wide.abs().max()


@pytest.mark.parametrize("structure", DATA_STRUCTURES)
def test_what_is_no_sum_over_pixels_is_no_posterior(
    make_head: MakeHead, structure: Structure
) -> None:
    posterior = _fit(make_head(3), structure)
    negative = posterior.curvature - posterior.curvature - posterior.curvature
    refused = LastLayerLaplace(posterior.weight, negative, 1e-9, 1e-3)
    with pytest.raises(PosteriorError, match="not positive definite"):
        _ = refused.covariance
