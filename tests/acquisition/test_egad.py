"""EGAD in two stages, guarded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfusion.acquisition import Pick, egad
from lfusion.acquisition.egad import mean_cosine, mean_mutual_information

NONE = np.zeros((0, 2))


def test_only_the_third_of_highest_entropy_is_picked_from() -> None:
    entropy = np.array([1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 0.0])
    picks = egad(list("abcdefg"), entropy, np.ones((7, 2)), 7, NONE)
    assert picks == [Pick("b", 2.0), Pick("d", 2.0), Pick("f", 2.0)]


def test_what_resembles_the_labelled_images_comes_later() -> None:
    known = np.array([[0.0, 1.0, 2.0, 3.0]])
    like, unlike = [0.0, 1.0, 2.0, 3.0], [3.0, 0.0, 0.0, 0.0]
    embeddings = np.array([like, unlike, *[like] * 4])
    entropy = np.array([9.0, 8.0, 0.0, 0.0, 0.0, 0.0])
    picks = egad(list("abcdef"), entropy, embeddings, 2, known)
    # the extremes of the min-max scaling: 2 − 0 − 0 and 2 − ½ − ½
    assert picks == [Pick("b", 2.0), Pick("a", 1.0)]


def test_equal_candidates_divide_by_nothing() -> None:
    picks = egad(list("fedcba"), np.ones(6), np.ones((6, 3)), 2, np.ones((2, 3)))
    assert picks == [Pick("a", 2.0), Pick("b", 2.0)]


def test_cosine_by_hand() -> None:
    found = mean_cosine(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), np.array([[2.0, 0.0]]))
    assert found == pytest.approx([1, math.sqrt(0.5), 0])


def test_mutual_information_by_hand() -> None:
    known = np.array([[0.0, 1.0, 0.0, 1.0]])
    same, independent, constant = [5.0, 9.0, 5.0, 9.0], [0.0, 0.0, 1.0, 1.0], [4.0] * 4
    found = mean_mutual_information(np.array([same, independent, constant]), known)
    assert found == pytest.approx([math.log(2), 0, 0], abs=1e-12)


def test_mutual_information_is_that_of_the_histogram() -> None:
    generator = np.random.default_rng(0)
    row, other = generator.normal(size=(2, 336))
    joint = np.histogram2d(row, other, 20)[0] / 336
    product = joint.sum(1, keepdims=True) * joint.sum(0)
    filled = joint > 0
    expected = float((joint[filled] * np.log(joint[filled] / product[filled])).sum())
    assert mean_mutual_information(row[None], other[None]) == pytest.approx([expected], abs=0.02)


@given(st.integers(0, 12), st.integers(0, 3), st.integers(0, 1000))
def test_a_batch_lies_between_one_and_two_and_does_not_depend_on_the_order(
    candidates: int, labelled: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    ids = [f"image{n:02}" for n in range(candidates)]
    entropy = generator.integers(0, 3, candidates).astype(float)
    embeddings = generator.integers(-2, 3, (candidates, 6)).astype(float)
    known = generator.integers(-2, 3, (labelled, 6)).astype(float)
    picks = egad(ids, entropy, embeddings, candidates, known)
    assert len(picks) == math.ceil(candidates / 3)
    assert all(1 <= pick.value <= 2 for pick in picks)
    assert egad(ids[::-1], entropy[::-1], embeddings[::-1], candidates, known) == picks
