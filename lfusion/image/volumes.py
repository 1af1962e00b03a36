"""NIfTI, MetaImage and NRRD: common parts of the parsed volume, and the writer."""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.formats import quiet_libraries
from lfusion.image.image import Geometry
from lfusion.image.parsed import ParsedImage
from lfusion.types import PixelSize

LENGTH_UNITS_MM = {
    "m": 1e3, "meter": 1e3, "metre": 1e3, "meters": 1e3, "metres": 1e3,
    "cm": 10.0, "centimeter": 10.0, "centimetre": 10.0, "centimeters": 10.0, "centimetres": 10.0,
    "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "millimeters": 1.0, "millimetres": 1.0,
    "um": 1e-3, "\u00b5m": 1e-3, "\u03bcm": 1e-3, "micron": 1e-3, "microns": 1e-3,
    "micrometer": 1e-3, "micrometre": 1e-3, "micrometers": 1e-3, "micrometres": 1e-3,
    "nm": 1e-6, "nanometer": 1e-6, "nanometre": 1e-6,
}  # fmt: skip
"""Units of length as headers spell them, in mm."""

_DETERMINANT = 1e-6
_FARTHEST = 1e9
"""In mm; the inverse is the smallest spacing."""


class ParsedVolume(ParsedImage):
    """A volume whose slices are the frames; the formats differ in their headers only."""

    @abstractmethod
    def _values(self) -> NDArray[Any]:
        """Decode all values, [frames, height, width] or [frames, height, width, channels]."""

    def stored(self) -> NDArray[Any]:
        """Give the values of all slices; see `ParsedImage`."""
        if self.layout.channels != 1:
            raise ImageError(
                f"a mask of class numbers has one channel, the file has {self.layout.channels}; "
                "export the mask as a label map"
            )
        return self._values()

    def shown(self, frame: int | None = None) -> NDArray[Any]:
        """Give grey or colour as viewers show it; see `ParsedImage`."""
        self._check_colour()
        values = self._values()
        if frame is not None:
            values = values[frame : frame + 1]
        return values if self.layout.channels == 1 else _without_alpha(values)

    def _check_colour(self) -> None:
        """Refuse components that are vectors: a displacement field is no colour image."""
        channels, dtype = self.layout.channels, self.layout.dtype
        if channels != 1 and (channels == 2 or dtype.kind != "u" or dtype.itemsize > 2):
            raise ImageError(
                f"each pixel has {channels} numbers of type {dtype.name}, which is a vector, not a "
                "colour; export a grey or colour image"
            )


def plane_size(sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """Bring the sizes of a header to (frames, height, width).

    Args:
        sizes: From the fastest axis (width) on; axes after the third hold one element each.

    Raises:
        ImageError: There are fewer than two axes, or more than three that hold anything.
    """
    if len(sizes) < 2:
        raise ImageError(f"the header gives {len(sizes)} dimensions, an image has 2 or 3")
    if any(size != 1 for size in sizes[3:]):
        raise ImageError(
            f"the image has {len(sizes)} dimensions ({' x '.join(map(str, sizes))}); expected at "
            "most 3; export the volume you need"
        )
    return (sizes[2] if len(sizes) > 2 else 1, sizes[1], sizes[0])


def make_geometry(
    spacing: tuple[float, ...],
    origin: tuple[float, ...],
    axes: tuple[tuple[float, ...], ...],
    *,
    physical: bool = True,
) -> Geometry:
    """Make a geometry in the convention of ITK.

    Args:
        spacing: Distance of neighbours along each axis; a negative one turns its axis around, as
            in ITK.
        origin: Centre of the first pixel, LPS.
        axes: Direction of each axis, LPS.
        physical: Whether the spacing is in mm.

    Returns:
        The geometry, of as many dimensions.

    Raises:
        ImageError: A number is not finite, a spacing is zero, or the axes do not span the space.
    """
    numbers = (*spacing, *origin, *(part for axis in axes for part in axis))
    if not all(map(math.isfinite, numbers)):
        raise ImageError("the header places the image at NaN or infinity; export the file again")
    if 0 in spacing:
        raise ImageError("the header gives a spacing of 0; export the file again")
    if max(map(abs, numbers)) > _FARTHEST or min(map(abs, spacing)) < 1 / _FARTHEST:
        raise ImageError(
            f"the header gives spacing {spacing} and origin {origin}, which no image has; "
            "export the file again"
        )
    matrix = np.array(axes, float).T * np.sign(spacing)
    if abs(np.linalg.det(matrix)) < _DETERMINANT:
        raise ImageError(
            f"the header gives axes that do not span the space ({axes}); export the file again"
        )
    # + 0.0 turns the -0.0 of a turned axis into 0.0
    direction = tuple((matrix + 0.0).ravel().tolist())
    return Geometry(tuple(map(abs, spacing)), origin, direction, physical=physical)


def pixel_size_of(geometry: Geometry, unit_mm: float | None = 1.0) -> PixelSize | None:
    """Give the (row, column) size in mm.

    Args:
        geometry: Of the file.
        unit_mm: What one unit of its spacing measures in mm, None when that is unknown.
    """
    if unit_mm is None:
        return None
    return (geometry.spacing[1] * unit_mm, geometry.spacing[0] * unit_mm)


def write_volume(
    path: Path, values: NDArray[Any], geometry: Geometry, *, compress: bool = True
) -> None:
    """Write planes as NIfTI, MetaImage or NRRD, by suffix.

    Args:
        path: The file.
        values: [height, width] or [planes, height, width].
        geometry: Where they lie; a 3-D one makes a volume of one slice of a single plane.
        compress: Losslessly; some browsers' viewers cannot unpack a NRRD.
    """
    # It comes with the first volume: a viewer that shows pictures starts without it.
    import SimpleITK

    sitk: Any = SimpleITK  # half of its functions have no types
    slices = (1,) * (len(geometry.spacing) - values.ndim)
    with quiet_libraries():
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            image = sitk.GetImageFromArray(values.reshape(slices + values.shape))
            image.SetSpacing(geometry.spacing)
            image.SetOrigin(geometry.origin)
            image.SetDirection(geometry.direction)
            sitk.WriteImage(image, str(path), useCompression=compress)
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _without_alpha(values: NDArray[Any]) -> NDArray[Any]:
    if values.shape[-1] == 3:
        return values
    if (values[..., 3] != np.iinfo(values.dtype).max).any():
        raise ImageError(
            "the fourth channel makes pixels transparent, and what lies behind them is unknown; "
            "export the image without transparency"
        )
    return values[..., :3]
