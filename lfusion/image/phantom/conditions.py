"""What can be wrong with a phantom: findings in the head, and bad scans of a normal one."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum

import numpy as np

from lfusion.image.phantom.brain import FLUID_DB
from lfusion.image.phantom.scene import Region, Scene


class Condition(StrEnum):
    """Which group a phantom belongs to."""

    NORMAL = "normal"
    """A normal head, adequately scanned."""
    ABNORMAL = "abnormal"
    """A finding inside the head, adequately scanned."""
    POOR = "poor"
    """A normal head, badly scanned."""


class Detail(StrEnum):
    """What exactly is wrong."""

    NONE = "none"
    VENTRICULOMEGALY = "ventriculomegaly"
    HYPERECHOIC_MASS = "hyperechoic_mass"
    HYPOECHOIC_MASS = "hypoechoic_mass"
    SHADOW = "shadow"
    OFF_PLANE = "off_plane"
    LOW_GAIN = "low_gain"


DETAILS: dict[Condition, tuple[Detail, ...]] = {
    Condition.NORMAL: (Detail.NONE,),
    Condition.ABNORMAL: (
        Detail.VENTRICULOMEGALY,
        Detail.HYPERECHOIC_MASS,
        Detail.HYPOECHOIC_MASS,
    ),
    Condition.POOR: (Detail.SHADOW, Detail.OFF_PLANE, Detail.LOW_GAIN),
}
"""The details a condition can have."""


def apply_detail(
    scene: Scene, detail: Detail, rng: np.random.Generator
) -> tuple[Scene, tuple[Region, ...]]:
    """Change a normal scene as the detail asks.

    Args:
        scene: A normal scene.
        detail: What goes wrong.
        rng: Source of its position and strength; the scene's own choices are not redrawn.

    Returns:
        The changed scene, and the regions that make up the lesion (none for bad scans).
    """
    match detail:
        case Detail.NONE:
            return scene, ()
        case Detail.VENTRICULOMEGALY:
            return _widen_ventricles(scene, rng)
        case Detail.HYPERECHOIC_MASS | Detail.HYPOECHOIC_MASS:
            return _add_mass(scene, rng, bright=detail is Detail.HYPERECHOIC_MASS)
        case Detail.SHADOW:
            return _shadow(scene, rng), ()
        case Detail.OFF_PLANE:
            return _tilt_plane(scene, rng), ()
        case Detail.LOW_GAIN:
            gain = scene.probe.gain_db - float(rng.uniform(10.0, 16.0))
            return replace(scene, probe=replace(scene.probe, gain_db=gain)), ()


def _widen_ventricles(scene: Scene, rng: np.random.Generator) -> tuple[Scene, tuple[Region, ...]]:
    """Both lateral ventricles filled with fluid, plexus dangling at the lower wall."""
    grow = float(rng.uniform(2.0, 2.6))
    lesion = tuple(
        replace(
            body,
            level_db=FLUID_DB,
            bend=0.0,
            q=0.92 * body.q,
            radius_p=min(1.25 * body.radius_p, 0.40),
            radius_q=min(max(grow * body.radius_q, 0.19), 0.25),
            wall_db=-13.0,
        )
        for body in (scene.regions[0], scene.regions[3])
    )
    plexus = tuple(
        replace(part, bend=0.0, q=1.1 * part.q, radius_q=0.8 * part.radius_q)
        for part in (scene.regions[1], scene.regions[4])
    )
    kept = (scene.regions[2], *scene.regions[5:])
    return replace(scene, regions=(*kept, *lesion, *plexus)), lesion


def _add_mass(
    scene: Scene, rng: np.random.Generator, *, bright: bool
) -> tuple[Scene, tuple[Region, ...]]:
    """A tumour (bright, coarse) or a cyst (dark) within a thin capsule, in one hemisphere."""
    # In the hemisphere away from the probe, where reverberation does not veil it.
    side = 1.0 if math.cos(scene.forehead_rad) > 0.0 else -1.0
    bearing = side * math.pi * float(rng.uniform(0.12, 0.88))
    away = float(rng.uniform(0.36, 0.52))
    radius = float(rng.uniform(0.16, 0.25))
    mass = Region(
        p=away * math.cos(bearing),
        q=away * math.sin(bearing),
        radius_p=radius,
        radius_q=radius * float(rng.uniform(0.7, 0.95)),
        angle_rad=float(rng.uniform(0.0, math.pi)),
        level_db=float(rng.uniform(-25.0, -18.0)) if bright else FLUID_DB,
        wall_db=-20.0 if bright else -12.0,
        texture_db=4.0 if bright else 1.0,
    )
    capsule = replace(
        mass, radius_p=mass.radius_p + 0.035, radius_q=mass.radius_q + 0.035, level_db=-27.0
    )
    return replace(scene, regions=(*scene.regions, capsule, mass)), (mass,)


def _shadow(scene: Scene, rng: np.random.Generator) -> Scene:
    """Beams lost to bad contact, ribs or bowel gas over a large part of the fan."""
    position = np.linspace(0.0, 1.0, 33)
    loss = np.zeros_like(position)
    for _ in range(int(rng.integers(2, 4))):
        centre, half = float(rng.uniform(0.15, 0.85)), float(rng.uniform(0.05, 0.13))
        depth = float(rng.uniform(14.0, 32.0))
        loss = np.maximum(loss, depth * np.exp(-(((position - centre) / half) ** 4)))
    skull = replace(scene.skull, loss_db=scene.skull.loss_db + float(rng.uniform(2.0, 5.0)))
    probe = replace(scene.probe, contact_loss_db=tuple(float(value) for value in loss))
    return replace(scene, skull=skull, probe=probe)


def _tilt_plane(scene: Scene, rng: np.random.Generator) -> Scene:
    """A plane that cuts the head obliquely: weak, fuzzy skull and none of the landmarks."""
    skull = replace(
        scene.skull,
        thickness_mm=scene.skull.thickness_mm * float(rng.uniform(1.8, 2.6)),
        level_db=scene.skull.level_db - float(rng.uniform(13.0, 19.0)),
        specular_width_rad=0.7 * scene.skull.specular_width_rad,
        fade_db=float(rng.uniform(8.0, 14.0)),
    )
    return replace(
        scene,
        skull=skull,
        regions=scene.regions[6:8],
        strokes=scene.strokes[-3:],
        sulci_db=scene.sulci_db + 8.0,
    )
