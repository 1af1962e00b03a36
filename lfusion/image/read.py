"""A file or an array in, one `UltrasoundImage` or one mask of class numbers out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.decode import open_image
from lfusion.image.formats import PICTURES, Format
from lfusion.image.grey import full_scale_of, to_grey, to_labels
from lfusion.image.image import Geometry, UltrasoundImage, to_pixel_size
from lfusion.image.parsed import ParsedImage
from lfusion.image.sector import sector_mask
from lfusion.types import FloatMap, GreyImage, LabelMap


def read_image(path: str | os.PathLike[str], frame: int | None = None) -> UltrasoundImage:
    """Read one ultrasound image from a file of any supported format.

    The pixels are what every viewer shows: upright, palettes resolved, black low. Colour becomes
    luminance. See docs/files.md for the grey scale of each number type.

    Args:
        path: PNG, JPEG, BMP, TIFF, NIfTI, MetaImage, NRRD, or DICOM of any name.
        frame: Frame of a DICOM cine, from 0; by default the middle one, since a sonographer
            freezes before and after what is worth seeing. Other files have frame 0 only.

    Returns:
        The image; its pixel size is None where the file does not give it, as in pictures. A
        frame of a cine has the geometry of its slice in the volume that a viewer opens.

    Raises:
        ImageError: If the file is missing, empty, damaged, of another format, or holds
            anything but one 2-D image of finite values.
        TooLargeError: If decoding it would exceed the limits.
    """
    with open_image(Path(path)) as file:
        _check_single(file)
        frames = file.layout.frames
        number = frames // 2 if frame is None else frame
        if not 0 <= number < frames:
            raise ImageError(
                f"frame {number} does not exist; the file has frames 0 to {frames - 1}"
            )
        return _frame(file, number)


def read_frames(path: str | os.PathLike[str]) -> tuple[UltrasoundImage, ...]:
    """Read all frames of a DICOM cine; of any other file its one image.

    Args:
        path: As for `read_image`.

    Returns:
        The frames in order.

    Raises:
        ImageError: As for `read_image`.
        TooLargeError: As for `read_image`, for all frames together.
    """
    with open_image(Path(path)) as file:
        _check_single(file)
        values = file.shown()
        grey = _grey(file, values, full_scale_of((values,), file.significant_bits))
        return tuple(_to_image(file, pixels, number) for number, pixels in enumerate(grey))


def read_frame_count(path: str | os.PathLike[str]) -> int:
    """Number of frames of an image file, from its header.

    Raises:
        ImageError: As for `read_image`, as far as the header shows it.
    """
    with open_image(Path(path)) as file:
        _check_single(file)
        return file.layout.frames


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of an image file, from its header.

    Raises:
        ImageError: As for `read_image`, as far as the header shows it.
    """
    with open_image(Path(path)) as file:
        _check_single(file)
        return (file.layout.height, file.layout.width)


def read_mask(path: str | os.PathLike[str]) -> LabelMap:
    """Read a mask of class numbers, as they were stored.

    Args:
        path: PNG, BMP, TIFF, NIfTI, MetaImage or NRRD with one channel.

    Returns:
        [height, width], 0 = background.

    Raises:
        ImageError: As for `read_image`; for lossy formats, colour and palette pictures, fractions,
            and numbers outside 0 to 255.
    """
    masks = read_mask_frames(path)
    if len(masks) != 1:
        raise ImageError(
            f"expected a mask of one slice, got {len(masks)}; save a mask of the image itself",
            Path(path),
        )
    return masks[0]


def read_mask_frames(path: str | os.PathLike[str]) -> tuple[LabelMap, ...]:
    """Read a mask of one image, or of each frame of a cine: the slices of one volume.

    See `read_placed_mask` for a mask that is laid on its image.

    Args:
        path: As for `read_mask`; NIfTI, MetaImage or NRRD may hold several slices.

    Returns:
        [height, width] of each slice in order, 0 = background.

    Raises:
        ImageError: As for `read_mask`, but for the slices.
    """
    with open_image(Path(path)) as file:
        return tuple(to_labels(plane) for plane in file.stored())


def read_map(path: str | os.PathLike[str]) -> tuple[FloatMap, Geometry]:
    """Read a map of real numbers, as `write_map` writes it.

    Args:
        path: TIFF, NIfTI, MetaImage or NRRD.

    Returns:
        [height, width], and where it lies.

    Raises:
        ImageError: As for `read_image`; for several slices, NaN or infinity.
    """
    with open_image(Path(path)) as file:
        values = file.stored()
        if len(values) != 1 or not np.isfinite(values).all():
            raise ImageError("expected one map of finite numbers; export it again")
        return np.ascontiguousarray(values[0], np.float32), file.geometry


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


def _check_single(file: ParsedImage) -> None:
    """Refuse a volume of several slices: only a DICOM cine has frames."""
    if file.layout.frames != 1 and file.format != Format.DICOM:
        raise ImageError(
            f"expected a 2-D image or a volume of one slice, got {file.layout.frames} slices; "
            "export the slice you need"
        )


def _frame(file: ParsedImage, number: int) -> UltrasoundImage:
    """One frame as an image; its grey scale is that of the whole file."""
    values = file.shown(number)
    wide = file.layout.frames > 1 and values.dtype != np.uint8
    scale = full_scale_of(_frames(file) if wide else (values,), file.significant_bits)
    return _to_image(file, _grey(file, values, scale)[0], number)


def _frames(file: ParsedImage) -> Iterator[NDArray[Any]]:
    """All frames, one by one."""
    return (file.shown(number) for number in range(file.layout.frames))


def _grey(file: ParsedImage, values: NDArray[Any], scale: float | None) -> NDArray[np.float32]:
    """[frames, height, width] in [0, 1]."""
    # One tall picture: what holds for grey values holds for all frames alike.
    tall = values.reshape(-1, *values.shape[2:])
    stretch = file.format not in PICTURES
    return to_grey(tall, stretch=stretch, full_scale=scale).reshape(values.shape[:3])


def _to_image(file: ParsedImage, pixels: GreyImage, number: int) -> UltrasoundImage:
    size = None if file.pixel_size_mm is None else to_pixel_size(file.pixel_size_mm)
    return UltrasoundImage(
        pixels,
        size,
        sector_mask(pixels),
        file.geometry.slice(number),
        file.regions,
        file.calibration_note,
    )
