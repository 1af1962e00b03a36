"""Ellipses in image coordinates: rows count downwards, columns to the right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Points: TypeAlias = NDArray[np.float64]
"""[points, 2], (row, column) in pixels or (vertical, horizontal) in mm."""

_DISCRIMINANT = np.array([[0.0, 0.0, 2.0], [0.0, -1.0, 0.0], [2.0, 0.0, 0.0]])
"""As a quadratic form of (a, b, c): 4ac - b^2, positive for an ellipse."""
_RIDGE = 1e-12
"""Keeps the scatter matrix definite for exact points; far below the noise of pixels."""


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in the unit of the points it was fitted to.

    Attributes:
        row: Centre, downwards; in pixels an integer is the middle of a pixel.
        column: Centre, to the right.
        semi_major: Half of the long axis.
        semi_minor: Half of the short axis.
        angle_deg: Direction of the long axis in [0, 180), from the columns'
            axis (right) towards the rows' axis (down).
    """

    row: float
    column: float
    semi_major: float
    semi_minor: float
    angle_deg: float

    @property
    def circumference(self) -> float:
        """Perimeter, in the ellipse's own unit."""
        return ellipse_circumference(self.semi_major, self.semi_minor)

    def outline(self, points: int = 360) -> Points:
        """Points of the ellipse, evenly spaced in its parameter, for drawing.

        Args:
            points: How many; the first is not repeated at the end.

        Returns:
            [points, 2], (row, column).

        Example:
            >>> Ellipse(10, 20, 5, 3, 0).outline(4).round(6).tolist()
            [[10.0, 25.0], [13.0, 20.0], [10.0, 15.0], [7.0, 20.0]]
        """
        return self.at(np.linspace(0, 2 * np.pi, points, endpoint=False))

    def at(self, parameter: NDArray[np.float64]) -> Points:
        """Points of the ellipse by its parameter, the inverse of `polar` at radius 1.

        Args:
            parameter: [points], radians; 0 is one end of the long axis.

        Returns:
            [points, 2], (row, column).
        """
        angle = math.radians(self.angle_deg)
        along, across = self.semi_major * np.cos(parameter), self.semi_minor * np.sin(parameter)
        rows = self.row + along * math.sin(angle) + across * math.cos(angle)
        columns = self.column + along * math.cos(angle) - across * math.sin(angle)
        return np.stack([rows, columns], axis=1)

    def polar(self, points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points in the frame in which the ellipse is the unit circle.

        Args:
            points: [points, 2], (row, column).

        Returns:
            Angle in [0, 2 pi) and radius (1 = on the ellipse), each [points].

        Example:
            >>> Ellipse(0, 0, 4, 2, 90).polar(np.array([[8.0, 0.0]]))[1].tolist()
            [2.0]
        """
        rows, columns = (points - np.array([self.row, self.column])).T
        cos, sin = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        along = (columns * cos + rows * sin) / self.semi_major
        across = (rows * cos - columns * sin) / self.semi_minor
        return np.arctan2(across, along) % (2 * np.pi), np.hypot(along, across)


def ellipse_circumference(a: float, b: float) -> float:
    """Perimeter of an ellipse by Ramanujan's second approximation.

    With h = ((a - b) / (a + b))^2 it is pi (a + b) (1 + 3h / (10 + sqrt(4 - 3h))).
    Exact for a circle; for axes in the ratio 1 : 2 the relative error is below 1e-8.

    Args:
        a: One semi-axis, in any unit.
        b: The other semi-axis, in the same unit.

    Returns:
        The perimeter in that unit.

    Raises:
        ValueError: If a semi-axis is not positive.

    Source:
        S. Ramanujan, Modular equations and approximations to pi, Quart. J.
        Math. 45 (1914) 350-372.

    Example:
        >>> round(ellipse_circumference(1.0, 1.0), 6)
        6.283185
    """
    if not (a > 0 and b > 0):
        raise ValueError(f"expected two positive semi-axes, got {a} and {b}")
    h = ((a - b) / (a + b)) ** 2
    return math.pi * (a + b) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))


def fit_ellipse(points: Points) -> Ellipse | None:
    """Least-squares ellipse through points, found directly (no start value, no iteration).

    Args:
        points: [points, 2], (row, column), in any unit.

    Returns:
        The ellipse in that unit; None if fewer than five points are given or
        if they lie on a line.

    Source:
        R. Halir, J. Flusser, Numerically stable direct least squares fitting
        of ellipses, WSCG 1998. Their unsymmetric eigenproblem M a = lambda a
        is solved here in its symmetric form C a = mu S a, which stays real
        when the points lie on an ellipse exactly (scikit-image's
        `EllipseModel` fails there).

    Example:
        >>> circle = Ellipse(30, 40, 10, 10, 0).outline(12)
        >>> round(fit_ellipse(circle).semi_minor, 6)
        10.0
    """
    if points.shape[0] < 5:
        return None
    middle = points.mean(axis=0)
    unit = float(np.sqrt(np.mean((points - middle) ** 2)))
    if not unit > 0:
        return None
    y, x = ((points - middle) / unit).T
    quadratic, linear = np.stack([x * x, x * y, y * y], 1), np.stack([x, y, np.ones_like(x)], 1)
    to_linear, _, rank, _ = np.linalg.lstsq(linear, quadratic, rcond=1e-9)
    if rank < 3:
        return None
    rest = quadratic - linear @ to_linear
    scatter = rest.T @ rest
    scatter += _RIDGE * np.trace(scatter) * np.eye(3)
    # The constraint has one positive eigenvalue; its vector is the only ellipse of the three.
    _, vectors = eigh(_DISCRIMINANT, scatter)
    conic = vectors[:, -1]
    return _from_conic(conic, -to_linear @ conic, middle, unit)


def _from_conic(
    quadratic: NDArray[np.float64], linear: NDArray[np.float64], middle: Points, unit: float
) -> Ellipse | None:
    """The ellipse a x^2 + b x y + c y^2 + d x + e y + f = 0 in the frame (x, y) of the fit."""
    a, b, c = quadratic
    form = np.array([[a, b / 2], [b / 2, c]])
    centre = np.linalg.solve(-2 * form, linear[:2])
    level = -(linear[2] + linear[:2] @ centre / 2)
    # Ascending curvature: first the long axis. The conic's overall sign is arbitrary.
    curvatures, axes = np.linalg.eigh(form * np.sign(level))
    if not curvatures[0] > 0:
        return None
    major, minor = unit * np.sqrt(abs(level) / curvatures)
    column, row = middle[::-1] + unit * centre
    angle = math.degrees(math.atan2(axes[1, 0], axes[0, 0])) % 180
    return Ellipse(float(row), float(column), float(major), float(minor), angle)
