"""DICOM ultrasound, still or cine: grey values and the calibration that viewers ignore."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.formats import quiet_libraries
from lfusion.image.grey import to_grey
from lfusion.image.image import Geometry, to_pixel_size
from lfusion.image.volumes import read_stack
from lfusion.types import PixelSize

if TYPE_CHECKING:  # pydicom takes a fifth of a second, which a viewer's start can do without
    from pydicom.dataset import Dataset as Header

_CENTIMETRE = 3
_TWO_D = 1
_TISSUE = 1
# What pydicom raises on damaged files, some of it only when a value is looked at.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
    struct.error,
)


@dataclass(frozen=True, eq=False)
class DicomFrames:
    """The frames of one file.

    Attributes:
        pixels: [frames, height, width] in [0, 1].
        pixel_size_mm: (row, column) that the calibration gives, for measuring.
        geometry: Where ITK, and so 3D Slicer, opens the frames, as the slices of a volume: it
            knows no ultrasound calibration and takes unit steps.
    """

    pixels: NDArray[np.float32]
    pixel_size_mm: PixelSize | None
    geometry: Geometry


def dicom_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header.

    Raises:
        ImageError: If the file is no DICOM image.
    """
    header = _read_header(path)
    return (int(header.Rows), int(header.Columns))


def frame_count(path: Path) -> int:
    """The number of frames from the header; 1 for a still.

    Raises:
        ImageError: If the file is no DICOM image.
    """
    header = _read_header(path)
    with _understanding(path):
        return int(header.get("NumberOfFrames") or 1)


def read_dicom(path: Path, frame: int | None = None) -> DicomFrames:
    """Read the frames of a DICOM file, grey or colour.

    Grey values are scaled by the number of bits stored, colour becomes luminance, and signed
    or rescaled values are stretched from minimum to maximum of what is read. Display windows
    are not applied.

    Args:
        path: A DICOM file.
        frame: The only one to return, from 0; None for all.

    Raises:
        ImageError: If the file is damaged or holds no image, or not this frame.
    """
    header = _read_header(path)
    values, place = read_stack(path)
    if frame is not None:
        if not 0 <= frame < len(values):
            raise ImageError(
                f"cannot read {path}: expected a frame from 0 to {len(values) - 1}, got {frame}"
            )
        values = values[frame : frame + 1]
    with _understanding(path):
        # One tall picture: what holds for grey values holds for all frames alike.
        tall = values.reshape(-1, *values.shape[2:])
        if tall.ndim == 3:
            grey = to_grey(tall)
        elif _is_rescaled(header) or values.dtype.kind != "u":
            grey = to_grey(tall.astype(np.float64), stretch=True)
        else:
            grey = to_grey(tall, full_scale=_full_scale(header))
        size = pixel_size_of(header)
    known = size is not None and np.allclose(place.spacing[:2], (size[1], size[0]))
    return DicomFrames(
        pixels=grey.reshape(values.shape[:3]),
        pixel_size_mm=size,
        geometry=replace(place, physical=known),
    )


def pixel_size_of(header: Header) -> PixelSize | None:
    """The pixel size in mm that a DICOM header gives.

    The largest region of 2-D tissue calibrated in cm decides; without one, PixelSpacing.

    Args:
        header: A DICOM data set.

    Returns:
        (row, column) size in mm, or None.

    Source: DICOM PS3.3 C.8.5.5 US Region Calibration Module.

    Example:
        >>> from pydicom.dataset import Dataset as Header
        >>> region = Header()
        >>> region.RegionSpatialFormat = region.RegionDataType = 1
        >>> region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
        >>> region.PhysicalDeltaX, region.PhysicalDeltaY = 0.01, 0.02
        >>> header = Header()
        >>> header.SequenceOfUltrasoundRegions = [region]
        >>> pixel_size_of(header)
        (0.2, 0.1)
    """
    regions = [region for region in header.get("SequenceOfUltrasoundRegions", ()) if _fits(region)]
    if regions:
        largest = max(regions, key=_area)
        # A delta is negative where its axis points left or up.
        row_cm, column_cm = abs(largest.PhysicalDeltaY), abs(largest.PhysicalDeltaX)
        return to_pixel_size((10 * float(row_cm), 10 * float(column_cm)))
    spacing = header.get("PixelSpacing")
    return to_pixel_size((float(spacing[0]), float(spacing[1]))) if spacing else None


def _is_rescaled(header: Header) -> bool:
    slope, intercept = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
    return (float(slope), float(intercept)) != (1.0, 0.0)


def _full_scale(header: Header) -> float:
    bits = int(header.BitsStored)
    if not 1 <= bits <= 16:
        raise ImageError(f"expected 1 to 16 bits stored in a DICOM image, got {bits}")
    return 2.0**bits - 1


def _fits(region: Header) -> bool:
    return (
        region.get("RegionSpatialFormat") == _TWO_D
        and region.get("RegionDataType") == _TISSUE
        and region.get("PhysicalUnitsXDirection") == _CENTIMETRE
        and region.get("PhysicalUnitsYDirection") == _CENTIMETRE
        and bool(region.get("PhysicalDeltaX"))
        and bool(region.get("PhysicalDeltaY"))
    )


def _area(region: Header) -> int:
    width = int(region.get("RegionLocationMaxX1", 0)) - int(region.get("RegionLocationMinX0", 0))
    height = int(region.get("RegionLocationMaxY1", 0)) - int(region.get("RegionLocationMinY0", 0))
    return width * height


def _read_header(path: Path) -> Header:
    import pydicom

    with _understanding(path):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        has_image = bool(header.get("Rows")) and bool(header.get("Columns"))
    if not has_image:
        raise ImageError(f"cannot read {path}: expected a DICOM image, got a file without pixels")
    return header


@contextmanager
def _understanding(path: Path) -> Iterator[None]:
    """Around every look into a header: pydicom converts, warns and fails only then."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with quiet_libraries():
            yield
    except (InvalidDicomError, BytesLengthException, *_DAMAGE) as error:
        raise ImageError(
            f"cannot read {path}: expected a DICOM file, got a damaged or other file "
            f"({error}); export it again"
        ) from error
