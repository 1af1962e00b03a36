"""A file or an array in, one `UltrasoundImage` or one mask of class numbers out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.dicom import dicom_size, frame_count, read_dicom
from lfusion.image.formats import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    PICTURE_SUFFIXES,
    check_readable,
    suffix_of,
)
from lfusion.image.grey import to_grey, to_labels
from lfusion.image.image import Geometry, UltrasoundImage, to_pixel_size
from lfusion.image.metaimage import parse_metaimage
from lfusion.image.nifti import parse_nifti
from lfusion.image.nrrd import parse_nrrd
from lfusion.image.parsed import ParsedImage
from lfusion.image.pictures import picture_size, read_picture, read_picture_labels
from lfusion.image.sector import sector_mask
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
            middle = frame_count(path) // 2 if frame is None else frame
            loop = read_dicom(path, middle)
            return _image(loop.pixels[0], loop.pixel_size_mm, loop.geometry.slice(middle))
        if frame not in (None, 0):
            raise ImageError(f"expected frame 0, for this is no DICOM cine, got {frame}")
        if suffix in PICTURE_SUFFIXES:
            return _image(to_grey(read_picture(path)), None, Geometry.grid())
        with open_volume(path) as parsed:
            _check_one_slice(parsed)
            pixels = to_grey(parsed.shown()[0], stretch=True)
            return _image(pixels, parsed.pixel_size_mm, parsed.geometry)
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
        loop = read_dicom(path)
        return tuple(
            _image(pixels, loop.pixel_size_mm, loop.geometry.slice(number))
            for number, pixels in enumerate(loop.pixels)
        )
    except ImageError as error:
        raise _naming(path, error) from error


def read_frame_count(path: str | os.PathLike[str]) -> int:
    """The number of frames of an image file, from its header.

    Raises:
        ImageError: As for `read_image`, as far as the header shows it.
    """
    path = Path(path)
    suffix = check_readable(path, IMAGE_SUFFIXES)
    return frame_count(path) if suffix in DICOM_SUFFIXES else 1


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
            return to_labels(read_picture_labels(path))
        with open_volume(path) as parsed:
            _check_one_slice(parsed)
            return to_labels(parsed.stored()[0])
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
        with open_volume(path) as parsed:
            return tuple(map(to_labels, parsed.stored()))
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
        return picture_size(path)
    if suffix in DICOM_SUFFIXES:
        return dicom_size(path)
    try:
        with open_volume(path) as parsed:
            _check_one_slice(parsed)
            return (parsed.layout.height, parsed.layout.width)
    except ImageError as error:
        raise _naming(path, error) from error


@contextmanager
def open_volume(path: Path) -> Iterator[ParsedImage]:
    """Open a NIfTI, MetaImage or NRRD file and parse its header.

    Yields:
        The parsed file, whose pixels can be read inside the block.

    Raises:
        ImageError: The header is damaged or names pixels in another file.
        TooLargeError: The image exceeds the limits.
    """
    parsers = {
        ".mha": parse_metaimage,
        ".mhd": parse_metaimage,
        ".nrrd": parse_nrrd,
        ".seg.nrrd": parse_nrrd,
    }
    with path.open("rb") as file:
        yield parsers.get(suffix_of(path), parse_nifti)(file)


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
        return source if size is None else replace(source, pixel_size_mm=size)
    pixels = to_grey(source)
    return UltrasoundImage(pixels, size, sector_mask(pixels), Geometry.calibrated(size))


def _image(
    pixels: GreyImage, pixel_size_mm: PixelSize | None, geometry: Geometry
) -> UltrasoundImage:
    size = None if pixel_size_mm is None else to_pixel_size(pixel_size_mm)
    return UltrasoundImage(pixels, size, sector_mask(pixels), geometry)


def _check_one_slice(parsed: ParsedImage) -> None:
    layout = parsed.layout
    if layout.frames != 1:
        raise ImageError(
            "expected a 2-D image or a volume of one slice, got "
            f"{layout.width} x {layout.height} x {layout.frames} voxels; export the slice you need"
        )


def _naming(path: Path, error: ImageError) -> ImageError:
    """Say which file, where the check that failed only knew the array."""
    message = str(error)
    return error if str(path) in message else ImageError(f"cannot read {path}: {message}")
