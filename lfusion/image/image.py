"""What the others see of an image: grey values, pixel size, sector, place in space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfusion.errors import ImageError
from lfusion.types import BoolMap, GreyImage, PixelSize

_WHOLLY = 0.9
"""Share of a structure inside a region that it lies in; an outline may cross the edge."""

_MOSTLY = 0.5
"""The same where all regions have one pixel size, so that none is mistaken for another."""


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of a file lie in the space of a viewer, in the convention of ITK (LPS, mm).

    It has the dimension of the file it came from (2, or 3 for a volume of one slice), so that a
    mask written with it covers the image exactly.

    Attributes:
        spacing: Distance of neighbours along x (columns), y (rows) and, if any, z.
        origin: Position of the centre of the first pixel.
        direction: Unit vectors of the axes as the columns of a row-major matrix.
        physical: Whether `spacing` is in mm. A PNG only has a grid of pixels.
    """

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    physical: bool

    @classmethod
    def grid(cls) -> Geometry:
        """The geometry of files that hold none: unit steps from the origin."""
        return cls((1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), physical=False)

    @classmethod
    def calibrated(cls, pixel_size_mm: PixelSize | None) -> Geometry:
        """An upright plane at the origin with this pixel size, or the bare grid when it is None.

        Example:
            >>> Geometry.calibrated((0.2, 0.1)).spacing
            (0.1, 0.2)
        """
        if pixel_size_mm is None:
            return cls.grid()
        row, column = pixel_size_mm
        return cls((column, row), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), physical=True)

    def slice(self, number: int) -> Geometry:
        """The geometry of one slice of this volume; itself where it is flat.

        Args:
            number: Of the slice along z, from 0.

        Example:
            >>> upright = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
            >>> volume = Geometry((1.0, 1.0, 2.0), (0.0, 0.0, 5.0), upright, physical=False)
            >>> volume.slice(3).origin
            (0.0, 0.0, 11.0)
        """
        if len(self.spacing) == 2:
            return self
        step = number * self.spacing[2]
        along = self.direction[2::3]
        origin = (start + step * axis for start, axis in zip(self.origin, along, strict=True))
        return replace(self, origin=tuple(origin))

    @property
    def pixel_size_mm(self) -> PixelSize | None:
        """(row, column) size in mm, None when the file does not know it."""
        return (self.spacing[1], self.spacing[0]) if self.physical else None


