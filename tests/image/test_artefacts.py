from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.image import UltrasoundImage, as_ultrasound_image
from lfusion.image.artefacts import (
    ARTEFACTS,
    SEVERITIES,
    Gain,
    PastedLesion,
    Reverberation,
    Shadow,
    Speckle,
    draw_artefact,
)
from lfusion.image.artefacts.geometry import beam_coordinates


@pytest.fixture(scope="module")
def scan() -> UltrasoundImage:
    """Speckle in a fan, black around it."""
    rows, columns = np.mgrid[:120, :160]
    angle = np.arctan2(columns - 79.5, rows + 40)
    fan = (np.abs(angle) < 0.5) & (rows > 5) & (rows < 115)
    texture = np.random.default_rng(0).uniform(0.2, 0.5, fan.shape)
    return as_ultrasound_image(np.where(fan, texture, 0.0).astype(np.float32))


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(sorted(ARTEFACTS)),
    severity=st.sampled_from(SEVERITIES),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_changed_is_where_it_says_and_in_range(
    scan: UltrasoundImage, kind: str, severity: int, seed: int
) -> None:
    artefact = draw_artefact(kind, severity, np.random.default_rng(seed))
    spoilt = artefact(scan)
    assert spoilt.image.pixels.dtype == np.float32
    assert 0.0 <= spoilt.image.pixels.min() <= spoilt.image.pixels.max() <= 1.0
    outside = ~scan.sector
    np.testing.assert_array_equal(spoilt.image.pixels[outside], scan.pixels[outside])
    assert not spoilt.where[outside].any()
    again = draw_artefact(kind, severity, np.random.default_rng(seed))
    assert again == artefact
    np.testing.assert_array_equal(again(scan).image.pixels, spoilt.image.pixels)


@pytest.mark.parametrize("kind", ARTEFACTS)
def test_more_severe_changes_more(scan: UltrasoundImage, kind: str) -> None:
    def change(severity: int) -> float:
        rng = np.random.default_rng(1)
        pixels = draw_artefact(kind, severity, rng)(scan).image.pixels
        return float(np.abs(pixels - scan.pixels).mean())

    changes = [change(severity) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert changes[0] > 0


@pytest.mark.parametrize(("kind", "severity"), [("halo", 1), ("shadow", 0), ("shadow", 6)])
def test_unknown_kinds_and_severities_are_refused(kind: str, severity: int) -> None:
    with pytest.raises(ValueError, match="expected a"):
        draw_artefact(kind, severity, np.random.default_rng(0))


def test_beams_fan_out_from_above(scan: UltrasoundImage) -> None:
    beam, depth = beam_coordinates(scan.sector)
    inside = scan.sector
    assert beam[inside].min() == 0.0
    assert beam[inside].max() == 1.0
    assert depth[inside].max() == 1.0
    assert beam[60, 80] == pytest.approx(0.5, abs=0.02)
    assert depth[100, 80] > depth[20, 80]
    # the same beam lies farther from the middle where it is deeper
    near, far = (np.abs(beam[row] - 0.75).argmin() for row in (30, 100))
    assert far - 79.5 > 1.3 * (near - 79.5)


def test_a_shadow_darkens_behind_its_start_only(scan: UltrasoundImage) -> None:
    spoilt = Shadow(beam=0.5, width=0.2, start=0.5, loss=0.9)(scan)
    np.testing.assert_array_equal(spoilt.image.pixels[:30], scan.pixels[:30])
    lost = spoilt.image.pixels[95, 78:82].mean() / scan.pixels[95, 78:82].mean()
    assert lost == pytest.approx(0.1, abs=0.02)


def test_gain_shifts_and_keeps_black_black(scan: UltrasoundImage) -> None:
    dark = as_ultrasound_image(np.where(scan.pixels < 0.3, 0.0, scan.pixels).astype(np.float32))
    brighter = Gain(offset=0.2, slope=0.0)(dark).image.pixels
    np.testing.assert_array_equal(brighter[dark.pixels == 0], 0.0)
    shifted = brighter[dark.pixels > 0.3] - dark.pixels[dark.pixels > 0.3]
    np.testing.assert_allclose(shifted, 0.2, atol=1e-6)


def test_reverberation_repeats_the_near_field_weaker_and_weaker() -> None:
    pixels = np.zeros((100, 60), np.float32)
    pixels[2:6] = 0.8
    pixels[99] = 0.01  # the sector reaches down to here
    scan = as_ultrasound_image(pixels)
    found = Reverberation(spacing=0.2, strength=0.5, decay=0.5)(scan).image.pixels[:, 30]
    peaks = [float(found[row - 4 : row + 5].max()) for row in (24, 44, 64)]
    assert peaks[0] == pytest.approx(0.5, abs=0.05)
    assert peaks[1] == pytest.approx(peaks[0] / 2, rel=0.1)
    assert peaks[2] == pytest.approx(peaks[0] / 4, rel=0.1)
    assert found[14] < 0.05


def test_speckle_keeps_the_median(scan: UltrasoundImage) -> None:
    spoilt = Speckle(grain=0.006, strength=0.3, seed=3)(scan).image.pixels
    factor = spoilt[scan.sector & (scan.pixels > 0)] / scan.pixels[scan.sector & (scan.pixels > 0)]
    assert np.median(factor) == pytest.approx(1.0, abs=0.05)
    assert np.log(factor).std() == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize(("level", "sign"), [(0.1, 1), (0.7, -1)])
def test_a_lesion_stands_out_from_what_it_covers(level: float, sign: int) -> None:
    flat = as_ultrasound_image(np.full((80, 100), level, np.float32))
    spoilt = PastedLesion(
        row=0.5, column=0.5, radius=0.1, aspect=1.0, angle_rad=0.0, contrast=0.3, roll=(0.3, 0.3)
    )(flat)
    assert sign * (spoilt.image.pixels[40, 50] - level) == pytest.approx(0.3, abs=0.02)
    assert spoilt.where.sum() == pytest.approx(np.pi * 0.01 * 80 * 100, rel=0.05)
    np.testing.assert_array_equal(spoilt.image.pixels[:20], flat.pixels[:20])
