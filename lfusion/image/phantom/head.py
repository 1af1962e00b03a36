"""The fetal head: scalp, skull, brain, its cavities and membranes."""

from __future__ import annotations

import math

import numpy as np

from lfusion.image.phantom.scene import Region, Scene, Stroke
from lfusion.image.phantom.tissue import (
    BeamGrid,
    Map,
    Tissue,
    amplitude,
    head_distance,
    head_frame,
    smooth_noise,
    soft_step,
    sum_waves,
)

_BONE_DB = -40.0
# The pulse thickens the echo: with this inset its outer edge falls on the HC ellipse, as in HC18.
_INSET_MM = 0.35


def add_head(scene: Scene, grid: BeamGrid, rng: np.random.Generator, tissue: Tissue) -> None:
    """Put the head into the tissue maps, in place.

    Args:
        scene: The drawn anatomy.
        grid: Where to evaluate it.
        rng: Source of the textures.
        tissue: The womb, overwritten where the head is.
    """
    mm = scene.pixel_size_mm
    dx, dy = grid.x - scene.ellipse.cx * mm, grid.y - scene.ellipse.cy * mm
    half_p, half_q = scene.half_axes_mm
    u, v = head_frame(dx, dy, scene)
    distance = head_distance(dx, dy, scene)
    phase = np.arctan2(v / half_q, u / half_p)
    nu, nv = u / half_p**2, v / half_q**2
    norm = np.hypot(nu, nv) + 1e-9
    bu, bv = head_frame(grid.direction_x[None, :], grid.direction_y[None, :], scene)
    cosine = np.clip(np.abs(nu * bu + nv * bv) / norm, 0.0, 1.0)

    skull = scene.skull
    scalp = soft_step(1.2 + 0.8 * skull.thickness_mm - distance, 0.4)
    tissue.backscatter_db += scalp * (-41.0 - tissue.backscatter_db)
    inner = -distance - skull.thickness_mm
    inside = soft_step(inner, 0.25)
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
    """Parenchyma with its folds, then cavities and membranes inside the skull."""
    u, v, bu, bv = frame
    half_p = scene.half_axes_mm[0]
    tissue.specular *= 1.0 - inside
    brain = _parenchyma(scene, u, v, inner, rng)
    tissue.backscatter_db += inside * (brain - tissue.backscatter_db)
    soft = 0.1 * scene.probe.frequency_mhz * 0.45
    tissue.loss_db_per_mm += inside * (soft - tissue.loss_db_per_mm)
    rows, columns = np.nonzero(inside > 0.01)
    where = (rows, columns)
    flat_u, flat_v, keep = u[where], v[where], inside[where]
    beam_u, beam_v = bu[0, columns], bv[0, columns]
    level, echo = tissue.backscatter_db[where], tissue.specular[where]
    grain = smooth_noise(flat_u, flat_v, 0.05 * half_p, rng)
    for stroke in scene.strokes:
        _paint_stroke(stroke, scene, (flat_u, flat_v, beam_u, beam_v), grain, keep, echo)
    for region in scene.regions:
        _paint_region(region, scene, (flat_u, flat_v, beam_u, beam_v), grain, level, echo)
    tissue.backscatter_db[where], tissue.specular[where] = level, echo


def _parenchyma(scene: Scene, u: Map, v: Map, inner: Map, rng: np.random.Generator) -> Map:
    """Level of the brain: dark towards the skull, coarse in the centre, bright along its folds."""
    half_p = scene.half_axes_mm[0]
    texture = 1.8 * smooth_noise(u, v, 0.16 * half_p, rng) + smooth_noise(u, v, 0.07 * half_p, rng)
    cisterns = np.exp(-((inner / (0.05 * half_p)) ** 2))
    spots = smooth_noise(u, v, 0.03 * half_p, rng)
    core = np.exp(-((u / (0.55 * half_p)) ** 2) - (v / (0.42 * half_p)) ** 2)
    brain = (
        scene.brain_db
        + (1.0 + core) * texture
        + (1.0 + 3.0 * core) * spots
        + scene.core_db * core
        - 7.0 * cisterns
    )
    folds = smooth_noise(u, v, 0.13 * half_p, rng)
    slope = np.abs(np.gradient(folds, axis=0)) * half_p
    ridge = np.exp(-((folds / 0.16) ** 2)) * np.clip(slope / 6.0, 0.0, 1.0)
    shown = soft_step(smooth_noise(u, v, 0.3 * half_p, rng), 0.3)
    return np.asarray(brain + ridge * shown * np.clip(scene.sulci_db - brain, 0.0, None))


