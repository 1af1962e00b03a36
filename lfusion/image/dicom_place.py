"""Place in space and calibration of a DICOM image.

Source: DICOM PS3.3 sections C.7.6.2 (Image Plane) and C.8.5.5 (US Region Calibration).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lfusion.image.dicom_header import Elements, HeaderFile
from lfusion.image.image import CalibratedRegion, Geometry, agree
from lfusion.types import PixelSize

_SOP_CLASS = 0x00080016
_MEDIA_CLASS = "1.2.840.10008.5.1.4.1.1."
_PIXEL_SPACING = 0x00280030
_IMAGER_SPACING = 0x00181164
_SCANNED_SPACING = 0x00182010
_ULTRASOUND = ("3", "3.1", "6", "6.1", "77.1.4")
"""Classes whose frames ITK stacks with unit steps, whatever the file says."""
_RADIOGRAPHS = ("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "12.1", "12.2")
"""Classes whose spacing is that of the detector."""
_SCREENSHOT = "7"
_FUNCTIONAL_GROUPS = ("7.1", "7.2", "7.3", "7.4", "2.1", "2.2", "4.1", "4.3", "4.4")
"""Classes whose place is in functional groups, which ITK does not look for elsewhere."""

_CENTIMETRE = 3
_TWO_D = 1
_TISSUE = 1
_MAX_REGIONS = 100


@dataclass(frozen=True)
class CalibrationFound:
    """Calibration of one file.

    Attributes:
        pixel_size_mm: (row, column) size that holds for the whole image, else None.
        note: Reason why it is None, where the file has a calibration.
        regions: Calibrated regions.
    """

    pixel_size_mm: PixelSize | None
    note: str | None
    regions: tuple[CalibratedRegion, ...]


def place_of(header: HeaderFile, pixel_size_mm: PixelSize | None) -> Geometry:
    """Return where ITK, and so 3D Slicer, opens the frames, as the slices of a volume.

    ITK knows no ultrasound calibration and takes unit steps where no spacing is given.

    Args:
        header: Of the file.
        pixel_size_mm: Of the calibration, which makes equal steps physical.
    """
    values = header.elements
    kind = values.raw(_SOP_CLASS).decode("latin-1").strip(" \0").removeprefix(_MEDIA_CLASS)
    grouped = kind in _FUNCTIONAL_GROUPS
    tags = [_PIXEL_SPACING]
    if kind in _RADIOGRAPHS:
        tags = [_IMAGER_SPACING]
    elif kind == _SCREENSHOT:
        tags = [_PIXEL_SPACING, _SCANNED_SPACING]
    given = [] if grouped else [found for tag in tags if (found := _pair(values, tag))]
    rows, columns = given[0] if given else (1.0, 1.0)
    between = 0.0 if grouped or kind in _ULTRASOUND else values.number(0x00180088, "DS") or 0.0
    origin = () if grouped else values.numbers(0x00200032, "DS")
    spacing = (columns, rows, abs(between) or 1.0)
    known = pixel_size_mm is not None and np.allclose(spacing[:2], pixel_size_mm[::-1])
    return Geometry(
        spacing=spacing,
        origin=origin if len(origin) == 3 else (0.0, 0.0, 0.0),
        direction=_direction(values.numbers(0x00200037, "DS")),
        physical=known,
    )


def calibration_of(header: HeaderFile, rows: int, columns: int) -> CalibrationFound:
    """Return the calibration in the header.

    Regions of 2-D tissue calibrated in cm decide; without one, Pixel Spacing does.

    Args:
        header: Of the file.
        rows: Of the image.
        columns: Of the image.

    Raises:
        ImageError: A value in the header is damaged.
    """
    values = header.elements
    items = values.items(0x00186011, _MAX_REGIONS)
    regions = tuple(_region(item, rows, columns) for item in items if _is_calibrated(item))
    if regions:
        if agree(regions):
            return CalibrationFound(regions[0].pixel_size_mm, None, regions)
        sizes = " and ".join(
            dict.fromkeys("{:g} x {:g}".format(*region.pixel_size_mm) for region in regions)
        )
        differ = f"the image has regions with different pixel sizes ({sizes} mm)"
        return CalibrationFound(None, differ, regions)
    spacing = _pair(values, _PIXEL_SPACING)
    note = "its ultrasound regions are not calibrated in cm" if items and not spacing else None
    return CalibrationFound(spacing, note, ())


def _pair(values: Elements, tag: int) -> PixelSize | None:
    """Return (row, column) spacing; zero and negative ones count as absent."""
    found = values.numbers(tag, "DS")
    if len(found) < 2 or min(found[:2]) <= 0:
        return None
    return (found[0], found[1])


def _direction(cosines: tuple[float, ...]) -> tuple[float, ...]:
    """Return the axes as the columns of a matrix; those of the grid where they are no axes."""
    along, down = np.array((1.0, 0.0, 0.0)), np.array((0.0, 1.0, 0.0))
    if len(cosines) == 6:
        first, second = np.array(cosines[:3]), np.array(cosines[3:])
        lengths = np.linalg.norm(first), np.linalg.norm(second)
        if all(abs(length - 1) < 1e-2 for length in lengths) and abs(first @ second) < 1e-2:
            along, down = first, second
    matrix = np.stack([along, down, np.cross(along, down)], axis=1)
    return tuple(float(value) for value in matrix.ravel())


def _is_calibrated(region: Elements) -> bool:
    deltas = (region.number(0x0018602C, "FD"), region.number(0x0018602E, "FD"))
    return (
        region.count(0x00186012) == _TWO_D
        and region.count(0x00186014) == _TISSUE
        and region.count(0x00186024) == _CENTIMETRE
        and region.count(0x00186026) == _CENTIMETRE
        and all(deltas)
    )


def _region(region: Elements, rows: int, columns: int) -> CalibratedRegion:
    # A delta is negative where its axis points left or up.
    column_cm = abs(region.number(0x0018602C, "FD") or math.nan)
    row_cm = abs(region.number(0x0018602E, "FD") or math.nan)
    left, top, right, bottom = (
        region.number(tag, "UL") or 0.0 for tag in (0x00186018, 0x0018601A, 0x0018601C, 0x0018601E)
    )
    return CalibratedRegion(
        rows=_span(top, bottom, rows),
        columns=_span(left, right, columns),
        pixel_size_mm=(10 * row_cm, 10 * column_cm),
        on_top=bool(int(region.number(0x00186016, "UL") or 0) & 1),
    )


def _span(first: float, last: float, size: int) -> tuple[int, int]:
    """Return the pixels of one axis as a half-open range; all where the file names none."""
    low, high = sorted((first, last))
    start, stop = max(int(low), 0), min(int(high) + 1, size)
    return (0, size) if low == high or start >= stop else (start, stop)
