"""What all artefacts share: what they return, and the beams of a sector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lfusion.image.image import UltrasoundImage
from lfusion.types import BoolMap, GreyImage


@dataclass(frozen=True, eq=False)
class Spoilt:
    """An image with an artefact.

    Attributes:
        image: The changed image; its sector and pixel size are those of the original.
        where: [H, W], True at the pixels that the artefact was put on.
    """

    image: UltrasoundImage
    where: BoolMap


class Artefact(ABC):
    """One artefact with all its random numbers drawn; positions are relative to the sector."""

    def __call__(self, image: UltrasoundImage) -> Spoilt:
        """Put the artefact on an image; nothing outside its sector changes."""
        pixels, where = self.change(image.pixels, image.sector)
        where = where & image.sector
        changed = np.where(image.sector, np.clip(pixels, 0.0, 1.0), image.pixels)
        return Spoilt(replace(image, pixels=changed.astype(np.float32)), where)

    @abstractmethod
    def change(self, pixels: GreyImage, sector: BoolMap) -> tuple[GreyImage, BoolMap]:
        """Return the changed grey values and where they were changed."""


def beam_coordinates(
    sector: BoolMap,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (beam, depth) of each pixel, both 0 to 1 inside the sector.

    Beams fan out from a point above the sector, as those of a convex probe do: the lines through
    both ends of its upper and its middle rows meet there; parallel sides give parallel beams.

    Args:
        sector: [H, W], at least one pixel True.

    Returns:
        Position across the fan from left to right, and distance from the probe's face.
    """
    rows, columns = np.nonzero(sector)
    top, bottom = int(rows.min()), int(rows.max())
    left, right = int(columns.min()), int(columns.max())
    middle = (top + bottom) // 2
    upper = _width(sector, top + (middle - top) // 4)
    lower = _width(sector, middle)
    grow = max((lower - upper) / max(middle - top, 1), 0.0)  # of the width, a row
    # a fan no wider than 90 degrees, for a row cut by a shadow may look like a point
    above = min(max(upper, 1.0) / grow if grow > 1e-3 else 1e4, 1e4)
    above = max(above, 0.25 * (right - left))
    row, column = np.indices(sector.shape, dtype=np.float32)
    centre = 0.5 * (left + right)
    angle = np.arctan2(column - centre, row - top + above)
    reach = np.hypot(column - centre, row - top + above) - above
    return _unit(angle, sector), _unit(reach, sector)


def _width(sector: BoolMap, row: int) -> float:
    columns = np.flatnonzero(sector[row])
    return float(columns[-1] - columns[0]) if len(columns) else 0.0


def _unit(values: NDArray[np.float32], sector: BoolMap) -> NDArray[np.float32]:
    low, high = values[sector].min(), values[sector].max()
    scaled: NDArray[np.float32] = ((values - low) / max(high - low, 1e-6)).astype(np.float32)
    return scaled
