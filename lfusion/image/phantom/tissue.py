"""Acoustic maps on the beam grid, and the functions that shape them.

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

from lfusion.image.phantom.scene import Scene, Waves

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


def soft_step(distance: Map, softness: float) -> Map:
    """One where `distance` is positive, zero where negative, over an edge of `softness`."""
    step: Map = expit(distance / softness)
    return step


def amplitude(level_db: float | Map) -> Map:
    """Linear amplitude of a level in dB."""
    return np.asarray(10.0 ** (np.asarray(level_db) / 20.0))


def sum_waves(waves: Waves, angle: Map) -> Map:
    """Evaluate a sum of cosines of an angle in [-pi, pi], from a fine table."""
    table = np.linspace(-math.pi, math.pi, 721)
    values = sum(
        (height * np.cos(order * table + shift) for order, height, shift in waves), 0.0 * table
    )
    return np.asarray(np.interp(angle, table, values))


def head_frame(dx: Map, dy: Map, scene: Scene) -> tuple[Map, Map]:
    """Turn image-frame components into (towards the forehead, across the midline)."""
    c, s = math.cos(scene.forehead_rad), math.sin(scene.forehead_rad)
    return dx * c + dy * s, -dx * s + dy * c


def head_distance(dx: Map, dy: Map, scene: Scene) -> Map:
    """First-order signed distance (mm) to the outer skull line, positive outside."""
    half_p, half_q = scene.half_axes_mm
    u, v = head_frame(dx, dy, scene)
    rho = np.hypot(u / half_p, v / half_q) + 1e-9
    distance = (rho - 1.0) * rho / (np.hypot(u / half_p**2, v / half_q**2) + 1e-9)
    phase = np.arctan2(v / half_q, u / half_p)
    return np.asarray(distance - half_q * sum_waves(scene.skull.undulation, phase))
