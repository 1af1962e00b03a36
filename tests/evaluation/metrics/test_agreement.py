"""Limits of agreement, coverage of intervals and weighted summaries by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.evaluation.metrics import (
    interval_coverage,
    limits_of_agreement,
    weighted_mean,
    weighted_quantile,
)


class TestAgreement:
    def test_by_hand(self) -> None:
        # Differences 1 and 3: mean 2, standard deviation sqrt(2).
        found = limits_of_agreement(np.array([101.0, 203.0]), np.array([100.0, 200.0]))
        assert found is not None
        assert found.bias == pytest.approx(2)
        assert found.lower == pytest.approx(2 - 1.96 * math.sqrt(2))
        assert found.upper == pytest.approx(2 + 1.96 * math.sqrt(2))

    def test_one_pair_has_no_limits(self) -> None:
        assert limits_of_agreement(np.ones(1), np.ones(1)) is None

    def test_refuses_what_is_not_in_pairs(self) -> None:
        with pytest.raises(ValueError, match="pairs"):
            limits_of_agreement(np.ones(2), np.ones(3))


class TestCoverage:
    def test_ends_belong_to_the_interval(self) -> None:
        low, truth = np.ones(4), np.array([1.0, 2, 3, 0.9])
        high = low + 2.0
        assert float(interval_coverage(low, high, truth)) == 0.75
        assert float(interval_coverage(low, high, truth, np.array([1.0, 0, 0, 1]))) == 0.5

    def test_no_interval_has_none(self) -> None:
        assert np.isnan(interval_coverage(*np.empty((3, 0))))


class TestWeightedSummaries:
    def test_mean_by_hand(self) -> None:
        weights = np.array([[1.0, 1], [3, 1], [0, 0]])
        found = weighted_mean(np.array([0.0, 4.0]), weights)
        np.testing.assert_allclose(found, [2, 1, math.nan])

    @settings(deadline=None, max_examples=60)
    @given(seed=st.integers(0, 9999), share=st.floats(0, 1))
    def test_quantile_is_numpys_on_repeated_values(self, seed: int, share: float) -> None:
        rng = np.random.default_rng(seed)
        values, weights = rng.random(9), rng.integers(0, 4, (4, 9))
        weights[:, 0] = 1
        expected = [np.quantile(np.repeat(values, w), share) for w in weights]
        found = weighted_quantile(values, share, weights.astype(float))
        np.testing.assert_allclose(found, expected, atol=1e-9)

    def test_quantile_of_nothing_is_none(self) -> None:
        assert np.isnan(weighted_quantile(np.ones(2), 0.5, np.zeros(2)))
