"""A file or an array in, one `UltrasoundImage` or one mask of class numbers out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.dicom import DicomImage, parse_dicom
from lfusion.image.formats import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    PICTURE_SUFFIXES,
    check_readable,
)
from lfusion.image.grey import full_scale_of, to_grey, to_labels
from lfusion.image.image import Geometry, UltrasoundImage, to_pixel_size
from lfusion.image.limits import PixelLayout
from lfusion.image.pictures import parse_picture
from lfusion.image.sector import sector_mask
from lfusion.image.volumes import read_stack, read_volume, volume_size
from lfusion.types import GreyImage, LabelMap, PixelSize


def read_image(path: str | os.PathLike[str], frame: int | None = None) -> UltrasoundImage:
    """Read one ultrasound image from a file of any supported format.

    Colour becomes luminance. uint8 and uint16 are divided by the greatest value of their type.
    In NIfTI, MetaImage, NRRD and DICOM, values of other types outside [0, 1] are stretched from
    minimum to maximum; in pictures they are refused.

    Args:
        path: PNG, JPEG, BMP, TIFF, DICOM, NIfTI, MetaImage or NRRD; the suffix in any case.
        frame: Which of a DICOM cine, from 0; by default the middle one, since a sonographer
            freezes before and after what is worth seeing. Other files have frame 0 only.

    Returns:
        The image; its pixel size is None where the file does not know it, as in pictures. A
        frame of a cine has the geometry of its slice in the volume that a viewer opens.

    Raises:
        ImageError: If the file is missing, empty, damaged, of another format, or holds
            anything but one 2-D image of finite values.
    """
    path = Path(path)
    suffix = check_readable(path, IMAGE_SUFFIXES)
    try:
        if suffix in DICOM_SUFFIXES:
            with path.open("rb") as file:
                parsed = parse_dicom(file)
                count = parsed.layout.frames
                number = count // 2 if frame is None else frame
                if not 0 <= number < count:
                    raise ImageError(f"expected a frame from 0 to {count - 1}, got {number}")
                return _dicom_frame(parsed, number)
        if frame not in (None, 0):
            raise ImageError(f"expected frame 0, for this is no DICOM cine, got {frame}")
        pixels, geometry = _read_pixels(path, suffix)
        return _image(pixels, geometry.pixel_size_mm, geometry)
    except ImageError as error:
        raise _naming(path, error) from error


def read_frames(path: str | os.PathLike[str]) -> tuple[UltrasoundImage, ...]:
    """Read all frames of a DICOM cine; of any other file its one image.

    Args:
        path: As for `read_image`.

    Returns:
        The frames in order.

    Raises:
        ImageError: As for `read_image`.
    """
    path = Path(path)
    if check_readable(path, IMAGE_SUFFIXES) not in DICOM_SUFFIXES:
        return (read_image(path),)
    try:
        with path.open("rb") as file:
            parsed = parse_dicom(file)
            return tuple(_dicom_frame(parsed, number) for number in range(parsed.layout.frames))
    except ImageError as error:
        raise _naming(path, error) from error


def read_frame_count(path: str | os.PathLike[str]) -> int:
    """The number of frames of an image file, from its header.

    Raises:
        ImageError: As for `read_image`, as far as the header shows it.
    """
    path = Path(path)
    suffix = check_readable(path, IMAGE_SUFFIXES)
    return _dicom_layout(path).frames if suffix in DICOM_SUFFIXES else 1


def read_mask(path: str | os.PathLike[str]) -> LabelMap:
    """Read a mask of class numbers, exactly as they were stored.

    Args:
        path: PNG, BMP, TIFF, NIfTI, MetaImage or NRRD with one channel; the suffix in any case.

    Returns:
        [height, width], 0 = background.

    Raises:
        ImageError: As for `read_image`, and for lossy formats, colour and palette pictures,
            fractions, and numbers outside 0 to 255.
    """
    path = Path(path)
    suffix = check_readable(path, MASK_SUFFIXES)
    try:
        if suffix in PICTURE_SUFFIXES:
            with path.open("rb") as file:
                return to_labels(parse_picture(file).stored()[0])
        return to_labels(read_volume(path)[0])
    except ImageError as error:
        raise _naming(path, error) from error


def read_mask_frames(path: str | os.PathLike[str]) -> tuple[LabelMap, ...]:
    """Read a mask of one image, or of each frame of a cine: the slices of one volume.

    Args:
        path: As for `read_mask`; NIfTI, MetaImage or NRRD may hold several slices.

    Returns:
        [height, width] of each frame in order, 0 = background.

    Raises:
        ImageError: As for `read_mask`, but for the slices.
    """
    path = Path(path)
    if check_readable(path, MASK_SUFFIXES) in PICTURE_SUFFIXES:
        return (read_mask(path),)
    try:
        return tuple(to_labels(plane) for plane in read_stack(path)[0])
    except ImageError as error:
        raise _naming(path, error) from error


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of an image file, from its header.

    Raises:
        ImageError: As for `read_image`, as far as the header shows it.
    """
    path = Path(path)
    suffix = check_readable(path, IMAGE_SUFFIXES)
    if suffix in PICTURE_SUFFIXES:
        with path.open("rb") as file:
            layout = parse_picture(file).layout
            return (layout.height, layout.width)
    if suffix in DICOM_SUFFIXES:
        layout = _dicom_layout(path)
        return (layout.height, layout.width)
    return volume_size(path)


