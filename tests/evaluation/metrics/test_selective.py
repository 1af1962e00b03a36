"""Rank correlation and risk-coverage by hand, and scipy as an oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr

from lfusion.evaluation.metrics import aurc, excess_aurc, risk_coverage, spearman

Metric: TypeAlias = Callable[..., NDArray[np.float64]]

RISKS = np.array([0.0, 0.4, 0.2])


class TestSpearman:
    def test_order_is_all_that_counts(self) -> None:
        x = np.array([1.0, 2, 3, 4])
        assert float(spearman(x, np.exp(x))) == pytest.approx(1)
        assert float(spearman(x, -np.exp(x))) == pytest.approx(-1)

    def test_constant_has_none(self) -> None:
        assert np.isnan(spearman(np.ones(3), np.array([1.0, 2.0, 3.0])))

    @settings(deadline=None, max_examples=40)
    @given(seed=st.integers(0, 9999))
    def test_agrees_with_scipy_on_repeated_images(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        x, y = rng.integers(0, 7, (2, 15)).astype(float)
        weights = rng.integers(0, 3, (2, 15))
        weights[:, :2], x[:2], y[:2] = 1, (0, 1), (1, 0)  # both vary in every resample
        expected = [spearmanr(np.repeat(x, w), np.repeat(y, w)).statistic for w in weights]
        np.testing.assert_allclose(spearman(x, y, weights.astype(float)), expected, atol=1e-12)


class TestRiskCoverage:
    def test_by_hand(self) -> None:
        # Kept in the order 0.2, 0.0, 0.4: means 0.2, 0.1, 0.2.
        coverage, risk = risk_coverage(RISKS, np.array([2.0, 3, 1]))
        assert coverage.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
        assert risk.tolist() == pytest.approx([0.2, 0.1, 0.2])

    def test_equal_scores_are_kept_together(self) -> None:
        coverage, risk = risk_coverage(RISKS, np.array([1.0, 1, 2]))
        assert coverage.tolist() == pytest.approx([2 / 3, 1])
        assert risk.tolist() == pytest.approx([0.2, 0.2])

    def test_area_by_hand(self) -> None:
        assert float(aurc(RISKS, np.array([2.0, 3, 1]))) == pytest.approx(0.5 / 3)

    def test_a_constant_score_costs_the_mean_risk(self) -> None:
        assert float(aurc(RISKS, np.ones(3))) == pytest.approx(0.2)

    def test_excess_by_hand(self) -> None:
        # The oracle keeps 0.0, 0.2, 0.4: means 0.0, 0.1, 0.2, area 0.1.
        assert float(excess_aurc(RISKS, np.array([2.0, 3, 1]))) == pytest.approx(0.5 / 3 - 0.1)
        assert float(excess_aurc(RISKS, RISKS)) == 0.0

    def test_refuses_nothing_and_misfits(self) -> None:
        for risks in (np.empty(0), RISKS):
            with pytest.raises(ValueError, match="a risk for each score"):
                aurc(risks, np.empty(0))

    @settings(deadline=None, max_examples=40)
    @given(seed=st.integers(0, 9999))
    def test_no_order_beats_the_oracle(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        risks, scores = rng.random(9), rng.permutation(9).astype(float)
        assert float(excess_aurc(risks, scores)) >= -1e-12


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 9999), metric=st.sampled_from([aurc, excess_aurc]))
def test_weights_are_repetitions(seed: int, metric: Metric) -> None:
    rng = np.random.default_rng(seed)
    risks, scores = rng.random(12), rng.integers(0, 6, 12).astype(float)
    weights = rng.integers(0, 4, (3, 12))
    weights[:, 0] = 1
    expected = [metric(np.repeat(risks, w), np.repeat(scores, w)) for w in weights]
    np.testing.assert_allclose(metric(risks, scores, weights.astype(float)), expected, atol=1e-12)
