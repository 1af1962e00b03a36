"""Angle of progression (AoP): how far the head has come down, from a transperineal image.

P1 and P2 are the superior and the inferior end of the long axis of the pubic symphysis, Q is where
the tangent from P2 touches the leading side of the skull, and AoP is the angle P1 P2 Q. Two
choices decide it, and the two outlines alone settle only one of them:

- *Which tangent.* Turning from P2P1 towards the head, the first tangent met touches the side the
  head came from and the second its leading side. AoP is the second, the larger angle; it is not
  folded at 180 degrees, so that a head far down does not look like one higher up.
- *Which end is inferior.* A head that is still high lies under the superior end, so the end nearest
  to the head is the wrong one in almost half of the images of PSFHS. It follows from how the image
  is displayed: by default the symphysis' inferior end points to the right, as guidelines show it.

Source: Barbera et al., Ultrasound Obstet. Gynecol. 33 (2009) 313; ISUOG practice guidelines:
intrapartum ultrasound, Ultrasound Obstet. Gynecol. 52 (2018) 128.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lfusion.biometry.ellipse import Ellipse, Points
from lfusion.biometry.head import Interval
from lfusion.biometry.outline import Outline, checked_pixel_size, trace_outline
from lfusion.biometry.sensitivity import Sensitivity, sensitivity
from lfusion.types import PixelSize

Point = tuple[float, float]
"""(row, column) in native pixels."""
RIGHT: Point = (0.0, 1.0)
"""Direction (row, column) in which the inferior end lies when the display is the usual one."""

MAX_RESIDUAL = {"pubic symphysis": 0.2, "fetal head": 0.1}
"""Largest distance of a contour from its ellipse, in radii; the thin symphysis is less regular."""
MIN_ELONGATION = 1.15
"""Least ratio of the symphysis' axes at which the long one has a direction."""
MIN_TURN_DEG = 15.0
"""Least angle between the symphysis' axis and the perpendicular of the inferior direction."""
MIN_SIDE_DEG = 5.0
"""Least angle of the head's centre off the symphysis' axis at which it lies on one side."""
MAX_UNSEEN_DEG = 10.0
"""Farthest that Q may lie from the visible outline of the head, in its parameter."""
SQUARE: PixelSize = (1.0, 1.0)
"""Stands in for a pixel size that is not known."""


@dataclass(frozen=True)
class AngleOfProgression:
    """The angle of one image, and why there is none.

    Attributes:
        aop_deg: Angle P1 P2 Q in degrees; above 180 when the head has passed the symphysis' axis.
        near_deg: The same with the other tangent, for comparison.
        superior: P1.
        inferior: P2.
        touch: Q, on the leading side of the head.
        symphysis: Ellipse of the pubic symphysis in native pixels.
        head: Ellipse of the fetal head in native pixels.
        refusal: Why there is no angle; None when there is one.
        note: What was assumed; None when nothing was.
        aop_deg_interval: (low, high) that holds the true angle at `interval_level`.
        interval_level: Share of images whose angle lies inside; None without an interval.
    """

    aop_deg: float | None = None
    near_deg: float | None = None
    superior: Point | None = None
    inferior: Point | None = None
    touch: Point | None = None
    symphysis: Ellipse | None = None
    head: Ellipse | None = None
    refusal: str | None = None
    note: str | None = None
    aop_deg_interval: Interval | None = None
    interval_level: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The angle in plain JSON types; points and intervals are lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def measure_angle(
    symphysis: NDArray[Any],
    head: NDArray[Any],
    pixel_size_mm: PixelSize | None = None,
    inferior: Point = RIGHT,
) -> AngleOfProgression:
    """Measure the angle of progression of one image.

    Args:
        symphysis: [height, width] in native pixels, probability or mask.
        head: the same of the fetal head.
        pixel_size_mm: (row, column). Only its ratio matters; without it pixels count as square,
            and the result says so.
        inferior: (row, column) direction towards the symphysis' inferior end; (0, -1) when the
            display is mirrored.

    Returns:
        The angle, or a `refusal`; never an exception for what is in the image.

    Raises:
        NonFiniteError: a probability is NaN or infinite.
        ValueError: no such maps, or the pixel size is not positive.
    """
    return angle_of(trace_pelvis(symphysis, head), checked_pixel_size(pixel_size_mm), inferior)


class Pelvis(NamedTuple):
    """Both outlines in pixels, or why there is none."""

    symphysis: Outline | str
    head: Outline | str


def trace_pelvis(symphysis: NDArray[Any], head: NDArray[Any]) -> Pelvis:
    """Trace both structures, as `measure_angle` takes them."""
    maps = {"pubic symphysis": symphysis, "fetal head": head}
    return Pelvis(*(trace_outline(maps[name], name, MAX_RESIDUAL[name]) for name in maps))


