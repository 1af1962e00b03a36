"""The B-mode physics of the phantom generator, against hand-made tissue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lfusion.image.phantom.acoustics import (
    beam_grid,
    beam_width_beams,
    display,
    point_spread,
    receive,
)
from lfusion.image.phantom.parameters import draw_scene
from lfusion.image.phantom.scene import Scene
from lfusion.image.phantom.tissue import BeamGrid, Tissue


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A scanner without compounding, slider errors or audible noise."""
    drawn = draw_scene(np.random.Generator(np.random.PCG64(0)))
    quiet = replace(
        drawn.probe, looks=1, noise_db=-200.0, gain_db=0.0, tgc_error_db=(0.0, 0.0), start_mm=0.0
    )
    return replace(drawn, probe=quiet)


def _homogeneous(grid: BeamGrid, level_db: float = -30.0) -> Tissue:
    """Tissue whose loss is nil, so that only the scatterers shape the echo."""
    shape = grid.x.shape
    return Tissue(np.full(shape, level_db), np.zeros(shape), np.zeros(shape))


def _uncompensated(scene: Scene) -> Scene:
    return replace(scene, probe=replace(scene.probe, tgc_db_per_cm_mhz=0.0))


def test_speckle_is_rayleigh(scene: Scene) -> None:
    """Envelope mean over standard deviation: sqrt(pi / (4 - pi)) = 1.913 when fully developed."""
    flat = _uncompensated(scene)
    grid = beam_grid(flat)
    envelope = receive(_homogeneous(grid), flat, grid, np.random.Generator(np.random.PCG64(1)))
    inner = envelope[40:-40, 40:-40]
    assert inner.mean() / inner.std() == pytest.approx(1.913, abs=0.06)


def test_echo_has_the_level_of_its_tissue(scene: Scene) -> None:
    """Mean power is the backscatter level wherever the beam is wide or narrow."""
    flat = _uncompensated(scene)
    grid = beam_grid(flat)
    envelope = receive(_homogeneous(grid), flat, grid, np.random.Generator(np.random.PCG64(2)))
    level = 10.0 * np.log10(np.mean(envelope[40:-40, 40:-40] ** 2))
    assert level == pytest.approx(-30.0, abs=1.0)


def test_compounding_smooths_speckle(scene: Scene) -> None:
    """Three independent looks raise the envelope's SNR by sqrt(3)."""
    flat = _uncompensated(scene)
    flat = replace(flat, probe=replace(flat.probe, looks=3))
    grid = beam_grid(flat)
    envelope = receive(_homogeneous(grid), flat, grid, np.random.Generator(np.random.PCG64(3)))
    inner = envelope[40:-40, 40:-40]
    assert inner.mean() / inner.std() == pytest.approx(1.913 * np.sqrt(3.0), rel=0.05)


def test_bone_casts_a_shadow(scene: Scene) -> None:
    """A slab that takes 20 dB from the left beams leaves them 20 dB darker behind, not before."""
    flat = _uncompensated(scene)
    grid = beam_grid(flat)
    tissue = _homogeneous(grid)
    step = grid.depth_mm[1] - grid.depth_mm[0]
    tissue.loss_db_per_mm[300:310, :128] = 2.0 / step
    envelope = receive(tissue, flat, grid, np.random.Generator(np.random.PCG64(4)))
    level = 10.0 * np.log10([[np.mean(envelope[rows, columns] ** 2) for columns in
                              (slice(30, 90), slice(166, 226))]
                             for rows in (slice(30, 280), slice(340, 600))])  # fmt: skip
    assert level[0, 0] - level[0, 1] == pytest.approx(0.0, abs=1.0)
    assert level[1, 0] - level[1, 1] == pytest.approx(-20.0, abs=1.0)


def test_beam_is_narrowest_at_the_focus(scene: Scene) -> None:
    probe = replace(scene.probe, focus_mm=60.0)
    near, focus, far = beam_width_beams(probe, np.array([20.0, 60.0, 160.0])) * (
        probe.radius_mm + np.array([20.0, 60.0, 160.0])
    )
    assert focus < near
    assert focus < far


def test_point_spread_keeps_the_amplitude_of_a_wide_interface() -> None:
    """The kernel sums to one: a constant field stays as it is away from the borders."""
    echo = np.ones((60, 64), dtype=np.complex128)
    blurred = point_spread(echo, 2.0, np.full(60, 1.5))
    np.testing.assert_allclose(blurred[20:40, 25:39], 1.0, atol=1e-6)


def test_display_maps_decibels_to_grey(scene: Scene) -> None:
    """Full scale is white, the bottom of the dynamic range black, half way (no gamma) mid-grey."""
    linear = replace(scene, probe=replace(scene.probe, grey_gamma=1.0, dynamic_range_db=60.0))
    grid = beam_grid(linear)
    centre = (int(scene.ellipse.cy), int(scene.ellipse.cx))
    for level_db, grey in ((0.0, 255), (-30.0, 128), (-60.0, 0), (-90.0, 0)):
        image, fan = display(np.full(grid.x.shape, 10.0 ** (level_db / 20.0)), linear)
        assert fan[centre]
        assert int(image[centre]) == pytest.approx(grey, abs=1)
        assert not image[~fan].any()
