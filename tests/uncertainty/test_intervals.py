"""Variances of what is read off a segmentation, by hand, by brute force and by autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.model.distribution import LogitDistribution
from lfusion.uncertainty import LastLayerLaplace
from lfusion.uncertainty.gauge import contrast_basis
from lfusion.uncertainty.intervals import area_weights, conformal_factor, linear_variance
from lfusion.uncertainty.structure import Structure

STRUCTURES = tuple(Structure)


def posterior(classes: int, structure: Structure) -> tuple[LastLayerLaplace, torch.Tensor]:
    chance = torch.Generator().manual_seed(classes)
    features = torch.randn(1, 3, 4, 5, generator=chance, dtype=torch.float64)
    weight = torch.randn(classes, 3, generator=chance, dtype=torch.float64)
    return LastLayerLaplace.fit(features, weight, None, structure=structure), features


def distribution(classes: int, seed: int = 0) -> LogitDistribution:
    chance = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(1, classes, *shape, 4, 5, generator=chance, dtype=torch.float64)

    return LogitDistribution(mean=draw(), scale=draw().abs(), factor=draw(2))


def blind(weights: torch.Tensor) -> torch.Tensor:
    return weights - weights.mean(1, keepdim=True)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_variance_of_one_contrast_is_that_of_the_epistemic_map(
    classes: int, structure: Structure
) -> None:
    fitted, features = posterior(classes, structure)
    basis = contrast_basis(classes, features)
    weights = features.new_zeros(classes - 1, classes, 4, 5)
    weights[:, :, 2, 3] = basis.T
    found = linear_variance(weights, distribution(classes), features, fitted.covariance)
    expected = fitted.covariance.contrasts(features)[0, :, :, 2, 3].diagonal()
    assert found.epistemic.tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_all_parts_are_those_of_the_full_covariance_of_all_logits(
    classes: int, structure: Structure
) -> None:
    fitted, features = posterior(classes, structure)
    logits = distribution(classes)
    chance = torch.Generator().manual_seed(1)
    weights = blind(torch.randn(3, classes, 4, 5, generator=chance, dtype=torch.float64))
    found = linear_variance(weights, logits, features, fitted.covariance)
    rows = weights.flatten(1)
    factor = logits.factor[0].movedim(1, -1).flatten(0, 2)
    assert found.shared.tolist() == pytest.approx((rows @ factor @ factor.T @ rows.T).diagonal())
    own = torch.diag(logits.scale.square().flatten())
    assert found.own.tolist() == pytest.approx((rows @ own @ rows.T).diagonal())
    heads = fitted.covariance.sample(40_000, torch.Generator().manual_seed(2))
    phi = torch.cat((features[0], torch.ones(1, 4, 5)))
    drawn = torch.einsum("ncd,dhw,qchw->nq", heads, phi, weights)
    assert found.epistemic.tolist() == pytest.approx(drawn.var(0).tolist(), rel=0.05)
    assert found.total.tolist() == pytest.approx(
        (found.epistemic + found.shared + found.own).tolist()
    )


def test_area_of_two_undecided_pixels_by_hand() -> None:
    """dp/dz is 1/4 in each; one shared deviation of 2 logits moves the area by 2·2/4 = 1."""
    features = torch.zeros(1, 1, 1, 2)
    factor = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1, 1).expand(1, 2, 1, 1, 2)
    scale = torch.tensor([0.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    logits = LogitDistribution(torch.zeros(1, 2, 1, 2), scale, factor)
    fitted = LastLayerLaplace.fit(
        features.double(), torch.zeros(2, 1).double(), None, posterior_temperature=1.0
    )
    weights = area_weights(logits.mean[0])
    found = linear_variance(weights, logits, features, fitted.covariance.to(features))
    assert found.shared.tolist() == pytest.approx([1, 1])
    assert found.own.tolist() == pytest.approx([2 * (3 / 4) ** 2] * 2)
    # Bias only, τ = 1: the precision along (1, −1)/√2 is 1 + 1, so Var[δz_1 − δz_0] = 2 / 2.
    assert found.epistemic.tolist() == pytest.approx([2**2 / 16 * 1] * 2, rel=1e-5)


def test_area_follows_the_logits_as_autograd_says() -> None:
    mean = distribution(3).mean[0]
    for number in range(3):
        leaf = mean.clone().requires_grad_()
        leaf.softmax(0)[number].sum().backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        assert torch.allclose(area_weights(mean)[number], leaf.grad)


def test_one_image_at_a_time() -> None:
    fitted, features = posterior(2, Structure.FULL)
    pair = torch.zeros(2, 2, 4, 5).double()
    logits = LogitDistribution(pair, pair, torch.zeros(2, 2, 1, 4, 5).double())
    with pytest.raises(ValueError, match="batch of 2"):
        linear_variance(pair[:1], logits, features, fitted.covariance)


class TestConformal:
    @pytest.mark.parametrize(
        ("count", "level", "rank"), [(9, 0.9, 9), (8, 0.9, None), (19, 0.9, 18), (86, 0.9, 79)]
    )
    def test_rank_by_hand(self, count: int, level: float, rank: int | None) -> None:
        errors = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
        assert conformal_factor(errors, level) == rank

    @given(
        errors=st.lists(st.floats(0, 100), min_size=5, max_size=40),
        level=st.floats(0.1, 0.95),
    )
    @settings(deadline=None)
    def test_it_covers_each_in_turn_often_enough(self, errors: list[float], level: float) -> None:
        covered = 0
        for left_out, error in enumerate(errors):
            factor = conformal_factor(errors[:left_out] + errors[left_out + 1 :], level)
            covered += factor is None or error <= factor
        assert covered >= math.floor(level * len(errors))

    @pytest.mark.parametrize("errors", [[-1.0], [math.nan], [math.inf]])
    def test_bad_errors(self, errors: list[float]) -> None:
        with pytest.raises(ValueError, match="finite errors"):
            conformal_factor(errors, 0.5)

    @pytest.mark.parametrize("level", [0.0, 1.0, 90.0])
    def test_bad_level(self, level: float) -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            conformal_factor([1.0], level)
