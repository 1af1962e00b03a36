from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from lfusion.evaluation import Contradiction, contradiction
from lfusion.evaluation.contradiction import log_odds
from lfusion.types import LabelMap

SURE = math.log(199)
"""ln odds of certainty between two classes, mixed with 1 % of a uniform guess."""


def certain(model: LabelMap, classes: int = 2) -> NDArray[np.float32]:
    """Probabilities 0 and 1."""
    found: NDArray[np.float32] = np.stack([model == c for c in range(classes)]).astype(np.float32)
    return found


def block(rows: slice, columns: slice, number: int = 1, size: int = 20) -> LabelMap:
    mask = np.zeros((size, size), np.uint8)
    mask[rows, columns] = number
    return mask


HEAD = block(slice(5, 15), slice(5, 15))


def judge(given: LabelMap, probabilities: NDArray[np.float32]) -> Contradiction:
    return contradiction(given, probabilities, np.zeros(given.shape, np.float32))


def test_the_model_s_own_mask_is_not_contradicted() -> None:
    found = judge(HEAD, certain(HEAD))
    assert found.score == 0.0
    assert not found.regions
    assert not found.where.any()


def test_an_empty_mask_is_contradicted_at_each_pixel_of_the_head() -> None:
    found = judge(np.zeros_like(HEAD), certain(HEAD))
    assert found.score == pytest.approx(SURE, rel=1e-5)
    (region,) = found.regions
    assert (region.kind, region.given, region.model) == ("missing", 0, 1)
    assert (region.box, region.area_px, region.confidence) == ((5, 5, 15, 15), 100, 1.0)
    assert region.nats == pytest.approx(100 * SURE, rel=1e-5)


def test_a_shift_is_missing_on_one_side_and_extra_on_the_other() -> None:
    shifted = block(slice(5, 15), slice(7, 17))
    found = judge(shifted, certain(HEAD))
    # 20 px on either side of 120 px in either mask
    assert found.score == pytest.approx(40 * SURE / 120, rel=1e-5)
    assert {(r.kind, r.box) for r in found.regions} == {
        ("missing", (5, 5, 15, 7)),
        ("extra", (5, 15, 15, 17)),
    }


def test_another_structure_is_swapped_not_missing() -> None:
    found = judge(HEAD * np.uint8(2), certain(HEAD, 3))
    assert [(r.kind, r.given, r.model) for r in found.regions] == [("swapped", 2, 1)]
    words = found.regions[0].in_words({"head": 1, "symphysis": 2})
    assert words == "symphysis where the model sees head, 100 px, 100.0 % sure"


def test_touching_regions_of_two_structures_are_two() -> None:
    both = HEAD + block(slice(5, 15), slice(10, 15))
    found = judge(np.zeros_like(both), certain(both, 3))
    assert sorted((r.model, r.box) for r in found.regions) == [
        (1, (5, 5, 15, 10)),
        (2, (5, 10, 15, 15)),
    ]


@pytest.mark.parametrize(("odds", "told"), [(3.5, False), (4.5, True)])
def test_a_region_is_where_the_model_is_sure_and_the_score_knows_no_step(
    odds: float, told: bool
) -> None:
    # what is left of the odds once 1 % of a uniform guess is mixed in
    p = (odds / (1 + odds) - 0.005) / 0.99
    head = HEAD * np.float32(p)
    found = judge(np.zeros_like(HEAD), np.stack([1 - head, head]).astype(np.float32))
    assert found.score == pytest.approx(math.log(odds), rel=1e-3)
    assert found.where.any() == told
    assert bool(found.regions) is told


def test_where_the_model_knows_little_nothing_counts() -> None:
    epistemic = np.zeros(HEAD.shape, np.float32)
    epistemic[:, :10] = 0.3
    found = contradiction(np.zeros_like(HEAD), certain(HEAD), epistemic, 0.2)
    assert found.score == pytest.approx(SURE / 2, rel=1e-5)
    assert [r.box for r in found.regions] == [(5, 10, 15, 15)]


def test_the_size_of_the_image_does_not_matter() -> None:
    shifted = block(slice(5, 15), slice(7, 17))
    twice = np.ones((2, 2), np.uint8)
    small = judge(shifted, certain(HEAD))
    large = judge(np.kron(shifted, twice), certain(np.kron(HEAD, twice)))
    framed = judge(np.pad(shifted, 30), certain(np.pad(HEAD, 30)))
    assert small.score == pytest.approx(large.score) == pytest.approx(framed.score)


def test_nothing_in_either_mask_is_no_contradiction() -> None:
    nothing = np.zeros((4, 4), np.uint8)
    assert judge(nothing, certain(nothing)).score == 0.0


def test_specks_are_not_listed() -> None:
    head = block(slice(5, 45), slice(5, 45), size=60)  # 1600 px: one is less than a thousandth
    given = head.copy()
    given[20, 20] = 0
    given[30, 30:35] = 0
    found = judge(given, certain(head))
    assert [region.area_px for region in found.regions] == [5]
    assert found.where.sum() == 6


def test_odds_are_of_the_two_classes_alone() -> None:
    probabilities = np.array([0.9, 0.09, 0.01], np.float32)[:, None, None]
    found = log_odds(np.ones((1, 1), np.uint8), np.zeros((1, 1), np.uint8), probabilities)
    expected = math.log((0.9 * 0.99 + 0.01 / 3) / (0.09 * 0.99 + 0.01 / 3))
    assert float(found[0, 0]) == pytest.approx(expected, rel=1e-5)
