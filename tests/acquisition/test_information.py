"""Information gain of one image and of a batch."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfusion.acquisition import greedy_batch, information_gain, packed, unpacked


def diagonal(*values: float) -> NDArray[np.float32]:
    return packed(np.diag(np.array(values, float)))


@st.composite
def pools(draw: st.DrawFn) -> tuple[list[str], NDArray[np.float32]]:
    """Up to eight images, each with positive semi-definite information of rank two."""
    seed, images = draw(st.integers(0, 10_000)), draw(st.integers(1, 8))
    roots = np.random.default_rng(seed).normal(size=(images, 4, 2))
    matrices = roots @ roots.transpose(0, 2, 1)
    return [f"image{n}" for n in range(images)], np.stack([packed(m) for m in matrices])


def test_the_gain_is_half_the_log_determinant() -> None:
    assert information_gain(np.diag([1.0, 3.0])) == pytest.approx(0.5 * math.log(2 * 4))
    assert information_gain(np.zeros((3, 3))) == 0


def test_packing_keeps_a_symmetric_matrix() -> None:
    matrix = np.array([[1.0, 2.0, 4.0], [2.0, 8.0, 16.0], [4.0, 16.0, 32.0]])
    assert packed(matrix).tolist() == [1, 2, 4, 8, 16, 32]
    np.testing.assert_array_equal(unpacked(packed(matrix)), matrix)


def test_a_near_duplicate_falls_behind_what_is_new() -> None:
    picks = greedy_batch(
        ["big", "its twin", "other"],
        np.stack([diagonal(8, 0), diagonal(7.9, 0), diagonal(0, 1)]),
        count=3,
    )
    assert [pick.id for pick in picks] == ["big", "other", "its twin"]
    # the twin alone is worth ½ ln 8.9 = 1.09; after the first one only ½ ln(16.9 / 9)
    assert [pick.value for pick in picks] == pytest.approx(
        [0.5 * math.log(9), 0.5 * math.log(2), 0.5 * math.log(16.9 / 9)], rel=1e-6
    )


def test_what_is_labelled_already_is_not_asked_for_again() -> None:
    pool = np.stack([diagonal(8, 0), diagonal(0, 1)])
    picks = greedy_batch(["seen", "new"], pool, 1, known=diagonal(80, 0))
    assert [pick.id for pick in picks] == ["new"]
    assert picks[0].value == pytest.approx(0.5 * math.log(2))


def test_ties_go_by_id_and_an_empty_pool_gives_nothing() -> None:
    pool = np.stack([diagonal(1, 0), diagonal(0, 1), diagonal(1, 0)])
    assert [pick.id for pick in greedy_batch(["c", "b", "a"], pool, 3)] == ["a", "b", "c"]
    assert greedy_batch([], np.zeros((0, 3), np.float32), 3) == []


@given(pools())
def test_each_pick_is_the_best_of_what_is_left(
    pool: tuple[list[str], NDArray[np.float32]],
) -> None:
    ids, triangles = pool
    matrices = dict(zip(ids, unpacked(triangles), strict=True))
    total = np.zeros((4, 4))
    for pick in greedy_batch(ids, triangles, len(ids)):
        gains = {
            name: float(information_gain(total + matrix) - information_gain(total))
            for name, matrix in matrices.items()
        }
        assert pick.value == pytest.approx(max(gains.values()), abs=1e-9)
        assert gains[pick.id] == pytest.approx(max(gains.values()), abs=1e-9)
        total += matrices.pop(pick.id)
    assert not matrices


@given(pools(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing_and_gains_only_fall(
    pool: tuple[list[str], NDArray[np.float32]], random: Random
) -> None:
    ids, triangles = pool
    picks = greedy_batch(ids, triangles, len(ids))
    places = list(range(len(ids)))
    random.shuffle(places)
    assert greedy_batch([ids[p] for p in places], triangles[places], len(ids)) == picks
    values = [pick.value for pick in picks]
    assert all(a >= b - 1e-9 for a, b in pairwise(values))
    whole = float(information_gain(unpacked(triangles).sum(0)))
    assert sum(values) == pytest.approx(whole, abs=1e-6)
