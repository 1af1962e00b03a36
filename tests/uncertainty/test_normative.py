from __future__ import annotations

import pytest
import torch

from lfusion.errors import NotFittedError
from lfusion.uncertainty.normative import DENSITY, NormalDensity, discriminant, fit_normative


def _gaussian(samples: int, covariance: torch.Tensor, seed: int = 0) -> torch.Tensor:
    noise = torch.Generator().manual_seed(seed)
    draws = torch.randn(samples, len(covariance), generator=noise, dtype=torch.float64)
    coloured: torch.Tensor = draws @ torch.linalg.cholesky(covariance).T
    return coloured


COVARIANCE = torch.tensor([[4.0, 1.0, 0.0], [1.0, 1.0, 0.2], [0.0, 0.2, 0.25]]).double()


@pytest.mark.parametrize("rank", [None, 3])
def test_the_density_is_that_of_many_samples(rank: int | None) -> None:
    density = NormalDensity.fit(_gaussian(200_000, COVARIANCE) + 5, rank)
    precision = density.whitening @ density.whitening.T
    torch.testing.assert_close(precision, torch.linalg.inv(COVARIANCE), rtol=0.05, atol=0.02)
    torch.testing.assert_close(density.mean, torch.full((3,), 5.0).double(), rtol=0.01, atol=0)
    normal = density.distance(_gaussian(5000, COVARIANCE, seed=1) + 5)
    assert float(normal.square().mean()) == pytest.approx(1.0, abs=0.05)


def test_fewer_samples_than_features_still_make_a_density() -> None:
    density = NormalDensity.fit(_gaussian(10, torch.eye(40).double()))
    near, far = torch.zeros(40).double(), torch.full((40,), 3.0).double()
    assert torch.isfinite(density.whitening).all()
    assert density.distance(far) > 2 * density.distance(near)


def test_a_constant_feature_is_no_obstacle() -> None:
    samples = _gaussian(50, COVARIANCE)
    samples[:, 1] = 7.0
    density = NormalDensity.fit(samples)
    assert torch.isfinite(density.distance(samples)).all()


def test_columns_of_a_ranked_density_fall_in_variance() -> None:
    density = NormalDensity.fit(_gaussian(10_000, COVARIANCE), 2)
    # a column is an axis over its standard deviation
    deviations = 1 / density.whitening.norm(dim=0)
    assert deviations[0] > deviations[1]
    largest = float(torch.linalg.eigvalsh(COVARIANCE)[-1] ** 0.5)
    assert float(deviations[0]) == pytest.approx(largest, rel=0.05)


def test_one_image_is_not_enough() -> None:
    with pytest.raises(NotFittedError, match="two normal images"):
        NormalDensity.fit(torch.zeros(1, 3))


def test_the_discriminant_looks_where_the_groups_differ() -> None:
    normal = _gaussian(500, COVARIANCE)
    shifted = _gaussian(500, COVARIANCE, seed=1) + torch.tensor([0.0, 0.0, 1.0])
    way = discriminant(normal, shifted)
    assert (shifted @ way).mean() > (normal @ way).mean()
    gap = (shifted @ way).mean() - (normal @ way).mean()
    assert gap / (normal @ way).std() > 2.0  # the raw feature tells them apart by 2.0


def test_signals_rise_with_what_they_look_for() -> None:
    normal = _gaussian(400, COVARIANCE)
    dim = torch.tensor([0.0, -2.0, 0.0])
    model = fit_normative(normal, normal, {"gain": normal + dim})
    usual = model.signals(normal[0] * 0)
    assert set(usual) == {DENSITY, "gain"}
    darker = model.signals(dim)
    strange = model.signals(torch.tensor([20.0, 0.0, 0.0]))
    assert darker["gain"] > usual["gain"]
    assert strange[DENSITY] > darker[DENSITY] > usual[DENSITY]
    patches = torch.zeros(3, 2, 4)
    patches[:, 1, 3] = torch.tensor([0.0, 0.0, 9.0])
    found = model.unfamiliarity(patches)
    assert found.shape == (2, 4)
    assert int(found.argmax()) == 7