def angle_of(
    pelvis: Pelvis, pixel_size_mm: PixelSize | None, inferior: Point = RIGHT
) -> AngleOfProgression:
    """Return the angle of traced outlines; see `measure_angle`."""
    bone, skull = pelvis
    if isinstance(bone, str) or isinstance(skull, str):
        reason = bone if isinstance(bone, str) else skull
        return AngleOfProgression(refusal=str(reason))
    unit = pixel_size_mm or SQUARE
    shown = AngleOfProgression(
        symphysis=bone.ellipse,
        head=skull.ellipse,
        note=None if pixel_size_mm else "no pixel size: square pixels are assumed",
    )
    scaled = skull.scaled(unit)
    layout = _layout(bone.scaled(unit).ellipse, scaled.ellipse, _scaled(inferior, unit))
    refusal = layout if isinstance(layout, str) else _unseen(scaled, layout.touch)
    if isinstance(layout, str) or refusal is not None:
        return replace(shown, refusal=refusal)
    return replace(
        shown,
        aop_deg=layout.far_deg,
        near_deg=layout.near_deg,
        superior=_in_pixels(layout.superior, unit),
        inferior=_in_pixels(layout.inferior, unit),
        touch=_in_pixels(layout.touch, unit),
    )


def angle_sensitivity(
    symphysis: Outline, head: Outline, pixel_size: PixelSize, inferior: Point = RIGHT
) -> tuple[Sensitivity, Sensitivity]:
    """Return what a measured angle owes to each point of the symphysis and of the head.

    Args:
        symphysis: outline in pixels.
        head: outline in pixels.
        pixel_size: (row, column), or `SQUARE` pixels.
        inferior: see `measure_angle`.
    """
    bone, skull = (outline.scaled(pixel_size).ellipse for outline in (symphysis, head))
    direction = _scaled(inferior, pixel_size)

    def aop(bone: Ellipse, skull: Ellipse) -> tuple[float]:
        layout = _layout(bone, skull, direction)
        assert not isinstance(layout, str), "a measured layout does not end within a step"
        return (layout.far_deg,)

    return (
        sensitivity(symphysis, pixel_size, lambda moved: aop(moved, skull)),
        sensitivity(head, pixel_size, lambda moved: aop(bone, moved)),
    )


class _Layout(NamedTuple):
    """The construction, in the unit of the ellipses; points are [2], (row, column)."""

    superior: Points
    inferior: Points
    touch: Points
    far_deg: float
    near_deg: float


def _layout(symphysis: Ellipse, head: Ellipse, inferior: Point) -> _Layout | str:
    """Construct the angle from the two ellipses, or say why it cannot be."""
    if symphysis.semi_major < MIN_ELONGATION * symphysis.semi_minor:
        return "the pubic symphysis is too round to have a long axis"
    ends = symphysis.at(np.array([0.0, np.pi]))
    off_deg = abs(_turn_deg(np.asarray(inferior), ends[0] - ends[1]))
    if abs(off_deg - 90) < MIN_TURN_DEG:
        return (
            "the pubic symphysis lies across the direction of its inferior end, "
            "so that its ends cannot be told apart: say where the inferior end lies"
        )
    below, above = ends if off_deg < 90 else ends[::-1]
    parameter, radius = head.polar(below[None])
    if radius[0] <= 1:
        return "the inferior end of the pubic symphysis lies inside the fetal head"
    axis, centre = above - below, np.array([head.row, head.column]) - below
    side_deg = _turn_deg(axis, centre)
    if min(abs(side_deg), 180 - abs(side_deg)) < MIN_SIDE_DEG:
        return "the fetal head lies on the axis of the pubic symphysis, not on one side of it"
    spread = math.acos(1 / radius[0])
    touching = head.at(parameter[0] + np.array([-spread, spread]))
    # From the axis to the head's centre and on to either tangent, counted towards the head.
    turns = [
        math.copysign(1, side_deg) * (side_deg + _turn_deg(centre, point - below))
        for point in touching
    ]
    far, near = (1, 0) if turns[1] > turns[0] else (0, 1)
    return _Layout(above, below, touching[far], turns[far], turns[near])


def _turn_deg(start: Points, end: Points) -> float:
    """Signed angle between two directions (row, column), in (-180, 180]."""
    across = start[1] * end[0] - start[0] * end[1]
    return math.degrees(math.atan2(across, float(start @ end)))


def _unseen(head: Outline, touch: Points) -> str | None:
    """Why the tangent cannot be trusted; None when it touches a part that is seen."""
    seen, _ = head.ellipse.polar(head.contour)
    own, _ = head.ellipse.polar(touch[None])
    gap = np.abs((seen - own + np.pi) % (2 * np.pi) - np.pi).min()
    if math.degrees(gap) <= MAX_UNSEEN_DEG:
        return None
    return "the tangent touches the fetal head where its outline is outside the image"


def _scaled(direction: Point, unit: PixelSize) -> Point:
    return direction[0] * unit[0], direction[1] * unit[1]


def _in_pixels(point: Points, unit: PixelSize) -> Point:
    return float(point[0] / unit[0]), float(point[1] / unit[1])
