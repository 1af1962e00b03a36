"""Mask metrics against values computed by hand, their conventions, and MONAI as an oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lfusion.evaluation.metrics import dice, hausdorff95, normalised_surface_dice

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
        assert hausdorff95(one, other) == pytest.approx(2 + 0.55)

    def test_same_mask_is_zero(self) -> None:
        assert hausdorff95(box(3, 3, 9, 9), box(3, 3, 9, 9)) == 0.0

    def test_one_far_outlier_does_not_count(self) -> None:
        speck = box(5, 5, 10, 10)
        speck[29, 39] = True  # 1 of 37 boundary pixels
        assert hausdorff95(speck, box(5, 5, 10, 10)) == 0.0

    def test_both_empty_agree(self) -> None:
        assert hausdorff95(EMPTY, EMPTY) == 0.0

    def test_one_empty_costs_the_diagonal(self) -> None:
        assert hausdorff95(EMPTY, box(0, 0, 2, 2)) == math.hypot(30, 40)
        assert hausdorff95(box(0, 0, 2, 2), EMPTY) == math.hypot(30, 40)

    def test_in_mm_each_axis_has_its_own_size(self) -> None:
        one, other = EMPTY.copy(), EMPTY.copy()
        one[5, 5] = other[8, 5] = True
        assert hausdorff95(one, other, (0.5, 2.0)) == pytest.approx(1.5)
        assert hausdorff95(one.T, other.T, (0.5, 2.0)) == pytest.approx(6.0)

    def test_one_empty_costs_the_diagonal_in_mm(self) -> None:
        assert hausdorff95(EMPTY, box(0, 0, 2, 2), (0.1, 0.2)) == pytest.approx(math.hypot(3, 8))


class TestSurfaceDice:
    def test_shifted_line_by_hand(self) -> None:
        # Of 10 px of each line, those at distances 0 (7 px), 1 and 2 are within 2 px.
        one, other = box(5, 5, 1, 10), box(5, 8, 1, 10)
        assert normalised_surface_dice(one, other, tolerance=2) == pytest.approx(0.9)
        assert normalised_surface_dice(one, other, tolerance=0) == pytest.approx(0.7)

    def test_tolerance_in_mm(self) -> None:
        # As above with pixels of 0.5 mm: 1 mm is 2 px.
        one, other = box(5, 5, 1, 10), box(5, 8, 1, 10)
        assert normalised_surface_dice(one, other, 1.0, (0.5, 0.5)) == pytest.approx(0.9)

    def test_both_empty_agree(self) -> None:
        assert normalised_surface_dice(EMPTY, EMPTY) == 1.0

    def test_one_empty_is_a_miss(self) -> None:
        assert normalised_surface_dice(EMPTY, box(0, 0, 2, 2)) == 0.0

    def test_negative_tolerance_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 0"):
            normalised_surface_dice(EMPTY, EMPTY, tolerance=-1)


@settings(deadline=None, max_examples=50)
@given(one=MASKS, other=MASKS)
def test_mask_metrics_are_symmetric_and_bounded(
    one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> None:
    for metric in (dice, hausdorff95, normalised_surface_dice):
        assert metric(one, other) == metric(other, one)
    assert 0 <= dice(one, other) <= 1
    assert 0 <= normalised_surface_dice(one, other) <= 1
    assert 0 <= hausdorff95(one, other) <= math.hypot(12, 15)


def test_mask_metrics_refuse_masks_of_two_sizes() -> None:
    for metric in (dice, hausdorff95, normalised_surface_dice):
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
        assert hausdorff95(one, other) == pytest.approx(hausdorff.item(), abs=1e-5)
        assert normalised_surface_dice(one, other, 1.0) == pytest.approx(surface.item(), abs=1e-6)
        assert dice(one, other) == pytest.approx(overlap.item(), abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(one=MASKS, other=MASKS)
def test_distances_do_not_depend_on_where_in_the_image_the_masks_lie(
    one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> None:
    one[0, 0] = other[-1, -1] = True
    padded = (np.pad(one, ((3, 7), (2, 9))), np.pad(other, ((3, 7), (2, 9))))
    assert hausdorff95(*padded) == hausdorff95(one, other)
    assert normalised_surface_dice(*padded) == normalised_surface_dice(one, other)
