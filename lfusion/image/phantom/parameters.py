"""Random choices of a normal phantom: the head, its womb and the scanner's settings."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lfusion.image.phantom.brain import draw_brain
from lfusion.image.phantom.scene import (
    HEIGHT_PX,
    WIDTH_PX,
    HeadEllipse,
    Probe,
    Scene,
    Skull,
    Surroundings,
)

_WEEKS = (13.5, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0)
_HC_MM = (90.0, 124.0, 175.0, 222.0, 263.0, 296.0, 318.0, 330.0)
_HC_RANGE_MM = (90.0, 330.0)


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a normal head in its womb, and a scanner set up to see it.

    Args:
        rng: Source of every choice.

    Returns:
        A scene of a normal, adequately scanned head.
    """
    weeks = float(rng.triangular(13.5, 21.0, 39.5))
    pixel_size_mm, ellipse, forehead = _draw_pose(rng, weeks)
    regions, strokes = draw_brain(rng, weeks, -1.0 if math.cos(forehead) > 0.0 else 1.0)
    growth = (weeks - 13.5) / 26.0
    scene = Scene(
        pixel_size_mm=pixel_size_mm,
        weeks=weeks,
        ellipse=ellipse,
        forehead_rad=forehead,
        brain_db=float(rng.uniform(-54.0, -47.0)),
        sulci_db=float(-41.0 + 16.0 * growth + rng.uniform(-3.0, 3.0)),
        core_db=float(rng.uniform(0.0, 9.0)),
        skull=_draw_skull(rng, growth),
        surroundings=_draw_surroundings(rng, growth),
        probe=_draw_settings(rng, growth),
        regions=regions,
        strokes=strokes,
    )
    return replace(scene, probe=_aim(rng, scene))


def _draw_pose(rng: np.random.Generator, weeks: float) -> tuple[float, HeadEllipse, float]:
    hc_mm = float(np.clip(np.interp(weeks, _WEEKS, _HC_MM) * rng.normal(1.0, 0.03), *_HC_RANGE_MM))
    ratio = float(rng.uniform(0.72, 0.86))
    d2_px = float(rng.uniform(0.38, 0.74)) * WIDTH_PX
    d1_px = ratio * d2_px
    tilt = float(rng.normal(0.0, math.radians(35.0 if rng.random() < 0.12 else 10.0)))
    forehead = tilt + math.pi * int(rng.integers(2))
    half_height = math.hypot(d2_px * math.sin(tilt), d1_px * math.cos(tilt)) / 2.0
    half_width = math.hypot(d2_px * math.cos(tilt), d1_px * math.sin(tilt)) / 2.0
    slack_x = max(0.0, WIDTH_PX / 2.0 - half_width - 16.0)
    slack_y = max(0.0, HEIGHT_PX / 2.0 - half_height - 14.0)
    cx = WIDTH_PX / 2.0 + float(rng.uniform(-1.0, 1.0)) * min(slack_x, 70.0)
    cy = HEIGHT_PX / 2.0 + float(rng.uniform(-0.8, 1.0)) * min(slack_y, 60.0)
    angle = math.degrees(tilt + math.pi / 2.0) % 180.0
    ellipse = HeadEllipse(cx, cy, d1_px, d2_px, angle)
    return hc_mm / ellipse.circumference_px(), ellipse, forehead


def _draw_skull(rng: np.random.Generator, growth: float) -> Skull:
    sutures = tuple(
        (float(rng.uniform(0.0, 2.0 * math.pi)), float(rng.uniform(0.03, 0.08)))
        for _ in range(int(rng.integers(1, 5)))
    )
    undulation = tuple(
        (order, float(rng.normal(0.0, 0.016 / (order - 1))), float(rng.uniform(0, 2.0 * math.pi)))
        for order in (3, 4, 5, 6, 8)
    )
    unevenness = tuple(
        (order, float(rng.normal(0.0, 2.0)), float(rng.uniform(0.0, 2.0 * math.pi)))
        for order in (2, 3, 5, 9, 14)
    )
    return Skull(
        thickness_mm=1.1 + 1.2 * growth + float(rng.uniform(-0.2, 0.3)),
        level_db=float(rng.uniform(-6.0, 3.0)),
        specular_width_rad=math.radians(float(rng.uniform(20.0, 44.0))),
        diffuse_db=float(rng.uniform(-33.0, -19.0)),
        loss_db=2.0 + 4.0 * growth + float(rng.uniform(-1.0, 1.5)),
        undulation=undulation,
        sutures=sutures,
        unevenness=unevenness,
        fade_phase_rad=float(rng.uniform(0.0, 2.0 * math.pi)),
        fade_db=float(rng.uniform(0.0, 6.0)),
    )