def _paint_region(
    region: Region,
    scene: Scene,
    frame: tuple[Map, Map, Map, Map],
    grain: Map,
    level: Map,
    echo: Map,
) -> None:
    """Fill one region (in place) and line it with a wall seen where beams meet it squarely."""
    u, v, bu, bv = frame
    half_p, half_q = scene.half_axes_mm
    eu, ev = u - region.p * half_p, v - region.q * half_q
    c, s = math.cos(region.angle_rad), math.sin(region.angle_rad)
    ra, rb = region.radius_p * half_p, region.radius_q * half_p
    along = eu * c + ev * s
    across = -eu * s + ev * c - region.bend * (along**2 / ra - 0.4 * ra)
    rho = np.hypot(along / ra, across / rb) + 1e-9
    na, nb = along / ra**2, across / rb**2
    norm = np.hypot(na, nb) + 1e-9
    distance = (rho - 1.0) * rho / norm + 0.05 * rb * grain
    cover = soft_step(-distance, 0.3)
    echo *= 1.0 - cover
    level += cover * (region.level_db + region.texture_db * grain - level)
    cosine = np.abs((na * c - nb * s) * bu + (na * s + nb * c) * bv) / norm
    wall = np.exp(-((distance / (0.011 * half_p)) ** 2)) * cosine**6
    np.maximum(echo, amplitude(region.wall_db) * wall, out=echo)


def _paint_stroke(
    stroke: Stroke,
    scene: Scene,
    frame: tuple[Map, Map, Map, Map],
    grain: Map,
    keep: Map,
    echo: Map,
) -> None:
    """Add the echo of one membrane, in place; a membrane along the beam is all but unseen."""
    u, v, bu, bv = frame
    half_p, half_q = scene.half_axes_mm
    u0, v0 = stroke.p0 * half_p, stroke.q0 * half_q
    du, dv = stroke.p1 * half_p - u0, stroke.q1 * half_q - v0
    length = math.hypot(du, dv) + 1e-9
    along = ((u - u0) * du + (v - v0) * dv) / length
    across = ((u - u0) * -dv + (v - v0) * du) / length + 0.005 * half_p * grain
    taper = min(0.03 * half_p, 0.3 * length)
    ends = soft_step(along, taper) * soft_step(length - along, taper)
    cosine = np.abs(-dv * bu + du * bv) / length
    line = np.exp(-((across / (0.012 * half_p)) ** 2)) * ends * (0.1 + 0.9 * cosine**4)
    np.maximum(echo, amplitude(stroke.level_db) * line * keep * amplitude(2.0 * grain), out=echo)


def _paint_skull(scene: Scene, distance: Map, phase: Map, cosine: Map, tissue: Tissue) -> None:
    """Bone: an echo that fades with obliquity, and a loss that grows with it."""
    skull = scene.skull
    where = np.nonzero(np.abs(distance) < 3.0 * skull.thickness_mm)
    distance, phase, cosine = distance[where], phase[where], cosine[where]
    gap = np.zeros_like(distance)
    for centre, half in skull.sutures:
        turn = (phase - centre + math.pi) % (2.0 * math.pi) - math.pi
        gap = np.maximum(gap, np.exp(-((turn / half) ** 4)))
    uneven = sum_waves(skull.unevenness, phase)
    thickness = skull.thickness_mm * np.clip(1.0 + 0.04 * uneven, 0.5, 1.5)
    depth = -distance - _INSET_MM
    shell = soft_step(depth, 0.2) * soft_step(thickness - depth, 0.2)
    obliquity = np.arccos(cosine)
    fade = skull.fade_db * (1.0 + np.cos(phase - skull.fade_phase_rad)) / 2.0
    directivity = np.exp(-((obliquity / skull.specular_width_rad) ** 2))
    directivity = directivity + amplitude(skull.diffuse_db)
    echo = amplitude(skull.level_db + uneven - fade - 14.0 * gap) * directivity
    tissue.specular[where] = np.maximum(tissue.specular[where] * (1.0 - shell), shell * echo)
    tissue.backscatter_db[where] += shell * (_BONE_DB - tissue.backscatter_db[where])
    critical = 14.0 * soft_step(obliquity - math.radians(48.0), math.radians(7.0))
    loss = (skull.loss_db + critical) / skull.thickness_mm * (1.0 - 0.8 * gap)
    loss = loss * np.maximum(cosine, 0.25)
    tissue.loss_db_per_mm[where] += shell * (loss - tissue.loss_db_per_mm[where])
