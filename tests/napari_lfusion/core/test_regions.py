"""Regions of high uncertainty: found, ranked, decided on and put back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lfusion.types import FloatMap
from napari_lfusion.core.regions import Review, find_regions, reversion, suggested_threshold

MAPS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.floats(0, 1, width=16),
)


@pytest.fixture
def values() -> FloatMap:
    """A wide weak region, a small strong one, and a speck."""
    values = np.zeros((20, 30), np.float32)
    values[2:6, 2:12] = 0.25
    values[10:14, 20:24] = 0.5
    values[17, 3] = 0.9
    return values


class TestFinding:
    def test_the_largest_sum_comes_first(self, values: FloatMap) -> None:
        first, second = find_regions(values, 0.2).items
        assert (first.number, first.score, first.area_px) == (1, 10.0, 40)
        assert first.box == (2, 2, 6, 12)
        assert first.centroid == (3.5, 6.5)
        assert (second.number, second.score, second.box) == (2, 8.0, (10, 20, 14, 24))

    def test_a_higher_threshold_leaves_the_stronger_one(self, values: FloatMap) -> None:
        (only,) = find_regions(values, 0.3).items
        assert only.box == (10, 20, 14, 24)

    def test_a_speck_is_no_region_but_opens_the_brush_gate(self, values: FloatMap) -> None:
        regions = find_regions(values, 0.2)
        assert regions.above[17, 3]
        assert regions.numbers[17, 3] == 0

    def test_the_centroid_is_drawn_to_the_doubt(self) -> None:
        values = np.zeros((3, 9), np.float32)
        values[1, 0:4] = [0.1, 0.1, 0.1, 0.7]
        (region,) = find_regions(values, 0.1, min_area_px=1).items
        assert region.centroid == pytest.approx((1, (0.1 + 0.2 + 2.1) / 1.0))

    def test_a_sure_image_has_none(self) -> None:
        assert find_regions(np.zeros((5, 5), np.float32), 0.1).items == ()

    @given(values=MAPS, threshold=st.floats(0, 1, width=16))
    def test_regions_are_disjoint_ranked_and_within_the_gate(
        self, values: FloatMap, threshold: float
    ) -> None:
        regions = find_regions(values, threshold, min_area_px=1)
        scores = [region.score for region in regions.items]
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_array_equal(regions.numbers > 0, regions.above)
        for region in regions.items:
            pixels = regions.mask(region.number)
            top, left, bottom, right = region.box
            assert region.area_px == pixels.sum() == pixels[top:bottom, left:right].sum()
            assert region.score == pytest.approx(values[pixels].sum(dtype=np.float64))
            row, column = region.centroid
            assert top <= row <= bottom - 1
            assert left <= column <= right - 1


class TestSuggestion:
    def test_a_ring_is_cut_into_places(self) -> None:
        rows, columns = np.mgrid[:120, :160]
        ring = np.abs(np.hypot(rows - 60, columns - 80) - 40) < 4
        angle = np.arctan2(rows - 60, columns - 80)
        values = np.where(ring, 0.3 + 0.2 * np.cos(3 * angle), 0).astype(np.float32)
        threshold = suggested_threshold(values)
        regions = find_regions(values, threshold).items
        assert len(find_regions(values, 0.05).items) == 1
        assert len(regions) == 3
        assert all(max(r.box[2] - r.box[0], r.box[3] - r.box[1]) <= 40 for r in regions)

    def test_small_places_need_no_cut(self, values: FloatMap) -> None:
        values[2:6, 9:] = 0
        assert len(find_regions(values, suggested_threshold(values)).items) == 2

    def test_no_doubt_leaves_nothing(self) -> None:
        nothing = np.zeros((9, 9), np.float32)
        assert find_regions(nothing, suggested_threshold(nothing)).items == ()


class TestReview:
    def test_next_goes_round_the_open_ones(self, values: FloatMap) -> None:
        regions, review = find_regions(values, 0.2), Review.begin((20, 30))
        assert review.following(regions, None) == regions.items[0]
        assert review.following(regions, 1) == regions.items[1]
        assert review.following(regions, 2) == regions.items[0]
        review = review.decide(regions, 1)
        assert review.open_regions(regions) == (regions.items[1],)
        assert review.following(regions, 2) == regions.items[1]
        assert review.decide(regions, 2).following(regions, 2) is None

    def test_a_decision_outlives_the_threshold(self, values: FloatMap) -> None:
        values[10, 24:27] = 0.25  # a tail that only the lower threshold sees
        review = Review.begin((20, 30)).decide(find_regions(values, 0.3), 1)
        lower = find_regions(values, 0.2)
        assert [region.box for region in review.open_regions(lower)] == [(2, 2, 6, 12)]


class TestReversion:
    def test_only_the_region_goes_back(self) -> None:
        proposal = np.array([[1, 1, 0], [1, 2, 0]], np.uint8)
        mask = np.array([[0, 1, 1], [1, 1, 0]], np.uint8)
        where = np.array([[True, True, False], [False, True, True]])
        index, numbers = reversion(mask, proposal, where)
        mask[index] = numbers
        assert mask.tolist() == [[1, 1, 1], [1, 2, 0]]
        assert len(numbers) == 2

    def test_nothing_to_put_back_is_an_empty_edit(self) -> None:
        mask = np.ones((2, 2), np.uint8)
        index, numbers = reversion(mask, mask, np.ones((2, 2), np.bool_))
        assert len(numbers) == len(index[0]) == 0
