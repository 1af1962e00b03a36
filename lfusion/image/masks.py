"""A mask in class numbers on the pixels of its image, from a file of any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.decode import open_image
from lfusion.image.grey import to_labels
from lfusion.image.limits import PixelLayout
from lfusion.image.nrrd import Nrrd, Segment
from lfusion.image.placement import stored_on


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
    with open_image(image) as shown, open_image(mask) as stored:
        segmentation = isinstance(stored, Nrrd) and stored.is_segmentation
        named = isinstance(stored, Nrrd) and bool(stored.segments and labels)
        if not segmentation and not (shown.geometry.physical and stored.geometry.physical):
            _check_size(_size(stored.layout), _size(shown.layout))
        placed = stored_on(stored, shown, labels if named else None)
        frames = np.stack([to_labels(plane) for plane in placed])
    return PlacedMask(frames, named)


def read_mask_values(mask: Path) -> tuple[NDArray[np.uint8], tuple[Segment, ...]]:
    """Read the stored values of a mask, wherever it lies, and the segments that it names.

    Args:
        mask: As for `read_placed_mask`.

    Returns:
        [frames, height, width]; and the segments.

    Raises:
        ImageError: As for `read_placed_mask`.
    """
    with open_image(mask) as stored:
        frames = np.stack([to_labels(plane) for plane in stored.stored()])
        return frames, stored.segments if isinstance(stored, Nrrd) else ()


def _size(layout: PixelLayout) -> tuple[int, int, int]:
    return (layout.frames, layout.height, layout.width)


def _check_size(mask: tuple[int, ...], image: tuple[int, int, int]) -> None:
    """Refuse another size, where a file has no place in space to find the mask by."""
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
