"""What is scanned and how: every random choice of a phantom, and nothing else.

Lengths are mm in the image frame (origin at the centre of the first pixel, x to the
right, y down) unless a name says otherwise. Head coordinates `p`, `q` run from -1 to 1
along the half axes: p from occiput to forehead, q across the midline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import ellipe

from lfusion.types import LabelMap

WIDTH_PX, HEIGHT_PX = 512, 384

Waves: TypeAlias = tuple[tuple[int, float, float], ...]
"""A function of an angle: (order, height, shift) of the cosines that make it up."""


@dataclass(frozen=True)
class HeadEllipse:
    """The head outline in pixels, in the convention of the HC18 annotations.

    `d1_px <= d2_px` are full axes; `angle_deg` in [0, 180) is that of d1, from +x towards +y.
    """

    cx: float
    cy: float
    d1_px: float
    d2_px: float
    angle_deg: float

    def circumference_px(self) -> float:
        """Exact perimeter, 2 d2 E(1 - (d1/d2)^2) with the complete elliptic integral E."""
        return float(2.0 * self.d2_px * ellipe(1.0 - (self.d1_px / self.d2_px) ** 2))

    def filled(self, height: int, width: int) -> LabelMap:
        """Pixels whose centre is inside: (2u/d1)^2 + (2v/d2)^2 <= 1.

        Args:
            height: Rows of the image.
            width: Columns of the image.

        Returns:
            [height, width], 1 inside and 0 outside.
        """
        y, x = np.mgrid[:height, :width].astype(np.float64)
        angle = math.radians(self.angle_deg)
        dx, dy = x - self.cx, y - self.cy
        u = dx * math.cos(angle) + dy * math.sin(angle)
        v = -dx * math.sin(angle) + dy * math.cos(angle)
        inside = (2.0 * u / self.d1_px) ** 2 + (2.0 * v / self.d2_px) ** 2 <= 1.0
        return np.asarray(inside, dtype=np.uint8)


@dataclass(frozen=True)
class Probe:
    """A convex transducer and the settings of the scanner."""

    apex_x_mm: float
    apex_y_mm: float
    radius_mm: float
    half_angle_rad: float
    start_mm: float
    depth_mm: float
    frequency_mhz: float
    focus_mm: float
    focal_zone_mm: float
    f_number: float
    dynamic_range_db: float
    grey_gamma: float
    smoothing_px: float
    looks: int
    gain_db: float
    noise_db: float
    tgc_db_per_cm_mhz: float
    tgc_error_db: tuple[float, ...]
    reverberation_db: float
    reverberation_mm: float
    contact_loss_db: tuple[float, ...]


@dataclass(frozen=True)
class Region:
    """An elliptic structure in head coordinates, with a wall that reflects when met squarely.

    Radii are fractions of the long half axis; `angle_rad` turns p towards q;
    `bend` bows the long axis by that fraction of its length.
    """

    p: float
    q: float
    radius_p: float
    radius_q: float
    angle_rad: float
    level_db: float
    wall_db: float
    texture_db: float = 2.0
    bend: float = 0.0


@dataclass(frozen=True)
class Stroke:
    """A thin reflecting membrane between two points in head coordinates."""

    p0: float
    q0: float
    p1: float
    q1: float
    level_db: float


@dataclass(frozen=True)
class Skull:
    """Bone: a shell whose outer edge follows the head ellipse with small undulations."""

    thickness_mm: float
    level_db: float
    specular_width_rad: float
    diffuse_db: float
    loss_db: float
    undulation: Waves
    sutures: tuple[tuple[float, float], ...]
    unevenness: Waves
    fade_phase_rad: float
    fade_db: float


@dataclass(frozen=True)
class Surroundings:
    """The womb: abdominal wall, amniotic fluid, placenta, far wall, limbs."""

    wall_mm: float
    margin_mm: float
    margin_waves: Waves
    placenta_angle_rad: float
    placenta_mm: float
    limbs: tuple[tuple[float, float, float, float], ...]
    far_level_db: float
    patch_db: float
    placenta_db: float


@dataclass(frozen=True)
class Scene:
    """Everything that determines a phantom apart from its scatterers and textures."""

    pixel_size_mm: float
    weeks: float
    ellipse: HeadEllipse
    forehead_rad: float
    brain_db: float
    sulci_db: float
    core_db: float
    skull: Skull
    surroundings: Surroundings
    probe: Probe
    regions: tuple[Region, ...]
    strokes: tuple[Stroke, ...]

    @property
    def half_axes_mm(self) -> tuple[float, float]:
        """Half lengths along p (occiput to forehead) and q (ear to ear)."""
        return (
            self.ellipse.d2_px * self.pixel_size_mm / 2.0,
            self.ellipse.d1_px * self.pixel_size_mm / 2.0,
        )

    @property
    def hc_mm(self) -> float:
        """True head circumference."""
        return self.ellipse.circumference_px() * self.pixel_size_mm