def _draw_surroundings(rng: np.random.Generator, growth: float) -> Surroundings:
    roomy = float(rng.uniform(0.5, 1.5)) * (1.3 - growth)
    waves = tuple(
        (
            order,
            float(rng.normal(0.0, 0.75 / math.sqrt(order))),
            float(rng.uniform(0.0, 2.0 * math.pi)),
        )
        for order in (1, 2, 3, 4)
    )
    limbs = tuple(
        (
            float(rng.uniform(0.0, 2.0 * math.pi)),
            float(rng.uniform(6.0, 22.0)),
            float(rng.uniform(4.0, 9.0)),
            float(rng.uniform(0.0, math.pi)),
        )
        for _ in range(int(rng.integers(0, 4)))
    )
    return Surroundings(
        wall_mm=float(rng.uniform(14.0, 34.0)),
        margin_mm=3.0 + 9.0 * roomy,
        margin_waves=waves,
        placenta_angle_rad=float(rng.uniform(0.0, 2.0 * math.pi)),
        placenta_mm=float(rng.uniform(18.0, 40.0)) if rng.random() < 0.75 else 0.0,
        limbs=limbs,
        far_level_db=float(rng.uniform(-46.0, -33.0)),
        patch_db=float(rng.uniform(2.0, 6.0)),
        placenta_db=float(rng.uniform(-36.0, -27.0)),
    )


def _draw_settings(rng: np.random.Generator, growth: float) -> Probe:
    tgc = rng.normal(0.0, 1.8, 8)
    return Probe(
        apex_x_mm=0.0,
        apex_y_mm=0.0,
        radius_mm=float(rng.uniform(42.0, 62.0)),
        half_angle_rad=math.radians(float(rng.uniform(30.0, 38.0))),
        start_mm=0.0,
        depth_mm=0.0,
        frequency_mhz=float(6.5 - 2.8 * growth + rng.uniform(-0.5, 0.5)),
        focus_mm=0.0,
        focal_zone_mm=float(rng.uniform(25.0, 60.0)),
        f_number=float(rng.uniform(2.2, 3.6)),
        dynamic_range_db=float(rng.uniform(55.0, 65.0)),
        grey_gamma=float(rng.uniform(1.0, 1.35)),
        looks=int(rng.integers(1, 4)),
        smoothing_px=float(rng.uniform(0.5, 1.0)),
        gain_db=float(rng.normal(0.0, 3.0)),
        noise_db=float(rng.uniform(-86.0, -74.0)),
        tgc_db_per_cm_mhz=float(rng.uniform(0.30, 0.42)),
        tgc_error_db=tuple(float(value) for value in tgc),
        reverberation_db=float(rng.uniform(-34.0, -22.0)),
        reverberation_mm=float(rng.uniform(8.0, 22.0)),
        contact_loss_db=(),
    )


def _aim(rng: np.random.Generator, scene: Scene) -> Probe:
    """Place the probe above the head so that the fan holds the whole head."""
    mm, ellipse, probe = scene.pixel_size_mm, scene.ellipse, scene.probe
    tilt = math.radians(ellipse.angle_deg) - math.pi / 2.0
    half_height = math.hypot(ellipse.d2_px * math.sin(tilt), ellipse.d1_px * math.cos(tilt)) / 2.0
    half_width = math.hypot(ellipse.d2_px * math.cos(tilt), ellipse.d1_px * math.sin(tilt)) / 2.0
    face_y = (ellipse.cy - half_height) * mm - float(rng.uniform(20.0, 48.0))
    face_y = min(face_y, float(rng.uniform(-0.02, 0.06)) * HEIGHT_PX * mm)
    apex_x = ellipse.cx * mm + float(rng.uniform(-0.25, 0.25)) * half_width * mm
    apex_y = face_y - probe.radius_mm
    reach_x = abs(ellipse.cx * mm - apex_x) + half_width * mm
    needed = math.atan2(1.04 * reach_x, ellipse.cy * mm - apex_y)
    side = max(apex_x, WIDTH_PX * mm - apex_x)
    widest = math.atan2(side, -apex_y) if apex_y < 0.0 else math.pi
    start = max(0.0, -face_y - 2.0)
    bottom = (ellipse.cy + half_height) * mm - face_y
    window = HEIGHT_PX * mm - face_y
    return replace(
        probe,
        apex_x_mm=apex_x,
        apex_y_mm=apex_y,
        half_angle_rad=min(max(probe.half_angle_rad, needed + 0.03), widest),
        start_mm=start,
        depth_mm=max(bottom + 0.1 * half_height * mm + 4.0, window * float(rng.uniform(0.94, 1.1))),
        focus_mm=ellipse.cy * mm - face_y + float(rng.uniform(-0.5, 0.8)) * half_height * mm,
    )
