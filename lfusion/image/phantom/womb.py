"""The womb around the head: abdominal wall, uterus, placenta, fluid and limbs."""

from __future__ import annotations

import math

import numpy as np

from lfusion.image.phantom.brain import FLUID_DB
from lfusion.image.phantom.scene import Scene
from lfusion.image.phantom.tissue import (
    BeamGrid,
    Map,
    Tissue,
    head_distance,
    smooth_noise,
    soft_step,
    sum_waves,
)

# Two-way attenuation, dB / cm / MHz.
_TISSUE_LOSS, _FLUID_LOSS = 0.5, 0.03


def build_womb(scene: Scene, grid: BeamGrid, rng: np.random.Generator) -> Tissue:
    """Fill the beam grid with everything around the head.

    Args:
        scene: The drawn anatomy.
        grid: Where to evaluate it.
        rng: Source of the textures.

    Returns:
        Acoustic maps; where the head belongs, they go on underneath.
    """
    womb, mm = scene.surroundings, scene.pixel_size_mm
    dx, dy = grid.x - scene.ellipse.cx * mm, grid.y - scene.ellipse.cy * mm
    sway = smooth_noise(grid.x, grid.y, 28.0, rng)
    fine = smooth_noise(grid.x, grid.y, 5.0, rng) + smooth_noise(grid.x, grid.y, 2.2, rng)
    bearing = np.arctan2(dy, dx)
    outline = head_distance(dx, dy, scene)
    in_wall = womb.wall_mm + 3.0 * sway - grid.depth_mm[:, None]
    swell = np.exp(sum_waves(womb.margin_waves, bearing))
    cavity = np.minimum(womb.margin_mm * swell - 2.0 + 2.0 * sway - outline, -in_wall - 4.0)

    level = _soft_tissue(scene, grid, (sway, fine, in_wall), rng)
    level += 0.7 * np.exp(-(((cavity + 3.0) / 3.0) ** 2)) * (-34.0 - level)
    fluid = soft_step(cavity, 0.5)
    level += fluid * (FLUID_DB - level)
    towards = np.clip(np.cos(bearing - womb.placenta_angle_rad) - 0.25, 0.0, None) / 0.75
    thickness = womb.placenta_mm * towards - np.abs(cavity) - 1.0
    if womb.placenta_mm > 0.0:
        inside = soft_step(thickness + 1.5 * sway, 0.7) * soft_step(outline - 1.5, 0.5)
        level += inside * (womb.placenta_db + 2.0 * fine - level)
        fluid *= 1.0 - inside
    slope = np.abs(np.gradient(cavity, axis=0)) / (grid.depth_mm[1] - grid.depth_mm[0])
    border = np.exp(-((cavity / 0.5) ** 2)) * soft_step(-thickness, 1.0)
    specular = 0.12 * border * np.clip(slope, 0.0, 1.0) ** 3
    specular += 0.18 * np.exp(-((in_wall / 0.6) ** 2)) * soft_step(fine + 0.5, 0.3)
    loss = 0.1 * scene.probe.frequency_mhz * (_TISSUE_LOSS + fluid * (_FLUID_LOSS - _TISSUE_LOSS))
    tissue = Tissue(level, specular, loss)
    for limb in womb.limbs:
        _add_limb(limb, scene, dx, dy, outline, tissue)
    return tissue


def _soft_tissue(
    scene: Scene, grid: BeamGrid, noise: tuple[Map, Map, Map], rng: np.random.Generator
) -> Map:
    """Level of maternal tissue: patches with planes of fascia, and a striped abdominal wall."""
    womb, (sway, fine, in_wall) = scene.surroundings, noise
    planes = np.abs(smooth_noise(grid.x / 2.5, grid.y, 9.0, rng))
    level = womb.far_level_db + womb.patch_db * sway + 2.0 * fine
    level += 9.0 * np.exp(-((planes / 0.09) ** 2)) * soft_step(sway, 0.5)
    streak = smooth_noise(grid.x / 12.0, grid.depth_mm[:, None] + 3.0 * sway, 1.3, rng)
    striped = -35.0 + 6.0 * streak + 2.0 * fine
    return np.asarray(level + soft_step(in_wall, 0.8) * (striped - level))


def _add_limb(
    limb: tuple[float, float, float, float],
    scene: Scene,
    dx: Map,
    dy: Map,
    outline: Map,
    tissue: Tissue,
) -> None:
    """A piece of limb beside the head: soft tissue around a bone that casts a shadow."""
    bearing, away, radius, turn = limb
    half_p, half_q = scene.half_axes_mm
    reach = away + radius + math.hypot(half_p * math.cos(bearing), half_q * math.sin(bearing))
    ex, ey = dx - reach * math.cos(bearing), dy - reach * math.sin(bearing)
    along = ex * math.cos(turn) + ey * math.sin(turn)
    across = -ex * math.sin(turn) + ey * math.cos(turn)
    flesh = soft_step(radius - np.hypot(along / 1.8, across), 0.5) * soft_step(outline - 2.0, 0.5)
    bone = np.exp(-((np.hypot(along / 3.0, across) / 1.3) ** 2)) * soft_step(outline - 3.0, 0.5)
    tissue.backscatter_db += flesh * (-33.0 - tissue.backscatter_db)
    tissue.specular += 0.5 * bone
    tissue.loss_db_per_mm += 5.0 * bone + flesh * 0.2
