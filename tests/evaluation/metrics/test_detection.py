"""AUROC and FPR95 by hand, and weights against images repeated for real."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfusion.evaluation.metrics import auroc, fpr_at_tpr

Metric: TypeAlias = Callable[..., NDArray[np.float64]]


def marks(text: str) -> NDArray[np.bool_]:
    return np.array([mark == "+" for mark in text])


class TestAuroc:
    def test_by_hand(self) -> None:
        # Pairs (+, -): 3 > 1, 3 > 2, 2 > 1, 2 = 2: (3 + 1/2) / 4.
        assert float(auroc(np.array([1.0, 2, 2, 3]), marks("--++"))) == 0.875

    def test_ends(self) -> None:
        scores = np.array([1.0, 2, 3, 4])
        assert float(auroc(scores, marks("--++"))) == 1.0
        assert float(auroc(scores, marks("++--"))) == 0.0
        assert float(auroc(np.ones(4), marks("++--"))) == 0.5

    def test_one_group_alone_has_none(self) -> None:
        assert np.isnan(auroc(np.array([1.0, 2]), marks("++")))

    def test_refuses_marks_of_another_number(self) -> None:
        with pytest.raises(ValueError, match="one score and one mark"):
            auroc(np.array([1.0, 2]), marks("+"))


class TestFprAtTpr:
    def test_by_hand(self) -> None:
        # All five positives (95 % of 5 is 4.75) score 2 or more, as do two of four negatives.
        scores, found = np.array([0.0, 1, 2, 5, 2, 3, 4, 5, 6]), marks("----+++++")
        assert float(fpr_at_tpr(scores, found)) == 0.5
        # Four of five score 3 or more, as does one of four.
        assert float(fpr_at_tpr(scores, found, tpr=0.8)) == 0.25

    def test_apart_is_zero_and_reversed_is_one(self) -> None:
        scores = np.array([1.0, 2, 3, 4])
        assert float(fpr_at_tpr(scores, marks("--++"))) == 0.0
        assert float(fpr_at_tpr(scores, marks("++--"))) == 1.0

    def test_one_in_twenty_may_be_missed(self) -> None:
        scores = np.concatenate([[5.0], [0.0], np.full(19, 9.0)])
        assert float(fpr_at_tpr(scores, marks("-" + "+" * 20))) == 0.0

    @pytest.mark.parametrize("group", ["++", "--"])
    def test_one_group_alone_has_none(self, group: str) -> None:
        assert np.isnan(fpr_at_tpr(np.array([1.0, 2]), marks(group)))

    def test_refuses_no_share(self) -> None:
        with pytest.raises(ValueError, match="got 0"):
            fpr_at_tpr(np.array([1.0, 2]), marks("+-"), tpr=0)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 9999), metric=st.sampled_from([auroc, fpr_at_tpr]))
def test_weights_are_repetitions(seed: int, metric: Metric) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 6, 12).astype(float), rng.random(12) > 0.5
    weights = rng.integers(0, 4, (3, 12))
    expected = [metric(np.repeat(scores, w), np.repeat(positive, w)) for w in weights]
    found = metric(scores, positive, weights.astype(float))
    np.testing.assert_allclose(found, expected, atol=1e-12)
