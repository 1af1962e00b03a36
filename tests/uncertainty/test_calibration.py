from __future__ import annotations

import numpy as np
import pytest
import torch

from lfusion.errors import NotFittedError
from lfusion.uncertainty.calibration import Calibration, fit_temperature, reference_scores
from lfusion.uncertainty.quadrature import gaussian_nodes


def test_the_percentile_counts_ties_half() -> None:
    calibration = Calibration(reference={"total_mean": np.array([1.0, 2.0, 2.0, 3.0])})
    assert calibration.percentile("total_mean", 2.0) == 50
    assert calibration.percentile("total_mean", 0.0) == 0
    assert calibration.percentile("total_mean", 9.0) == 100


def test_a_score_without_reference_is_named() -> None:
    with pytest.raises(NotFittedError, match="'egad'; fitted are total_mean"):
        Calibration(reference={"total_mean": np.zeros(1)}).percentile("egad", 1.0)


def test_references_are_sorted_per_score() -> None:
    found = reference_scores([{"a": 2.0, "b": 1.0}, {"a": 1.0, "b": 3.0}])
    assert {name: values.tolist() for name, values in found.items()} == {
        "a": [1.0, 2.0],
        "b": [1.0, 3.0],
    }


def test_the_temperature_that_made_overconfident_logits_is_found() -> None:
    chance = torch.Generator().manual_seed(0)
    honest = torch.randn(20_000, 2, generator=chance, dtype=torch.float64)
    labels = torch.multinomial(honest.softmax(1), 1, generator=chance)[:, 0]

    def loss(temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(3 * honest / temperature, labels))

    assert fit_temperature(loss) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize(("dim", "n"), [(1, 5), (1, 9), (2, 16), (3, 16)])
def test_quadrature_nodes_have_the_moments_of_a_gaussian(dim: int, n: int) -> None:
    nodes, weights = gaussian_nodes(dim, n)
    assert nodes.shape == (n, dim)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(), 1)
    np.testing.assert_allclose(weights @ nodes, np.zeros(dim), atol=1e-12)
    np.testing.assert_allclose((nodes * weights[:, None]).T @ nodes, np.eye(dim), atol=1e-12)


def test_too_few_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="even number of nodes of at least 6"):
        gaussian_nodes(3, 5)


def test_conformal_p_values_by_hand() -> None:
    calibration = Calibration(reference={"u": np.array([1.0, 2.0, 3.0, 4.0])})
    assert calibration.p_value("u", 5.0) == pytest.approx(1 / 5)
    assert calibration.p_value("u", 3.0) == pytest.approx(3 / 5)  # a tie counts as as large
    assert calibration.p_value("u", 0.0) == 1.0


def test_false_alarms_stay_below_the_stated_rate() -> None:
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(400):
        calibration = Calibration(reference={"u": np.sort(rng.gumbel(size=79))})
        alarms += [calibration.p_value("u", float(value)) <= 0.05 for value in rng.gumbel(size=20)]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.01)


def test_standardised_scores_by_hand() -> None:
    calibration = Calibration(reference={"u": np.array([1.0, 3.0])})
    assert calibration.standardised("u", 4.0) == pytest.approx(2.0)
    with pytest.raises(NotFittedError, match="lfusion calibrate"):
        calibration.standardised("v", 4.0)