@dataclass(frozen=True)
class CalibratedRegion:
    """Part of an image with a calibration of its own, such as one of two views side by side.

    Attributes:
        rows: (first, end) of its rows; the end is not part of it.
        columns: The same of its columns.
        pixel_size_mm: (row, column) size.
        on_top: Whether it covers other regions where they overlap.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    pixel_size_mm: PixelSize
    on_top: bool = False


@dataclass(frozen=True)
class Calibration:
    """Pixel size that holds for one structure.

    Attributes:
        pixel_size_mm: (row, column) size, or None.
        note: Reason why it is None, where the file has a calibration.
    """

    pixel_size_mm: PixelSize | None
    note: str | None = None


@dataclass(frozen=True, eq=False)
class UltrasoundImage:
    """One grey ultrasound image.

    Attributes:
        pixels: [height, width] echo amplitude in [0, 1].
        pixel_size_mm: (row, column) size in mm for measuring, None when unknown. It can differ
            from the spacing in `geometry`: a PNG with a known calibration still opens in a
            viewer with unit steps, and its mask has to open in the same place.
        sector: [height, width], True where the scanner shows echoes.
        geometry: What a written mask or map needs to open in the same place as the image.
        regions: Calibrated parts of the image; where their sizes differ, `pixel_size_mm` is None
            and `calibration` chooses by structure.
        calibration_note: Reason why a file with a calibration gives no pixel size.
    """

    pixels: GreyImage
    pixel_size_mm: PixelSize | None
    sector: BoolMap
    geometry: Geometry
    regions: tuple[CalibratedRegion, ...] = ()
    calibration_note: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no reader makes, before it becomes a wrong measurement."""
        if self.pixels.ndim != 2 or self.pixels.size == 0 or self.pixels.dtype != np.float32:
            raise ImageError(
                "an image needs float32 pixels [height, width], got "
                f"{self.pixels.dtype} {list(self.pixels.shape)}; use as_ultrasound_image"
            )
        if self.sector.shape != self.pixels.shape:
            raise ImageError(
                f"the sector has size {list(self.sector.shape)}, "
                f"the image {list(self.pixels.shape)}; they must be equal"
            )

    def calibration(self, mask: NDArray[Any]) -> Calibration:
        """Choose the pixel size of the region that the structures lie in.

        Of each structure its largest connected part counts, which is the one that is measured.

        Args:
            mask: [height, width] class numbers, or booleans of one structure.

        Returns:
            The pixel size; none with the reason where a structure lies in no calibrated region,
            in several that differ, or where several cover it.

        Example:
            >>> left = CalibratedRegion((0, 4), (0, 4), (0.5, 0.5))
            >>> right = CalibratedRegion((0, 4), (4, 8), (0.2, 0.2))
            >>> pixels, head = np.zeros((4, 8), np.float32), np.zeros((4, 8), bool)
            >>> head[1:3, 5:7] = True
            >>> grid = Geometry.grid()
            >>> image = UltrasoundImage(pixels, None, head, grid, regions=(left, right))
            >>> image.calibration(head).pixel_size_mm
            (0.2, 0.2)
        """
        structures = [_largest_part(mask == number) for number in np.unique(mask) if number]
        if not self.regions or not structures:
            return Calibration(self.pixel_size_mm, self.calibration_note)
        found = [self._calibration_of(structure) for structure in structures]
        unknown = next((one for one in found if one.pixel_size_mm is None), None)
        if unknown is not None:
            return unknown
        if len({one.pixel_size_mm for one in found}) > 1:
            return Calibration(None, f"{self.calibration_note}, and the structures lie in several")
        return found[0]

    def _calibration_of(self, structure: NDArray[np.bool_]) -> Calibration:
        total = np.count_nonzero(structure)
        covered = np.zeros(structure.shape, dtype=bool)
        for region in self.regions:
            if region.on_top:
                covered[slice(*region.rows), slice(*region.columns)] = True
        shares = [
            np.count_nonzero(
                (structure if region.on_top else structure & ~covered)[
                    slice(*region.rows), slice(*region.columns)
                ]
            )
            / total
            for region in self.regions
        ]
        if self.pixel_size_mm is not None:
            if sum(shares) >= _MOSTLY:
                return Calibration(self.pixel_size_mm)
            return Calibration(None, "the structure lies outside of the calibrated region")
        inside = [
            region for region, share in zip(self.regions, shares, strict=True) if share >= _WHOLLY
        ]
        if not inside:
            return Calibration(
                None, f"{self.calibration_note}, and the structure does not lie in one of them"
            )
        if not agree(inside):
            return Calibration(
                None, f"{self.calibration_note}, and several of them cover the structure"
            )
        return Calibration(inside[0].pixel_size_mm)


def _largest_part(structure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(structure)
    if count == 1:
        return structure
    largest: NDArray[np.bool_] = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return largest


def agree(regions: Sequence[CalibratedRegion]) -> bool:
    """Return whether regions have one pixel size, up to rounding."""
    first = regions[0].pixel_size_mm
    return all(np.allclose(region.pixel_size_mm, first, rtol=1e-3) for region in regions)


def to_pixel_size(value: Sequence[float] | float) -> PixelSize:
    """Check a pixel size in mm.

    Args:
        value: (row, column) size, or one number for square pixels.

    Returns:
        (row, column) size in mm.

    Raises:
        ImageError: If it is not one or two positive finite numbers.

    Example:
        >>> to_pixel_size(0.1)
        (0.1, 0.1)
    """
    sizes = (value, value) if isinstance(value, int | float) else tuple(value)
    if len(sizes) != 2 or not all(math.isfinite(size) and size > 0 for size in sizes):
        raise ImageError(
            f"a pixel size is one or two positive numbers in mm, (row, column), got {value!r}"
        )
    return (float(sizes[0]), float(sizes[1]))
