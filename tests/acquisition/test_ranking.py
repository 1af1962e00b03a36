from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfusion.acquisition import STRATEGIES, image_scores, random_score, rank
from lfusion.errors import NonFiniteError


@given(st.dictionaries(st.text(min_size=1), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_ranking_is_a_permutation_by_falling_score(scores: dict[str, float]) -> None:
    ranked = rank(scores)
    assert sorted(image.id for image in ranked) == sorted(scores)
    assert [image.rank for image in ranked] == list(range(1, len(scores) + 1))
    assert all(a.score >= b.score for a, b in pairwise(ranked))
    assert ranked == rank(dict(reversed(scores.items())))


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_names_its_image(score: float) -> None:
    with pytest.raises(NonFiniteError, match="scan_7"):
        rank({"scan_1": 0.5, "scan_7": score})


def test_nothing_to_rank_is_an_empty_list() -> None:
    assert rank({}) == []


def test_random_is_the_same_for_a_seed_and_spread_over_the_unit_interval() -> None:
    values = [random_score(f"image{i}") for i in range(2000)]
    assert values == [random_score(f"image{i}") for i in range(2000)]
    assert values != [random_score(f"image{i}", seed=1) for i in range(2000)]
    assert 0 <= min(values) < 0.01 < 0.99 < max(values) < 1
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)


def test_every_strategy_names_a_score_that_is_computed() -> None:
    zeros = np.zeros((2, 2))
    known = image_scores(
        {name: zeros.astype(np.float32) for name in ("epistemic", "aleatoric", "total")},
        np.stack((1 - zeros, zeros)).astype(np.float32),
        zeros.astype(np.uint8),
    )
    assert {key for key in STRATEGIES.values() if key is not None} <= set(known)
