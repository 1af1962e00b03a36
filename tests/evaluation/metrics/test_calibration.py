"""Scores and calibration errors of pixels against values computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfusion.evaluation.metrics import (
    Reliability,
    adaptive_calibration_error,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
)

# Two pixels of class 1 at p = 0.8 and 0.4, one pixel of class 0 at p = 0.9.
PROBABILITIES = np.array([[[0.2, 0.6, 0.9]], [[0.8, 0.4, 0.1]]], np.float32)
REFERENCE = np.array([[1, 1, 0]], np.uint8)


class TestProbabilities:
    def test_negative_log_likelihood_by_hand(self) -> None:
        expected = -(math.log(0.8) + math.log(0.4) + math.log(0.9)) / 3
        assert negative_log_likelihood(PROBABILITIES, REFERENCE) == pytest.approx(expected)

    def test_certain_and_wrong_is_finite(self) -> None:
        certain = np.array([[[1.0]], [[0.0]]], np.float32)
        assert 80 < negative_log_likelihood(certain, np.array([[1]], np.uint8)) < 100

    def test_brier_by_hand(self) -> None:
        # 2 * (0.2^2 + 0.6^2 + 0.1^2) / 3
        assert brier_score(PROBABILITIES, REFERENCE) == pytest.approx(0.82 / 3)

    def test_brier_is_two_when_certain_and_wrong(self) -> None:
        certain = np.array([[[1.0]], [[0.0]]], np.float32)
        assert brier_score(certain, np.array([[1]], np.uint8)) == pytest.approx(2)

    @pytest.mark.parametrize("metric", [negative_log_likelihood, brier_score, Reliability.of])
    def test_refuses_a_class_without_probability(self, metric: Callable[..., object]) -> None:
        with pytest.raises(ValueError, match="got class 2"):
            metric(PROBABILITIES, np.array([[2, 0, 0]], np.uint8))

    @pytest.mark.parametrize("metric", [negative_log_likelihood, brier_score, Reliability.of])
    def test_refuses_another_size(self, metric: Callable[..., object]) -> None:
        with pytest.raises(ValueError, match="shape"):
            metric(PROBABILITIES, np.zeros((2, 3), np.uint8))


def row(confidences: list[float], right: list[bool]) -> Reliability:
    """Pixels of class 0 predicted with these confidences, rightly or not."""
    p = np.array([confidences], np.float32)
    reference = np.array([[0 if r else 1 for r in right]], np.uint8)
    return Reliability.of(np.stack([p, 1 - p]), reference)


class TestCalibration:
    def test_by_hand(self) -> None:
        # Confidences 0.8 (right), 0.6 (wrong), 0.9 (right) fall into three bins:
        # (|1 - 0.8| + |0 - 0.6| + |1 - 0.9|) / 3.
        reliability = Reliability.of(PROBABILITIES, REFERENCE)
        assert float(expected_calibration_error(reliability)) == pytest.approx(0.3)

    def test_errors_cancel_within_a_bin(self) -> None:
        # Four pixels at 0.75, three of them right.
        four = row([0.75] * 4, [True, True, True, False])
        assert float(expected_calibration_error(four)) == pytest.approx(0, abs=1e-7)

    def test_pools_images_before_taking_the_error(self) -> None:
        # One image all right at 0.5, one all wrong at 0.5: together calibrated.
        images = Reliability.stack([row([0.5] * 4, [True] * 4), row([0.5] * 4, [False] * 4)])
        assert float(expected_calibration_error(images.pooled())) == pytest.approx(0, abs=1e-7)
        twice = images.pooled(np.array([[1.0, 1.0], [2.0, 0.0]]))
        assert expected_calibration_error(twice).tolist() == pytest.approx([0, 0.5], abs=1e-7)

    def test_bins_of_equal_width_by_hand(self) -> None:
        # The bins are 1/15 wide: 0.74 and 0.79 lie in the twelfth, up to 0.8; 0.81 in the next.
        bins = row([0.74, 0.79, 0.81, 1.0], [True] * 4).equal_width()
        assert bins.pixels.tolist() == [0] * 11 + [2, 1, 0, 1]

    def test_bins_of_equal_mass_part_what_equal_width_lumps_together(self) -> None:
        # 100 pixels just below one, all in the last bin of equal width: half are 1 % too sure,
        # half 1 % too unsure, which cancels there and does not here.
        sure = row([0.995] * 1000, [True] * 985 + [False] * 15)
        unsure = row([0.985] * 1000, [True] * 995 + [False] * 5)
        both = Reliability.stack([sure, unsure]).pooled()
        assert float(expected_calibration_error(both)) == pytest.approx(0, abs=1e-6)
        assert float(adaptive_calibration_error(both)) == pytest.approx(0.01, abs=1e-6)

    def test_no_pixels_is_zero(self) -> None:
        none = Reliability(*np.zeros((3, 120)))
        assert float(expected_calibration_error(none)) == 0.0
        assert float(adaptive_calibration_error(none)) == 0.0

    @settings(deadline=None, max_examples=30)
    @given(seed=st.integers(0, 999), power=st.floats(0.1, 8))
    def test_both_binnings_keep_every_pixel(self, seed: int, power: float) -> None:
        rng = np.random.default_rng(seed)
        p = (1 - rng.random((1, 40)) ** power / 2).astype(np.float32)
        fine = Reliability.of(np.stack([p, 1 - p]), (rng.random((1, 40)) > p).astype(np.uint8))
        for bins in (fine.equal_width(), fine.equal_mass()):
            assert bins.pixels.shape == (15,)
            totals = [
                (part.sum(), whole.sum())
                for part, whole in zip(_parts(bins), _parts(fine), strict=True)
            ]
            assert np.allclose(*np.transpose(totals))


def _parts(reliability: Reliability) -> list[NDArray[np.float64]]:
    return [reliability.pixels, reliability.confidence, reliability.correct]
