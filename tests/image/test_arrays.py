"""Arrays and images given instead of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import ImageError
from lfusion.image import as_ultrasound_image

_TYPES = st.sampled_from([np.bool_, np.uint8, np.uint16])
_SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(values=_TYPES.flatmap(lambda kind: arrays.arrays(kind, _SHAPES)))
def test_order_of_brightness_survives_and_stays_in_unit_range(values: NDArray[Any]) -> None:
    pixels = as_ultrasound_image(values).pixels
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    order = np.argsort(values, axis=None, kind="stable")
    assert (np.diff(pixels.ravel()[order]) >= 0).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[False, True]]), [[0, 1]]),
        (np.array([[0, 255]], dtype=np.uint8), [[0, 1]]),
        (np.array([[0, 65535]], dtype=">u2"), [[0, 1]]),
        (np.array([[0.0, 0.5]]), [[0, 0.5]]),
        (np.array([[0, 1]]), [[0, 1]]),
        (np.array([[0.0, 255.0]]), [[0, 1]]),
        (np.array([[0, 4095]], dtype=np.uint16), [[0, 1]]),
    ],
)
def test_types(values: NDArray[Any], expected: list[list[float]]) -> None:
    pixels = as_ultrasound_image(values).pixels
    assert pixels.dtype == np.float32
    assert pixels.tolist() == expected


def test_colour_channels() -> None:
    white = np.full((1, 2, 4), 255, dtype=np.uint8)
    white[..., 3] = 0
    np.testing.assert_allclose(as_ultrasound_image(white).pixels, [[1, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((0, 5)), "shape"),
        (np.zeros(5), "shape"),
        (np.zeros((5, 5, 2)), "shape"),
        (np.zeros((5, 5, 5, 3)), "shape"),
        (np.array([[0.5, 255.0]]), "0.5 to 255"),
        (np.array([[-1, 0]]), "-1 to 0"),
        (np.array([[np.nan, 0.0]]), "NaN"),
        (np.array([["a", "b"]]), "type"),
        (np.array([[1j]]), "complex"),
    ],
)
def test_arrays_that_are_no_image(values: NDArray[Any], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        as_ultrasound_image(values)


def test_pixel_size_of_an_array_gives_its_files_a_scale() -> None:
    image = as_ultrasound_image(np.zeros((2, 3)), (0.2, 0.1))
    assert image.pixel_size_mm == (0.2, 0.1)
    assert image.geometry.physical
    assert image.geometry.spacing == (0.1, 0.2)


def test_array_without_pixel_size_is_unscaled() -> None:
    assert as_ultrasound_image(np.zeros((2, 3))).pixel_size_mm is None


def test_given_pixel_size_wins_over_the_image_and_leaves_its_place(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    image = as_ultrasound_image(tmp_path / "a.png", 0.3)
    assert image.pixel_size_mm == (0.3, 0.3)
    assert as_ultrasound_image(image) is image
    again = as_ultrasound_image(image, 0.4)
    assert again.pixel_size_mm == (0.4, 0.4)
    assert again.geometry == image.geometry
    assert again.geometry.spacing == (1.0, 1.0)


@pytest.mark.parametrize("size", [0, -0.1, float("nan"), float("inf"), (0.1, 0), (1, 2, 3)])
def test_pixel_size_must_be_positive(size: float | tuple[float, ...]) -> None:
    with pytest.raises(ImageError, match="positive"):
        as_ultrasound_image(np.zeros((2, 3)), size)
