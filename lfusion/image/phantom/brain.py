"""Where the structures of the fetal brain lie in an axial (trans-ventricular) plane."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from lfusion.image.phantom.scene import Region, Stroke

FLUID_DB = -78.0


def draw_brain(
    rng: np.random.Generator, weeks: float, near_side: float
) -> tuple[tuple[Region, ...], tuple[Stroke, ...]]:
    """Draw the ventricles, choroid plexus, thalami and membranes of a normal brain.

    Args:
        rng: Source of every choice.
        weeks: Gestational age; young brains have wide ventricles full of plexus.
        near_side: Sign of q in the hemisphere nearer to the probe, where landmarks fade.

    Returns:
        Regions in the order they are painted, and membranes.
    """
    youth = float(np.clip((24.0 - weeks) / 10.0, 0.0, 1.0))
    regions: list[Region] = []
    for side in (-1.0, 1.0):
        regions += _ventricle(
            rng, side, youth, float(rng.uniform(3.0, 14.0)) if side == near_side else 0.0
        )
    regions += _thalami(rng)
    cavum_p = float(rng.uniform(0.36, 0.50))
    cavum_half = float(rng.uniform(0.08, 0.13))
    has_cavum = weeks > 16.5
    strokes = _midline(rng, cavum_p, cavum_half if has_cavum else 0.02)
    if has_cavum:
        half_q = float(rng.uniform(0.05, 0.085))
        regions.append(Region(cavum_p, 0.0, cavum_half, half_q * 0.8, 0.0, FLUID_DB, -40.0))
        strokes += [
            Stroke(cavum_p - cavum_half, s * half_q, cavum_p + cavum_half, s * half_q,
                   float(rng.uniform(-19.0, -8.0)))
            for s in (-1.0, 1.0)
        ]  # fmt: skip
    for side in (-1.0, 1.0):
        strokes += _fissure(rng, side)
    strokes += _core(rng)
    return tuple(regions), tuple(strokes)


def _ventricle(
    rng: np.random.Generator, side: float, youth: float, hidden_db: float
) -> list[Region]:
    """Body and atrium of one lateral ventricle, its frontal horn and its choroid plexus."""
    p = float(rng.uniform(-0.50, -0.34))
    q = side * float(rng.uniform(0.38, 0.48))
    angle = side * float(rng.uniform(0.10, 0.32))
    width = 0.085 + 0.10 * youth + float(rng.uniform(-0.01, 0.015))
    length = 0.27 + 0.14 * youth + float(rng.uniform(-0.03, 0.03))
    wall = float(rng.uniform(-21.0, -13.0)) - hidden_db
    bend = side * float(rng.uniform(-0.1, 0.35))
    body = Region(p, q, length, width, angle, FLUID_DB + 1.5 * hidden_db, wall, bend=bend)
    plexus = Region(
        p + float(rng.uniform(-0.08, 0.05)),
        q + side * 0.25 * width,
        length * float(rng.uniform(0.50, 0.72)),
        width * float(rng.uniform(0.62, 0.85)),
        angle,
        float(rng.uniform(-27.0, -20.0)) - hidden_db,
        -60.0,
        4.0,
        bend,
    )
    horn = Region(
        float(rng.uniform(0.34, 0.46)),
        side * float(rng.uniform(0.20, 0.27)),
        float(rng.uniform(0.10, 0.17)),
        0.035 + 0.03 * youth,
        -side * float(rng.uniform(0.15, 0.4)),
        FLUID_DB + 1.5 * hidden_db,
        wall - float(rng.uniform(3.0, 12.0)),
    )
    return [body, plexus, horn]


def _thalami(rng: np.random.Generator) -> list[Region]:
    level = float(rng.uniform(-56.0, -50.0))
    return [
        Region(float(rng.uniform(-0.06, 0.08)), side * 0.15, 0.17, 0.11, side * 0.25, level, -50.0)
        for side in (-1.0, 1.0)
    ]


def _midline(rng: np.random.Generator, cavum_p: float, cavum_half: float) -> list[Stroke]:
    """The falx: bright pieces from occiput to forehead, absent at the cavum."""
    level = float(rng.uniform(-20.0, -9.0))
    drift = float(rng.normal(0.0, 0.012))
    ends = [-0.93, -0.62, -0.34, -0.16, 0.14, cavum_p - cavum_half - 0.02]
    strokes = []
    for index, (start, stop) in enumerate(pairwise(ends)):
        weaker = 12.0 if index == 3 else float(rng.exponential(5.0))
        if rng.random() < 0.35:
            continue
        gap = float(rng.uniform(0.0, 0.08))
        strokes.append(Stroke(start, drift * start, stop - gap, drift * stop, level - weaker))
    front = cavum_p + cavum_half + 0.03
    strokes.append(Stroke(front, drift * front, 0.92, drift, level - float(rng.uniform(0, 4))))
    return strokes


def _fissure(rng: np.random.Generator, side: float) -> list[Stroke]:
    """The insula and the Sylvian fissure: short bright dashes beside the skull."""
    strokes = []
    for _ in range(int(rng.integers(2, 6))):
        p = float(rng.uniform(-0.35, 0.62))
        q = side * float(rng.uniform(0.55, 0.80)) * math.sqrt(1.0 - 0.6 * p * p)
        half = float(rng.uniform(0.02, 0.08))
        lean = float(rng.normal(0.0, 0.04)) - side * 0.35 * p * half
        strokes.append(
            Stroke(p - half, q - lean, p + half, q + lean, float(rng.uniform(-28.0, -15.0)))
        )
    return strokes


def _core(rng: np.random.Generator) -> list[Stroke]:
    """Edges of thalami, peduncles and choroidal fissure: faint dashes around the centre."""
    strokes = []
    for _ in range(int(rng.integers(4, 13))):
        p, q = float(rng.normal(-0.05, 0.28)), float(rng.normal(0.0, 0.22))
        half = float(rng.uniform(0.01, 0.06))
        lean = float(rng.normal(0.0, 0.35)) * half
        strokes.append(
            Stroke(p - half, q - lean, p + half, q + lean, float(rng.uniform(-32.0, -19.0)))
        )
    return strokes
