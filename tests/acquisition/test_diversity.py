"""Batches by what images look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfusion.acquisition import Pick, k_center_greedy, standardised, stratified, typiclust
from lfusion.acquisition.clusters import k_means

NONE = np.zeros((0, 1))
PLANNERS = [k_center_greedy, typiclust, stratified]


def column(*values: float) -> NDArray[np.float64]:
    return np.array(values, float)[:, None]


def names(picks: list[Pick]) -> list[str]:
    return [pick.id for pick in picks]


class TestKCenterGreedy:
    def test_the_farthest_comes_first(self) -> None:
        picks = k_center_greedy(list("abcd"), column(0, 1, 5, 9), 4, known=column(0))
        assert picks == [Pick("d", 9.0), Pick("c", 4.0), Pick("b", 1.0), Pick("a", 0.0)]

    def test_without_labels_the_central_one_comes_first(self) -> None:
        picks = k_center_greedy(list("abc"), column(0, 4, 11), 2, NONE)
        assert picks == [Pick("b", 1.0), Pick("c", 7.0)]

    def test_duplicates_come_last_by_id(self) -> None:
        picks = k_center_greedy(list("zyx"), column(3, 3, 3), 3, known=column(0))
        assert picks == [Pick("x", 3.0), Pick("y", 0.0), Pick("z", 0.0)]

    def test_the_weight_counts_as_much_as_the_distance(self) -> None:
        weights = np.array([1.0, 3.0, 2.0, 0.0])
        picks = k_center_greedy(list("abcd"), column(9, 4, 5, 8), 4, column(0), weights)
        # 9·1, 4·3, 5·2, 8·0; beside b, c has 1·2 left and a 5·1
        assert names(picks) == list("bacd")
        assert [pick.value for pick in picks] == pytest.approx([12, 5, 2, 0])

    def test_without_labels_the_heaviest_comes_first(self) -> None:
        picks = k_center_greedy(list("abc"), column(0, 4, 11), 2, NONE, np.array([1.0, 1, 2]))
        assert picks == [Pick("c", 2.0), Pick("a", 11.0)]


class TestTypiclust:
    def test_the_heart_of_the_largest_group_without_a_label_comes_first(self) -> None:
        places = column(0, 1, 2, 3, 4, 100, 101, 102, 1000)
        picks = typiclust(list("abcdefghi"), places, 3, NONE)
        # mean distance to all others of the group: 1.5 at its middle, 1 in the second one
        assert names(picks) == ["c", "g", "i"]
        assert [pick.value for pick in picks] == pytest.approx([1 / 1.5, 1, 0], abs=1e-4)

    def test_a_labelled_group_waits(self) -> None:
        places = column(0, 1, 2, 3, 4, 100, 101, 102)
        assert names(typiclust(list("abcdefgh"), places, 1, known=column(2.5))) == ["g"]


class TestStratified:
    def test_each_kind_has_its_share(self) -> None:
        ids = [
            f"{kind}{n}" for kind, count in (("a", 60), ("b", 30), ("c", 10)) for n in range(count)
        ]
        places = column(*({"a": 0.0, "b": 10.0, "c": 1000.0}[name[0]] for name in ids))
        picks = stratified(ids, places, 20, NONE)
        assert sorted(name[0] for name in names(picks)) == ["a"] * 12 + ["b"] * 6 + ["c"] * 2
        assert {pick.id[0]: pick.value for pick in picks} == {"a": 0.6, "b": 0.3, "c": 0.1}

    def test_a_kind_that_has_labels_waits(self) -> None:
        picks = stratified(list("abcd"), column(0, 0, 9, 9), 2, known=column(0, 0, 0))
        assert {pick.id for pick in picks} == {"c", "d"}

    def test_another_seed_draws_other_images(self) -> None:
        ids = [f"{n:03}" for n in range(100)]
        places = column(*range(100))
        draws = {tuple(names(stratified(ids, places, 5, NONE, seed))) for seed in range(4)}
        assert len(draws) == 4


@pytest.mark.parametrize("planner", PLANNERS)
@given(
    rows=st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), max_size=15),
    labelled=st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), max_size=4),
    count=st.integers(0, 20),
)
def test_a_batch_has_no_image_twice_and_repeats(
    planner: object, rows: list[list[int]], labelled: list[list[int]], count: int
) -> None:
    assert callable(planner)
    ids = [f"image{n:02}" for n in range(len(rows))]
    embeddings = np.array(rows, float).reshape(-1, 2)
    known = np.array(labelled, float).reshape(-1, 2)
    picks: list[Pick] = planner(ids, embeddings, count, known)
    assert len({pick.id for pick in picks}) == len(picks) == min(count, len(ids))
    assert all(np.isfinite(pick.value) for pick in picks)
    assert planner(ids[::-1], embeddings[::-1], count, known) == picks


def test_k_means_finds_groups_and_stands_duplicates() -> None:
    assigned = k_means(column(0, 1, 50, 51, 99), 3)
    assert assigned[0] == assigned[1] != assigned[2] == assigned[3] != assigned[4]
    assert set(k_means(column(7, 7, 7), 3)) == {0}


def test_standardised_over_all_rows() -> None:
    first, second = standardised(np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[4.0, 5.0]]))
    together = np.concatenate((first, second))
    np.testing.assert_allclose(together.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(together.std(0), [1, 0])
