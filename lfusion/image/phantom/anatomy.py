"""Acoustic properties of a scene, sampled where the beams pass.

Every map has the shape of the beam grid [samples, beams]. Levels are dB relative to the
echo that saturates the display.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.special import expit

from lfusion.image.phantom.brain import FLUID_DB
from lfusion.image.phantom.scene import Region, Scene, Stroke

Map = NDArray[np.float64]


@dataclass(frozen=True)
class BeamGrid:
    """Positions (mm, image frame) and directions of the samples along the beams."""

    x: Map
    y: Map
    depth_mm: NDArray[np.float64]
    direction_x: NDArray[np.float64]
    direction_y: NDArray[np.float64]


@dataclass
class Tissue:
    """Acoustic maps on the beam grid.

    Attributes:
        backscatter_db: Level of the diffuse echo.
        specular: Amplitude of the echo from interfaces, directivity included (1 saturates).
        loss_db_per_mm: Two-way attenuation.
    """

    backscatter_db: Map
    specular: Map
    loss_db_per_mm: Map


def build_tissue(scene: Scene, grid: BeamGrid, rng: np.random.Generator) -> Tissue:
    """Evaluate the anatomy on the beam grid.

    Args:
        scene: The drawn anatomy.
        grid: Where to evaluate.
        rng: Source of the tissue textures.

    Returns:
        Acoustic maps, shape of the grid.
    """
    tissue = _womb(scene, grid, rng)
    _add_head(scene, grid, rng, tissue)
    return tissue


def smooth_noise(x: Map, y: Map, scale_mm: float, rng: np.random.Generator) -> Map:
    """Unit-variance random field with features of about `scale_mm`.

    Args:
        x: Abscissae, mm.
        y: Ordinates, mm.
        scale_mm: Knot spacing of the cubic spline.
        rng: Source of the knots.

    Returns:
        Field values, shape of `x`.
    """
    x0, y0 = float(x.min()), float(y.min())
    shape = (int((y.max() - y0) / scale_mm) + 3, int((x.max() - x0) / scale_mm) + 3)
    knots = rng.standard_normal(shape)
    field: Map = map_coordinates(knots, [(y - y0) / scale_mm, (x - x0) / scale_mm], order=3,
                                 mode="nearest")  # fmt: skip
    return 1.35 * field


def _step(distance: Map, softness: float) -> Map:
    """1 where `distance` is positive, 0 where negative, over a soft edge."""
    step: Map = expit(distance / softness)
    return step


def _amplitude(level_db: float | Map) -> Map:
    return np.asarray(10.0 ** (np.asarray(level_db) / 20.0))


def _womb(scene: Scene, grid: BeamGrid, rng: np.random.Generator) -> Tissue:
    """Abdominal wall, uterus, placenta and fluid, before the head is put in."""
    womb, mm = scene.surroundings, scene.pixel_size_mm
    dx, dy = grid.x - scene.ellipse.cx * mm, grid.y - scene.ellipse.cy * mm
    depth = np.broadcast_to(grid.depth_mm[:, None], dx.shape)
    sway = smooth_noise(grid.x, grid.y, 28.0, rng)
    fine = smooth_noise(grid.x, grid.y, 5.0, rng)
    bearing = np.arctan2(dy, dx)
    outline = _head_distance(dx, dy, scene)
    knots = np.array([*womb.margins_mm, womb.margins_mm[0]])
    margin = np.interp(bearing, np.linspace(-math.pi, math.pi, knots.size), knots)
    cavity = margin + 2.0 * sway - outline
    wall_depth = depth - womb.wall_mm - 3.0 * sway
    cavity = np.minimum(cavity, wall_depth - 4.0)

    level = womb.far_level_db + 2.5 * sway + 1.5 * fine
    streak = smooth_noise(grid.x / 9.0, depth + 4.0 * sway, 1.6, rng)
    striped = -30.0 + 7.0 * streak
    level = level + _step(-wall_depth, 0.8) * (striped - level)
    rim = np.exp(-(((cavity + 3.0) / 3.0) ** 2))
    level = level + rim * (-34.0 - level) * 0.7
    towards = np.cos(bearing - womb.placenta_angle_rad)
    placenta = womb.placenta_mm * np.clip(towards - 0.25, 0.0, None) / 0.75 - np.abs(cavity) - 1.0
    fluid = _step(cavity, 0.5)
    level = level + fluid * (FLUID_DB - level)
    if womb.placenta_mm > 0.0:
        inside = _step(placenta + 1.5 * sway, 0.7) * _step(outline - 1.5, 0.5)
        level = level + inside * (-31.0 + 1.5 * fine - level)
        fluid = fluid * (1.0 - inside)
    slope = np.abs(np.gradient(cavity, axis=0)) / (np.gradient(grid.depth_mm)[:, None])
    border = np.exp(-((cavity / 0.5) ** 2)) * _step(placenta * -1.0, 1.0)
    specular = 0.20 * border * np.clip(slope, 0.0, 1.0) ** 3
    specular += 0.25 * np.exp(-((wall_depth / 0.6) ** 2)) * _step(fine + 0.5, 0.3)
    loss = 0.1 * scene.probe.frequency_mhz * (0.5 * (1.0 - fluid) + 0.03 * fluid)
    tissue = Tissue(level, specular, loss)
    for limb in womb.limbs:
        _add_limb(limb, scene, dx, dy, outline, tissue)
    return tissue


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
    flesh = _step(radius - np.hypot(along / 1.8, across), 0.5) * _step(outline - 2.0, 0.5)
    bone = np.exp(-((np.hypot(along / 3.0, across) / 1.3) ** 2)) * _step(outline - 3.0, 0.5)
    tissue.backscatter_db += flesh * (-33.0 - tissue.backscatter_db)
    tissue.specular += 0.5 * bone
    tissue.loss_db_per_mm += 5.0 * bone + flesh * 0.2


def _head_frame(dx: Map, dy: Map, scene: Scene) -> tuple[Map, Map]:
    c, s = math.cos(scene.forehead_rad), math.sin(scene.forehead_rad)
    return dx * c + dy * s, -dx * s + dy * c


def _head_distance(dx: Map, dy: Map, scene: Scene) -> Map:
    """First-order signed distance (mm) to the outer skull line, positive outside."""
    half_p, half_q = scene.half_axes_mm
    u, v = _head_frame(dx, dy, scene)
    rho = np.hypot(u / half_p, v / half_q) + 1e-9
    distance = (rho - 1.0) * rho / (np.hypot(u / half_p**2, v / half_q**2) + 1e-9)
    phase = np.arctan2(v / half_q, u / half_p)
    for order, amplitude, shift in scene.skull.undulation:
        distance = distance - half_q * amplitude * np.cos(order * phase + shift)
    return np.asarray(distance)


def _add_head(scene: Scene, grid: BeamGrid, rng: np.random.Generator, tissue: Tissue) -> None:
    mm = scene.pixel_size_mm
    dx, dy = grid.x - scene.ellipse.cx * mm, grid.y - scene.ellipse.cy * mm
    half_p, half_q = scene.half_axes_mm
    u, v = _head_frame(dx, dy, scene)
    distance = _head_distance(dx, dy, scene)
    phase = np.arctan2(v / half_q, u / half_p)
    nu, nv = u / half_p**2, v / half_q**2
    norm = np.hypot(nu, nv) + 1e-9
    bu, bv = _head_frame(grid.direction_x[None, :], grid.direction_y[None, :], scene)
    cosine = np.clip(np.abs(nu * bu + nv * bv) / norm, 0.0, 1.0)

    skull = scene.skull
    scalp = _step(1.2 + 0.8 * skull.thickness_mm - distance, 0.4)
    tissue.backscatter_db += scalp * (-37.0 - tissue.backscatter_db)
    inner = -distance - skull.thickness_mm
    inside = _step(inner, 0.25)
    _paint_brain(scene, (u, v, bu, bv), rng, tissue, inside, inner)
    _paint_skull(scene, distance, phase, cosine, tissue)


def _paint_brain(
    scene: Scene,
    frame: tuple[Map, Map, Map, Map],
    rng: np.random.Generator,
    tissue: Tissue,
    inside: Map,
    inner: Map,
) -> None:
    u, v, bu, bv = frame
    half_p = scene.half_axes_mm[0]
    tissue.specular *= 1.0 - inside
    texture = 1.8 * smooth_noise(u, v, 0.16 * half_p, rng) + smooth_noise(u, v, 0.07 * half_p, rng)
    cisterns = np.exp(-((inner / (0.05 * half_p)) ** 2))
    brain = scene.brain_db + texture - 7.0 * cisterns
    folds = smooth_noise(u, v, 0.13 * half_p, rng)
    slope = np.abs(np.gradient(folds, axis=0)) * half_p
    ridge = np.exp(-((folds / 0.16) ** 2)) * np.clip(slope / 6.0, 0.0, 1.0)
    shown = _step(smooth_noise(u, v, 0.3 * half_p, rng), 0.3)
    brain = brain + ridge * shown * np.clip(scene.sulci_db - brain, 0.0, None)
    tissue.backscatter_db += inside * (brain - tissue.backscatter_db)
    soft = 0.1 * scene.probe.frequency_mhz * 0.45
    tissue.loss_db_per_mm += inside * (soft - tissue.loss_db_per_mm)
    rows, columns = np.nonzero(inside > 0.01)
    where = (rows, columns)
    flat_u, flat_v, keep = u[where], v[where], inside[where]
    beam_u, beam_v = bu[0, columns], bv[0, columns]
    level, echo = tissue.backscatter_db[where], tissue.specular[where]
    grain = smooth_noise(flat_u, flat_v, 0.05 * half_p, rng)
    for region in scene.regions:
        _paint_region(region, scene, (flat_u, flat_v, beam_u, beam_v), grain, level, echo)
    for stroke in scene.strokes:
        _paint_stroke(stroke, scene, (flat_u, flat_v, beam_u, beam_v), grain, keep, echo)
    tissue.backscatter_db[where], tissue.specular[where] = level, echo


def _paint_region(
    region: Region,
    scene: Scene,
    frame: tuple[Map, Map, Map, Map],
    grain: Map,
    level: Map,
    echo: Map,
) -> None:
    u, v, bu, bv = frame
    half_p, half_q = scene.half_axes_mm
    eu, ev = u - region.p * half_p, v - region.q * half_q
    c, s = math.cos(region.angle_rad), math.sin(region.angle_rad)
    along, across = eu * c + ev * s, -eu * s + ev * c
    ra, rb = region.radius_p * half_p, region.radius_q * half_p
    rho = np.hypot(along / ra, across / rb) + 1e-9
    na, nb = along / ra**2, across / rb**2
    norm = np.hypot(na, nb) + 1e-9
    distance = (rho - 1.0) * rho / norm + 0.05 * rb * grain
    cover = _step(-distance, 0.3)
    level += cover * (region.level_db + region.texture_db * grain - level)
    cosine = np.abs((na * c - nb * s) * bu + (na * s + nb * c) * bv) / norm
    wall = np.exp(-((distance / 0.45) ** 2)) * cosine**6
    np.maximum(echo, _amplitude(region.wall_db) * wall, out=echo)


def _paint_stroke(
    stroke: Stroke,
    scene: Scene,
    frame: tuple[Map, Map, Map, Map],
    grain: Map,
    keep: Map,
    echo: Map,
) -> None:
    u, v, bu, bv = frame
    half_p, half_q = scene.half_axes_mm
    u0, v0 = stroke.p0 * half_p, stroke.q0 * half_q
    du, dv = stroke.p1 * half_p - u0, stroke.q1 * half_q - v0
    length = math.hypot(du, dv) + 1e-9
    along = ((u - u0) * du + (v - v0) * dv) / length
    across = ((u - u0) * -dv + (v - v0) * du) / length + 0.25 * grain
    ends = _step(along, 0.4) * _step(length - along, 0.4)
    cosine = np.abs(-dv * bu + du * bv) / length
    line = np.exp(-((across / stroke.width_mm) ** 2)) * ends * (0.1 + 0.9 * cosine**4)
    np.maximum(echo, _amplitude(stroke.level_db) * line * keep * _amplitude(2.0 * grain), out=echo)


def _paint_skull(scene: Scene, distance: Map, phase: Map, cosine: Map, tissue: Tissue) -> None:
    """Bone: an echo that fades with obliquity, and a loss that grows with it."""
    skull = scene.skull
    gap = np.zeros_like(distance)
    for centre, half in skull.sutures:
        turn = np.angle(np.exp(1j * (phase - centre)))
        gap = np.maximum(gap, np.exp(-((turn / half) ** 4)))
    shell = _step(-distance - 0.1, 0.2) * _step(distance + skull.thickness_mm, 0.2)
    obliquity = np.arccos(cosine)
    fade = skull.fade_db * (1.0 + np.cos(phase - skull.fade_phase_rad)) / 2.0
    directivity = np.exp(-((obliquity / skull.specular_width_rad) ** 2)) + _amplitude(
        skull.diffuse_db
    )
    echo = _amplitude(skull.level_db - fade - 14.0 * gap) * directivity
    tissue.specular = np.maximum(tissue.specular * (1.0 - shell), shell * echo)
    tissue.backscatter_db += shell * (-24.0 - tissue.backscatter_db)
    critical = 14.0 * _step(obliquity - math.radians(48.0), math.radians(7.0))
    loss = (skull.loss_db + critical) / skull.thickness_mm * (1.0 - 0.8 * gap)
    tissue.loss_db_per_mm += shell * (loss * np.maximum(cosine, 0.25) - tissue.loss_db_per_mm)
