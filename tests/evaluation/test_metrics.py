"""Metrics against values computed by hand, their conventions, and MONAI as an oracle."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lfusion.evaluation import (
    Reliability,
    brier_score,
    dice,
    expected_calibration_error,
    hausdorff95_px,
    negative_log_likelihood,
    normalised_surface_dice,
)

EMPTY = np.zeros((30, 40), bool)
MASKS = arrays(np.bool_, (12, 15))


def box(top: int, left: int, height: int, width: int) -> NDArray[np.bool_]:
    mask = EMPTY.copy()
    mask[top : top + height, left : left + width] = True
    return mask


class TestDice:
    def test_half_overlapping_boxes(self) -> None:
        # 10 x 10 each, 5 x 10 in common: 2 * 50 / 200.
        assert dice(box(5, 5, 10, 10), box(10, 5, 10, 10)) == 0.5

    def test_both_empty_agree(self) -> None:
        assert dice(EMPTY, EMPTY) == 1.0

    def test_one_empty_is_a_miss(self) -> None:
        assert dice(EMPTY, box(0, 0, 2, 2)) == dice(box(0, 0, 2, 2), EMPTY) == 0.0


class TestHausdorff95:
    def test_shifted_box_by_hand(self) -> None:
        # A line of 10 px against itself moved 3 px along: from each end 3 px stick out, at
        # distances 1, 2, 3, and 7 are at 0; the 95th of 10 values lies at index 8.55.
        one, other = box(5, 5, 1, 10), box(5, 8, 1, 10)
        assert hausdorff95_px(one, other) == pytest.approx(2 + 0.55)

    def test_same_mask_is_zero(self) -> None:
        assert hausdorff95_px(box(3, 3, 9, 9), box(3, 3, 9, 9)) == 0.0

    def test_one_far_outlier_does_not_count(self) -> None:
        speck = box(5, 5, 10, 10)
        speck[29, 39] = True  # 1 of 37 boundary pixels
        assert hausdorff95_px(speck, box(5, 5, 10, 10)) == 0.0

    def test_both_empty_agree(self) -> None:
        assert hausdorff95_px(EMPTY, EMPTY) == 0.0

    def test_one_empty_costs_the_diagonal(self) -> None:
        assert hausdorff95_px(EMPTY, box(0, 0, 2, 2)) == math.hypot(30, 40)
        assert hausdorff95_px(box(0, 0, 2, 2), EMPTY) == math.hypot(30, 40)


class TestSurfaceDice:
    def test_shifted_line_by_hand(self) -> None:
        # Of 10 px of each line, those at distances 0 (7 px), 1 and 2 are within 2 px.
        one, other = box(5, 5, 1, 10), box(5, 8, 1, 10)
        assert normalised_surface_dice(one, other, tolerance_px=2) == pytest.approx(0.9)
        assert normalised_surface_dice(one, other, tolerance_px=0) == pytest.approx(0.7)

    def test_both_empty_agree(self) -> None:
        assert normalised_surface_dice(EMPTY, EMPTY) == 1.0

    def test_one_empty_is_a_miss(self) -> None:
        assert normalised_surface_dice(EMPTY, box(0, 0, 2, 2)) == 0.0

    def test_negative_tolerance_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 0 px"):
            normalised_surface_dice(EMPTY, EMPTY, tolerance_px=-1)


@settings(deadline=None, max_examples=50)
@given(one=MASKS, other=MASKS)
def test_mask_metrics_are_symmetric_and_bounded(
    one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> None:
    for metric in (dice, hausdorff95_px, normalised_surface_dice):
        assert metric(one, other) == metric(other, one)
    assert 0 <= dice(one, other) <= 1
    assert 0 <= normalised_surface_dice(one, other) <= 1
    assert 0 <= hausdorff95_px(one, other) <= math.hypot(12, 15)


def test_mask_metrics_refuse_masks_of_two_sizes() -> None:
    for metric in (dice, hausdorff95_px, normalised_surface_dice):
        with pytest.raises(ValueError, match="one shape"):
            metric(EMPTY, EMPTY[1:])


# MONAI 1.6 calls its own deprecated argument.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_mask_metrics_agree_with_monai() -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    rng = np.random.default_rng(0)
    for _ in range(5):
        one, other = rng.random((2, 20, 25)) > 0.6
        pair = [torch.from_numpy(m)[None, None].float() for m in (one, other)]
        hausdorff = metrics.compute_hausdorff_distance(
            *pair, include_background=True, percentile=95
        )
        surface = metrics.compute_surface_dice(*pair, [1.0], include_background=True)
        overlap = metrics.compute_dice(*pair, include_background=True)
        assert hausdorff95_px(one, other) == pytest.approx(hausdorff.item(), abs=1e-5)
        assert normalised_surface_dice(one, other, 1.0) == pytest.approx(surface.item(), abs=1e-6)
        assert dice(one, other) == pytest.approx(overlap.item(), abs=1e-6)


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


class TestCalibration:
    def test_by_hand(self) -> None:
        # Confidences 0.8 (right), 0.6 (wrong), 0.9 (right) fall into three bins:
        # (|1 - 0.8| + |0 - 0.6| + |1 - 0.9|) / 3.
        reliability = Reliability.of(PROBABILITIES, REFERENCE)
        assert expected_calibration_error(reliability) == pytest.approx(0.3)

    def test_errors_cancel_within_a_bin(self) -> None:
        # Four pixels at 0.75, three of them right.
        p = np.array([[[0.75] * 4], [[0.25] * 4]], np.float32)
        reliability = Reliability.of(p, np.array([[0, 0, 0, 1]], np.uint8))
        assert expected_calibration_error(reliability) == pytest.approx(0, abs=1e-7)

    def test_pools_images_before_taking_the_error(self) -> None:
        # One image all right at 0.5, one all wrong at 0.5: together calibrated.
        p = np.full((2, 1, 4), 0.5, np.float32)
        right, wrong = np.zeros((1, 4), np.uint8), np.ones((1, 4), np.uint8)
        pooled = Reliability.of(p, right) + Reliability.of(p, wrong)
        assert expected_calibration_error(pooled) == pytest.approx(0, abs=1e-7)

    def test_confidence_of_one_is_in_the_last_bin(self) -> None:
        p = np.array([[[1.0]], [[0.0]]], np.float32)
        reliability = Reliability.of(p, np.array([[0]], np.uint8), bins=4)
        assert reliability.pixels.tolist() == [0, 0, 0, 1]

    def test_no_pixels_is_zero(self) -> None:
        none = np.zeros(15)
        assert expected_calibration_error(Reliability(none, none, none)) == 0.0
