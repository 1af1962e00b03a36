"""What one image tells a posterior."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lfusion.acquisition import information_gain
from lfusion.uncertainty import LastLayerLaplace, full_ggn, softmax_curvature
from lfusion.uncertainty.gauge import contrast_basis
from lfusion.uncertainty.information import whitened_information
from lfusion.uncertainty.structure import Structure

CLASSES, DIM = 3, 4


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, DIM, 6, 5, generator=torch.Generator().manual_seed(0))


def fitted(features: torch.Tensor, structure: Structure) -> LastLayerLaplace:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(CLASSES, DIM, generator=generator)
    return LastLayerLaplace.fit(
        features[:1],
        weight,
        torch.zeros(CLASSES),
        structure=structure,
        prior_precision=2.0,
        posterior_temperature=3.0,
    )


def curvature_of(image: torch.Tensor, posterior: LastLayerLaplace) -> torch.Tensor:
    probabilities = posterior.mean_logits(image).softmax(1)
    return full_ggn(image, softmax_curvature(probabilities), image.new_ones(1, 1, 6, 5))


def test_the_gain_is_how_much_the_whole_posterior_shrinks(features: torch.Tensor) -> None:
    posterior = fitted(features, Structure.FULL)
    ggn = curvature_of(features[1:], posterior)
    found = float(information_gain(whitened_information(ggn, posterior).numpy()))
    identity = torch.eye(CLASSES * (DIM + 1), dtype=torch.float64)
    before = posterior.ggn / 3 + 2 * identity
    expected = 0.5 * (torch.logdet(before + ggn / 3) - torch.logdet(before))
    # the softmax is single precision, so its curvature is blind to the gauge only as far as that
    assert found == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("structure", list(Structure))
def test_every_structure_has_the_factor_of_its_own_covariance(
    features: torch.Tensor, structure: Structure
) -> None:
    posterior = fitted(features, structure)
    factor = posterior.covariance.contrast_factor()
    gradient = torch.randn(7, CLASSES, DIM + 1, dtype=torch.float64)
    gradient -= gradient.mean(1, keepdim=True)
    contrasts = torch.einsum("ncd,ck->nkd", gradient, contrast_basis(CLASSES, gradient)).flatten(1)
    np.testing.assert_allclose(
        (contrasts @ factor).square().sum(1), posterior.covariance.quadratic(gradient), rtol=1e-9
    )
