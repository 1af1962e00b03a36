"""A mask in class numbers on the pixels of its image, from a file of any format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.dicom import dicom_size, frame_count
from lfusion.image.formats import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    PICTURE_SUFFIXES,
    check_readable,
    suffix_of,
)
from lfusion.image.grey import to_labels
from lfusion.image.image import Geometry
from lfusion.image.nrrd import Nrrd, Segment, segmentation_labels
from lfusion.image.pictures import picture_size, read_picture_labels
from lfusion.image.placement import place_mask
from lfusion.image.read import open_volume
from lfusion.image.volumes import read_stack

_UNPLACED = {*PICTURE_SUFFIXES, *DICOM_SUFFIXES}


@dataclass(frozen=True)
class PlacedMask:
    """A mask on the pixels of its image.

    Attributes:
        frames: [frames, height, width] class numbers or stored values, 0 = background; one frame
            for all of a cine when the mask has one.
        named: Whether the values are class numbers by the names of segments.
    """

    frames: NDArray[np.uint8]
    named: bool


def read_placed_mask(mask: Path, image: Path, labels: Mapping[str, int]) -> PlacedMask:
    """Read a mask and lay it on its image by geometry.

    Args:
        mask: PNG, BMP, TIFF, NIfTI, MetaImage or NRRD with one channel, or a segmentation of
            3D Slicer, whose segments become class numbers by their names.
        image: The image that it was drawn on; only its header is read.
        labels: Class number by name; empty keeps the values of a segmentation.

    Returns:
        The mask, of the size of the image.

    Raises:
        ImageError: A file cannot be read, the mask has another size, or lies elsewhere in space.
            The path is that of the mask, unless the image cannot be read.
    """
    with _opened(image, IMAGE_SUFFIXES) as shown:
        geometry, size = shown.geometry, shown.size
    with _opened(mask, MASK_SUFFIXES) as stored:
        try:
            named = bool(stored.segments and labels)
            values = stored.class_numbers(labels) if named else stored.values()
            if not stored.cropped and {suffix_of(image), suffix_of(mask)} & _UNPLACED:
                _check_size(values.shape, size)
            placed = place_mask(values, stored.geometry, geometry, size, cropped=stored.cropped)
            frames = np.stack([to_labels(plane) for plane in placed])
        except ImageError as error:
            raise _naming(mask, error) from error
    return PlacedMask(frames, named)


def read_mask_values(mask: Path) -> tuple[NDArray[np.uint8], tuple[Segment, ...]]:
    """Read the stored values of a mask, wherever it lies, and the segments that it names.

    Args:
        mask: As for `read_placed_mask`.

    Raises:
        ImageError: As for `read_placed_mask`.
    """
    with _opened(mask, MASK_SUFFIXES) as stored:
        try:
            frames = np.stack([to_labels(plane) for plane in stored.values()])
        except ImageError as error:
            raise _naming(mask, error) from error
        return frames, stored.segments


def _check_size(mask: tuple[int, ...], image: tuple[int, int, int]) -> None:
    """Refuse another size, where the image has no place in space to find the mask by."""
    frames = image[0]
    if mask[0] not in (1, frames):
        raise ImageError(
            f"expected a mask of one slice{f', or of {frames} for the frames' * (frames > 1)}; "
            f"got {mask[0]} slices; save a mask of the image itself"
        )
    if mask[1:] != image[1:]:
        raise ImageError(
            f"expected a mask of the image's size, {image[1]} x {image[2]} pixels (height x "
            f"width); got {mask[1]} x {mask[2]}; save the mask on the image's own grid"
        )


def _naming(path: Path, error: ImageError) -> ImageError:
    """The error with the file that it is about."""
    if error.path is not None:
        return error
    return type(error)(error.reason.removeprefix(f"cannot read {path}: "), path)


@dataclass(frozen=True)
class _Opened:
    """What masks and images share."""

    geometry: Geometry
    size: tuple[int, int, int]
    values: Callable[[], NDArray[Any]]
    parsed: Nrrd | None = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        return () if self.parsed is None else self.parsed.segments

    @property
    def cropped(self) -> bool:
        """Whether the file holds a part of the image only, as 3D Slicer writes it."""
        return self.parsed is not None and self.parsed.is_segmentation

    def class_numbers(self, labels: Mapping[str, int]) -> NDArray[np.uint8]:
        assert self.parsed is not None
        return segmentation_labels(self.parsed, labels)


@contextmanager
def _opened(path: Path, suffixes: tuple[str, ...]) -> Iterator[_Opened]:
    """Open a file, for as long as the block runs."""
    suffix = check_readable(path, suffixes)
    if suffix in PICTURE_SUFFIXES:
        height, width = picture_size(path)
        yield _Opened(Geometry.grid(), (1, height, width), lambda: read_picture_labels(path)[None])
    elif suffix in DICOM_SUFFIXES:
        height, width = dicom_size(path)
        size = (frame_count(path), height, width)
        yield _Opened(Geometry.grid(), size, lambda: read_stack(path)[0])
    else:
        try:
            with open_volume(path) as parsed:
                layout = parsed.layout
                size = (layout.frames, layout.height, layout.width)
                segmentation = parsed if isinstance(parsed, Nrrd) else None
                yield _Opened(parsed.geometry, size, parsed.stored, segmentation)
        except ImageError as error:
            raise _naming(path, error) from error
