"""The sector keeps all tissue and drops what the scanner wrote around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lfusion.image import Dataset, sector_mask
from lfusion.types import BoolMap, GreyImage


@pytest.fixture
def fan() -> BoolMap:
    """[300, 400]: a convex probe's fan, 70 degrees wide, apex above the picture."""
    y, x = np.mgrid[:300, :400]
    radius, angle = np.hypot(x - 200, y + 40), np.arctan2(x - 200, y + 40)
    shown: BoolMap = (radius > 60) & (radius < 320) & (np.abs(angle) < np.deg2rad(35))
    return shown


def _speckle(shown: BoolMap) -> GreyImage:
    noise = np.random.default_rng(0).rayleigh(0.2, shown.shape)
    return (np.clip(noise, 0, 1) * shown).astype(np.float32)


def test_fan_is_found_within_a_few_pixels(fan: BoolMap) -> None:
    sector = sector_mask(_speckle(fan))
    assert sector[fan].all()
    y, x = np.mgrid[:300, :400]
    outside = np.hypot(x - 200, y + 40) > 330
    assert not sector[outside].any()
    assert not sector[:, :5].any()


def test_text_ruler_and_grey_bar_are_left_out(fan: BoolMap) -> None:
    pixels = _speckle(fan)
    expected = sector_mask(pixels)
    pixels[20:120, 4:10] = np.linspace(1, 0.1, 100)[:, None]
    pixels[10:290:20, 392:396] = 1
    pixels[20:28, 350:390:4] = 1
    np.testing.assert_array_equal(sector_mask(pixels), expected)


def test_shadow_inside_the_fan_belongs_to_it(fan: BoolMap) -> None:
    pixels = _speckle(fan)
    pixels[100:, 190:230] = 0
    assert sector_mask(pixels)[fan].all()


def test_export_with_black_as_one(fan: BoolMap) -> None:
    pixels = np.maximum(_speckle(fan), np.float32(1 / 255))
    assert not sector_mask(pixels)[:, :5].any()


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 3), (200, 333), (2, 4000)])
def test_constant_image_is_all_sector(shape: tuple[int, int], value: float) -> None:
    assert sector_mask(np.full(shape, value, dtype=np.float32)).all()


def test_image_without_black_background_is_all_sector() -> None:
    assert sector_mask(_speckle(np.ones((123, 211), dtype=np.bool_))).all()


@given(
    pixels=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.sampled_from([0.0, 0.0, 0.25, 1.0]),
    )
)
def test_every_image_has_a_sector_with_echoes_in_it(pixels: GreyImage) -> None:
    sector = sector_mask(pixels)
    assert sector.shape == pixels.shape
    assert sector.any()
    flipped = sector_mask(np.ascontiguousarray(pixels[:, ::-1]))
    np.testing.assert_array_equal(flipped[:, ::-1], sector)


@pytest.mark.parametrize("name", ["hc18", "brain_structures", "busi"])
def test_no_annotated_pixel_of_real_images_is_outside(shared_data: Path, name: str) -> None:
    cases = Dataset.read(shared_data / name).cases[::12]
    lost = {case.id: int((case.read_mask() > 0)[~case.read().sector].sum()) for case in cases}
    assert not any(lost.values()), lost


def test_background_of_a_real_fan_is_outside(shared_data: Path) -> None:
    fans = Dataset.read(shared_data / "psfhs").cases[::60]
    areas = [float(case.read().sector.mean()) for case in fans]
    assert 0.5 < min(areas) < max(areas) < 0.85