def as_ultrasound_image(
    source: UltrasoundImage | NDArray[Any] | str | os.PathLike[str],
    pixel_size_mm: Sequence[float] | float | None = None,
) -> UltrasoundImage:
    """Accept an image in any of the forms that callers have it in.

    Args:
        source: A path, an array [height, width] or [height, width, 3 or 4] of bool, uint8,
            uint16 or float in [0, 1], or an image that was read before.
        pixel_size_mm: (row, column) size, or one number; it wins over what the source says.

    Returns:
        The image.

    Raises:
        ImageError: If the source cannot be read or the pixel size is not positive.

    Example:
        >>> import numpy as np
        >>> image = as_ultrasound_image(np.full((2, 2), 255, np.uint8), 0.5)
        >>> image.pixels.tolist(), image.pixel_size_mm
        ([[1.0, 1.0], [1.0, 1.0]], (0.5, 0.5))
    """
    size = None if pixel_size_mm is None else to_pixel_size(pixel_size_mm)
    if isinstance(source, str | os.PathLike):
        source = read_image(source)
    if isinstance(source, UltrasoundImage):
        if size is None:
            return source
        return replace(source, pixel_size_mm=size, regions=(), calibration_note=None)
    pixels = to_grey(source)
    return UltrasoundImage(pixels, size, sector_mask(pixels), Geometry.calibrated(size))


def _image(
    pixels: GreyImage, pixel_size_mm: PixelSize | None, geometry: Geometry
) -> UltrasoundImage:
    size = None if pixel_size_mm is None else to_pixel_size(pixel_size_mm)
    return UltrasoundImage(pixels, size, sector_mask(pixels), geometry)


def _dicom_frame(parsed: DicomImage, number: int) -> UltrasoundImage:
    values = parsed.shown(number)[0]
    white = None
    if parsed.layout.dtype.itemsize == 1:
        white = full_scale_of([values], parsed.significant_bits)
    elif values.dtype.kind != "f" or values.max() > 1:
        planes = (parsed.shown(plane) for plane in range(parsed.layout.frames))
        white = full_scale_of(planes, parsed.significant_bits)
    image = _image(
        to_grey(values, stretch=True, full_scale=white),
        parsed.pixel_size_mm,
        parsed.geometry.slice(number),
    )
    return replace(image, regions=parsed.regions, calibration_note=parsed.calibration_note)


def _dicom_layout(path: Path) -> PixelLayout:
    try:
        with path.open("rb") as file:
            return parse_dicom(file).layout
    except ImageError as error:
        raise _naming(path, error) from error


def _read_pixels(path: Path, suffix: str) -> tuple[GreyImage, Geometry]:
    if suffix in PICTURE_SUFFIXES:
        with path.open("rb") as file:
            picture = parse_picture(file)
            shown = picture.shown()
            scale = full_scale_of(shown, picture.significant_bits)
            return to_grey(shown[0], full_scale=scale), picture.geometry
    values, geometry = read_volume(path)
    return to_grey(values, stretch=True), geometry


def _naming(path: Path, error: ImageError) -> ImageError:
    """Say which file, where the check that failed only knew the array."""
    message = str(error)
    return error if str(path) in message else ImageError(f"cannot read {path}: {message}")
