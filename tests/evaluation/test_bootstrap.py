"""Resampling by examination."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from lfusion.evaluation.bootstrap import estimate, resample_weights
from lfusion.evaluation.metrics import weighted_mean

GROUPS = ["a", "a", "a", "b", "b", None, None]


class TestWeights:
    def test_images_of_an_examination_come_and_go_together(self) -> None:
        weights = resample_weights(GROUPS, 200)
        assert (weights[:, :1] == weights[:, :3]).all()
        assert (weights[:, 3] == weights[:, 4]).all()
        assert not (weights[:, 5] == weights[:, 6]).all()

    def test_every_resample_holds_as_many_examinations_as_there_are(self) -> None:
        weights = resample_weights(GROUPS, 200)
        assert set(weights[:, [0, 3, 5, 6]].sum(axis=1).tolist()) == {4.0}

    def test_an_examination_named_like_a_number_is_no_lone_image(self) -> None:
        weights = resample_weights([None, "0"], 200)
        assert not (weights[:, 0] == weights[:, 1]).all()

    def test_the_seed_decides(self) -> None:
        assert (resample_weights(GROUPS, 50, 3) == resample_weights(GROUPS, 50, 3)).all()
        assert (resample_weights(GROUPS, 50, 3) != resample_weights(GROUPS, 50, 4)).any()


class TestEstimate:
    def test_has_the_spread_of_the_mean(self) -> None:
        # The mean of 400 standard normals has the standard error 0.05: ± 1.96 of it.
        values = np.random.default_rng(0).standard_normal(400)
        found = estimate(partial(weighted_mean, values), resample_weights([None] * 400))
        assert found.value == pytest.approx(values.mean())
        assert found.interval is not None
        low, high = found.interval
        assert high - low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)

    def test_copies_in_one_examination_add_no_certainty(self) -> None:
        values = np.random.default_rng(0).standard_normal(50)
        alone = estimate(partial(weighted_mean, values), resample_weights([None] * 50))
        groups = [str(i // 9) for i in range(450)]
        copied = estimate(partial(weighted_mean, np.repeat(values, 9)), resample_weights(groups))
        by_image = estimate(
            partial(weighted_mean, np.repeat(values, 9)), resample_weights([None] * 450)
        )
        widths = [e.interval[1] - e.interval[0] for e in (alone, copied, by_image) if e.interval]
        assert widths[1] == pytest.approx(widths[0], rel=0.1)
        assert widths[2] == pytest.approx(widths[0] / 3, rel=0.1)

    def test_what_does_not_exist_has_no_value(self) -> None:
        nothing = estimate(partial(weighted_mean, np.empty(0)), np.ones((5, 0)))
        assert (nothing.value, nothing.interval) == (None, None)

    def test_resamples_without_a_value_are_left_out(self) -> None:
        values = np.array([1.0, np.nan])

        def first(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(weights[..., 0] > 0, values[0], np.nan)

        found = estimate(first, np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]))
        assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
