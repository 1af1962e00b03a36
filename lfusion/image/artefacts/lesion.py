"""A lesion made of the image's own speckle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lfusion.image.artefacts.geometry import Artefact
from lfusion.types import BoolMap, GreyImage


@dataclass(frozen=True)
class PastedLesion(Artefact):
    """An ellipse of one grey level with the speckle of another part of the image.

    Attributes:
        row: Of the centre, 0 to 1 from the top to the bottom of the sector.
        column: Of the centre, 0 to 1 from left to right.
        radius: Mean semi-axis as a share of the root of the sector's area.
        aspect: Long over short semi-axis, at least 1.
        angle_rad: Of the long axis.
        contrast: Its grey level against what it covers: brighter where that is dark, else darker.
        roll: (rows, columns) by which the speckle is shifted, as shares of the image.
    """

    row: float
    column: float
    radius: float
    aspect: float
    angle_rad: float
    contrast: float
    roll: tuple[float, float]

    def change(self, pixels: GreyImage, sector: BoolMap) -> tuple[GreyImage, BoolMap]:
        """Blend the shifted texture in, over a rim of a tenth of the radius."""
        rows, columns = np.nonzero(sector)
        centre_row = rows.min() + self.row * (rows.max() - rows.min())
        centre_column = columns.min() + self.column * (columns.max() - columns.min())
        size = self.radius * math.sqrt(float(sector.sum()))
        row, column = np.indices(pixels.shape, dtype=np.float32)
        dy, dx = row - centre_row, column - centre_column
        c, s = math.cos(self.angle_rad), math.sin(self.angle_rad)
        stretch = math.sqrt(self.aspect)
        distance = np.hypot((c * dx + s * dy) / stretch, (c * dy - s * dx) * stretch) / size
        inside = np.clip((1.0 - distance) / 0.1 + 0.5, 0.0, 1.0)
        shift = tuple(round(r * n) for r, n in zip(self.roll, pixels.shape, strict=True))
        speckle = pixels - ndimage.gaussian_filter(pixels, 0.01 * len(pixels))
        covered = float(np.average(pixels, weights=inside)) if inside.any() else 0.0
        level = covered + (self.contrast if covered < 0.4 else -self.contrast)
        texture = level + np.roll(speckle, shift, (0, 1))
        return (pixels + inside * (texture - pixels)).astype(np.float32), inside > 0.5
