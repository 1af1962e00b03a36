"""Scale of grey values: that of the data, not of the type that holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.grey import full_scale_of, to_grey

WIDE = ["u2", "u4", "u8", "i2", "i4", "i8", "f4", "f8"]


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize(
    ("peak", "white"),
    [
        (2, 255),
        (255, 255),
        (256, 1023),
        (1023, 1023),
        (1024, 4095),
        (4095, 4095),
        (4096, 16383),
        (16384, 65535),
        (32767, 65535),
    ],
)
def test_white_is_the_smallest_depth_that_holds_the_data(dtype: str, peak: int, white: int) -> None:
    values = np.array([[0, peak]], dtype)
    assert full_scale_of([values]) == white
    np.testing.assert_allclose(to_grey(values), [[0, peak / white]], atol=1e-7)


def test_half_floats_of_whole_numbers() -> None:
    assert full_scale_of([np.array([0, 1000], "f2")]) == 1023


@pytest.mark.parametrize("peak", [0, 1, 7, 255])
def test_eight_bits_always_have_their_white(peak: int) -> None:
    values = np.array([[0, peak]], np.uint8)
    assert full_scale_of([values]) == 255
    np.testing.assert_allclose(to_grey(values), [[0, peak / 255]], atol=1e-7)


def test_black_files_stay_black() -> None:
    for dtype in ("?", "u1", *WIDE):
        assert not to_grey(np.zeros((2, 3), dtype)).any()


@pytest.mark.parametrize(
    ("peak", "bits", "white"),
    [
        (300, 9, 511),
        (300, 12, 1023),
        (3000, 12, 4095),
        (5000, 13, 8191),
        (5000, 12, 16383),
        (200, 7, 255),
        (300, None, 1023),
    ],
)
def test_bits_given_by_the_file_are_an_upper_bound(peak: int, bits: int | None, white: int) -> None:
    assert full_scale_of([np.array([0, peak], np.uint16)], bits) == white


@pytest.mark.parametrize(
    "values",
    [
        np.array([0.0, 1.0]),
        np.array([0, 1]),
        np.array([0.0, 0.5]),
        np.array([0.5, 200.0]),
        np.array([-1, 200]),
        np.array([-1.0, 200.0]),
        np.array([np.nan, 200.0]),
        np.array([np.inf, 200.0]),
        np.array([0, 70_000]),
        np.array([True, False]),
    ],
)
def test_numbers_without_a_white(values: NDArray[Any]) -> None:
    assert full_scale_of([values]) is None


def test_all_frames_of_a_file_share_one_white() -> None:
    dark, bright = np.full((2, 2), 100, np.uint16), np.full((2, 2), 4000, np.uint16)
    assert full_scale_of([dark, bright]) == full_scale_of([bright, dark]) == 4095
    assert full_scale_of(frame for frame in (dark, bright)) == 4095
    assert full_scale_of(np.stack([dark, bright])) == 4095
    assert full_scale_of([np.ones((2, 2)), np.full((2, 2), 0.5)]) is None


def test_colours_of_sixteen_bits_are_scaled_together() -> None:
    values = np.zeros((1, 2, 3), np.uint16)
    values[0, 1] = 4095
    np.testing.assert_allclose(to_grey(values), [[0, 1]], atol=1e-6)
    values[0, 1] = 4095, 0, 0
    np.testing.assert_allclose(to_grey(values), [[0, 0.299]], atol=1e-6)


def test_floats_in_unit_range_stay_as_they_are() -> None:
    values = np.array([[0, 0.25, 1]], np.float64)
    assert to_grey(values).tolist() == values.tolist()


@pytest.mark.parametrize("values", [[[-5, 200]], [[0.5, 200.0]], [[0, 70_000]]])
def test_numbers_without_a_white_are_stretched_or_refused(values: Any) -> None:
    with pytest.raises(ImageError, match=r"in \[0, 1\]"):
        to_grey(np.array(values))
    assert to_grey(np.array(values), stretch=True).tolist() == [[0, 1]]


@given(
    values=st.lists(st.integers(0, 65535), min_size=2, max_size=20),
    dtype=st.sampled_from(["u2", "u4", "i4", "f4", "f8"]),
)
def test_the_type_of_whole_numbers_changes_nothing(values: list[int], dtype: str) -> None:
    plain = np.array([values], np.uint16)
    if plain.max() > 1:
        np.testing.assert_array_equal(to_grey(plain), to_grey(plain.astype(dtype)))
