from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.image.mistakes import MISTAKES, SEVERITIES, draw_mistake, fitted, shifted, shrunk
from lfusion.types import LabelMap


def disc(radius: float) -> LabelMap:
    rows, columns = np.mgrid[:101, :101] - 50
    inside: LabelMap = (np.hypot(rows, columns) <= radius).astype(np.uint8)
    return inside


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(MISTAKES),
    severity=st.sampled_from(SEVERITIES),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_seed_gives_the_same_wrong_mask_again(kind: str, severity: int, seed: int) -> None:
    right, other = disc(20), disc(10)[:60]
    wrong, again = (
        draw_mistake(kind, severity, right, other, np.random.default_rng(seed)) for _ in range(2)
    )
    assert wrong.shape == right.shape
    assert wrong.dtype == np.uint8
    assert (wrong != right).any()
    assert set(np.unique(wrong).tolist()) <= {0, 1}
    np.testing.assert_array_equal(wrong, again)


def test_a_shift_moves_by_a_share_of_the_diameter() -> None:
    moved = shifted(disc(20), 0.25, np.pi / 2)  # a quarter of 40 px, downwards
    np.testing.assert_array_equal(moved, np.roll(disc(20), 10, axis=0))


def test_shrinking_keeps_the_centre_and_scales_lengths() -> None:
    small = shrunk(disc(20), 0.5)
    assert small.sum() == pytest.approx(disc(10).sum(), rel=0.05)
    assert np.argwhere(small).mean(0).tolist() == pytest.approx([50, 50], abs=0.5)


def test_shrinking_keeps_the_classes() -> None:
    two = disc(20) + disc(10)
    assert set(np.unique(shrunk(two, 0.8)).tolist()) == {0, 1, 2}


def test_what_is_empty_stays_empty() -> None:
    nothing = np.zeros((4, 4), np.uint8)
    assert not shrunk(nothing, 0.5).any()
    assert not shifted(nothing, 0.5, 0.0).any()


def test_the_mask_of_another_image_is_stretched() -> None:
    other = np.array([[0, 2], [1, 0]], np.uint8)
    assert fitted(other, (2, 4)).tolist() == [[0, 0, 2, 2], [1, 1, 0, 0]]
    assert fitted(np.array([[0, 0, 2, 2]], np.uint8), (1, 2)).tolist() == [[0, 2]]


@pytest.mark.parametrize(("kind", "severity"), [("blurred", 1), ("shifted", 6)])
def test_other_mistakes_are_refused(kind: str, severity: int) -> None:
    with pytest.raises(ValueError, match="expected a"):
        draw_mistake(kind, severity, disc(3), disc(2), np.random.default_rng(0))
