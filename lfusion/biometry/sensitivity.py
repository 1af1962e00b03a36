"""How a measurement follows when the outline that it was read from moves: first order, closed form.

A small outward displacement δ(s) of an outline changes the ellipse fitted to it, and with it
every measurement M, by dM = Σ_s g(s) δ(s). With the variance of δ that is the delta method; no
outline has to be drawn and fitted again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfusion.biometry.ellipse import Ellipse, Points
from lfusion.biometry.outline import Outline
from lfusion.types import PixelSize

Gain = NDArray[np.float64]
"""[measurements, points], change of a measurement for one unit outwards at a point."""
Measurements = Callable[[Ellipse], Sequence[float]]

_STEP = 1e-5
"""Of central differences, relative to the ellipse."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What an outline's measurements owe to each of its points.

    Attributes:
        points: of the outline, [points, 2] native pixels, (row, column).
        step_px: where a point goes when it moves one unit (mm, or px without a pixel size)
            outwards, [points, 2] pixels.
        gain: g, per that unit.
    """

    points: Points
    step_px: Points
    gain: Gain


def sensitivity(outline: Outline, pixel_size: PixelSize, measurements: Measurements) -> Sensitivity:
    """Return what measurements of the ellipse in the unit of the pixel size owe to the outline.

    Args:
        outline: in pixels.
        pixel_size: (row, column), in mm, or (1, 1) to stay in pixels.
        measurements: of the ellipse in that unit; smooth.
    """
    scaled = outline.scaled(pixel_size)
    gain = gain_of(scaled.ellipse, scaled.contour, measurements)
    normals = outward_normals(scaled.ellipse, scaled.contour)
    return Sensitivity(outline.contour, normals / np.asarray(pixel_size), gain)


def fit_jacobian(ellipse: Ellipse, points: Points) -> NDArray[np.float64]:
    """Return how `fit_ellipse` follows its points.

    The fit minimises Σ F(x)², F the conic's polynomial. A point on the ellipse that moves by δ
    along the outward normal changes F by |∇F| δ, so the parameters change as those of a linear
    least-squares fit of the normal displacement with weights |∇F|². Exact in first order for
    points on the ellipse.

    Args:
        ellipse: fitted to the points.
        points: [points, 2], in the same unit; taken to lie on the ellipse.

    Returns:
        [5, points], derivatives of row, column, semi_major, semi_minor and the angle in radians
        by the outward displacement. An angle that a circle leaves open does not move.

    Source:
        Our own derivation, by the implicit function theorem.
    """
    cos, sin = _parameter(ellipse, points)
    a, b = ellipse.semi_major, ellipse.semi_minor
    normal = np.stack([cos / a, sin / b])
    slope = np.hypot(*normal)
    along, across = normal / slope
    axis = math.radians(ellipse.angle_deg)
    moved = np.stack(
        [
            along * math.sin(axis) + across * math.cos(axis),
            along * math.cos(axis) - across * math.sin(axis),
            cos * along,
            sin * across,
            a * cos * across - b * sin * along,
        ],
        axis=1,
    )
    return np.asarray(np.linalg.pinv(moved * slope[:, None], rcond=1e-9) * slope)


def outward_normals(ellipse: Ellipse, points: Points) -> Points:
    """Return the unit normals of the ellipse at its points, [points, 2], (row, column)."""
    cos, sin = _parameter(ellipse, points)
    along, across = cos / ellipse.semi_major, sin / ellipse.semi_minor
    length = np.hypot(along, across)
    axis = math.radians(ellipse.angle_deg)
    rows = along * math.sin(axis) + across * math.cos(axis)
    columns = along * math.cos(axis) - across * math.sin(axis)
    return np.asarray(np.stack([rows, columns], axis=1) / length[:, None])


def gain_of(ellipse: Ellipse, points: Points, measurements: Measurements) -> Gain:
    """Return what each measurement of the fitted ellipse owes to each point.

    Args:
        ellipse: fitted to the points.
        points: [points, 2], in the same unit.
        measurements: of an ellipse; smooth.

    Returns:
        [measurements, points].

    Example:
        >>> ring = Ellipse(0, 0, 10, 10, 0).outline(8)
        >>> around = gain_of(Ellipse(0, 0, 10, 10, 0), ring, lambda e: [e.circumference])
        >>> bool(np.isclose(around.sum(), 2 * np.pi))  # a circle that grows by 1 all round
        True
    """
    size = ellipse.semi_minor
    steps = _STEP * np.array([size, size, size, size, 1.0])
    slopes = []
    for number, step in enumerate(steps):
        change = np.zeros(5)
        change[number] = step
        upper, lower = (measurements(_moved(ellipse, sign * change)) for sign in (1, -1))
        slopes.append((np.asarray(upper) - np.asarray(lower)) / (2 * step))
    return np.asarray(np.stack(slopes, axis=1) @ fit_jacobian(ellipse, points))


def _moved(ellipse: Ellipse, change: NDArray[np.float64]) -> Ellipse:
    row, column, major, minor, angle = change.tolist()
    return Ellipse(
        ellipse.row + row,
        ellipse.column + column,
        ellipse.semi_major + major,
        ellipse.semi_minor + minor,
        ellipse.angle_deg + math.degrees(angle),
    )


def _parameter(ellipse: Ellipse, points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and sine of the ellipse's parameter at its points."""
    angle, _ = ellipse.polar(points)
    return np.cos(angle), np.sin(angle)
