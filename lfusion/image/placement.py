"""Masks laid on their images by geometry.

A mask of the same place can be stored in another order of axes, or be sampled otherwise. Its class
numbers are brought to the pixels of the image here. One that lies elsewhere is refused.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.image import Geometry
from lfusion.image.nrrd import Nrrd, segmentation_labels
from lfusion.image.parsed import ParsedImage

Size = tuple[int, int, int]
"""(frames, height, width)."""

_HALF = 0.5
_ROWS = 256
_SAME_PLACE = 0.05
"""Distance in pixels up to which two grids are the same one; float32 headers round by less."""


def place_mask(
    mask: NDArray[Any],
    mask_geometry: Geometry,
    image_geometry: Geometry,
    image_size: Size,
    *,
    cropped: bool = False,
) -> NDArray[Any]:
    """Lay a mask on the pixels of its image.

    Equal grids keep the array. Turned and permuted axes are undone exactly. A mask that is
    sampled otherwise gives each pixel of the image the class of its nearest voxel; its extent
    must cover that of the image, with a tolerance of half a pixel of the image.

    Pictures have no place in space: a mask of such a format, or of such an image, is compared by
    size only. So is a mask with unit steps at the origin, which is what libraries write when they
    are given no geometry, unless its geometry is that of the image in another order of axes.

    Args:
        mask: [frames, height, width], class numbers.
        mask_geometry: Its place in space.
        image_geometry: The place of the image, of a cine that of its first frame.
        image_size: (frames, height, width) of the image.
        cropped: Whether the mask may cover a part of the image, and is background outside.

    Returns:
        [frames, height, width] of the image, in the type of the mask. A mask of one slice that
        lies on one frame of a cine keeps its one slice.

    Raises:
        ImageError: The mask has another size and no place in space, or it lies elsewhere; the
            message gives both geometries.
    """
    size: Size = (mask.shape[0], mask.shape[1], mask.shape[2])
    one_slice = size[0] == 1 and math.prod(size) != math.prod(image_size)
    if one_slice and image_size[0] > 1 and not cropped:
        image_geometry = _nearest_slice(mask_geometry, size, image_geometry, image_size[0])
        image_size = (1, *image_size[1:])
    if _is_absent(image_geometry) or _is_absent(mask_geometry):
        return _equal_size(mask, image_size)
    if size == image_size and same_grid(mask_geometry, image_geometry, size):
        return mask
    try:
        to_mask = _index_transform(image_geometry, mask_geometry)
    except _DifferentSpaces:
        raise _elsewhere(mask_geometry, size, image_geometry, image_size) from None
    covers = _is_covered(to_mask, size, image_size, cropped=False)
    covers = covers or (cropped and _is_covered(to_mask, size, image_size, cropped=True))
    reordered = _reorder(mask, to_mask, image_size) if covers else None
    if reordered is not None:
        return reordered
    if _is_unplaced(mask_geometry) and not cropped:
        return _equal_size(mask, image_size)
    if not covers:
        raise _elsewhere(mask_geometry, size, image_geometry, image_size)
    return _resample(mask, to_mask, image_size)


def stored_on(
    mask: ParsedImage, image: ParsedImage, names: Mapping[str, int] | None = None
) -> NDArray[Any]:
    """Read the class numbers of a mask on the pixels of its image.

    Args:
        mask: A parsed mask, or a segmentation of 3D Slicer, which may cover a part of the image.
        image: The image it belongs to.
        names: Class number by name, for the segments of 3D Slicer; None takes their values.

    Returns:
        [frames, height, width] of the image, as stored.

    Raises:
        ImageError: As `place_mask`, `ParsedImage.stored` and `segmentation_labels`.
        TooLargeError: The mask exceeds the limits.
    """
    size: Size = (image.layout.frames, image.layout.height, image.layout.width)
    if not (isinstance(mask, Nrrd) and mask.is_segmentation):
        return place_mask(mask.stored(), mask.geometry, image.geometry, size)
    labels = mask.stored() if names is None else segmentation_labels(mask, names)
    if _is_absent(image.geometry) and labels.shape != size and mask.extent_offset is not None:
        return _at_offset(labels, mask.extent_offset, size)
    return place_mask(labels, mask.geometry, image.geometry, size, cropped=True)


def same_grid(first: Geometry, second: Geometry, size: Size) -> bool:
    """Tell whether two geometries put every pixel of a size at the same place.

    Args:
        first: One geometry.
        second: The other.
        size: (frames, height, width).
    """
    try:
        matrix, start = _index_transform(first, second)
    except _DifferentSpaces:
        return False
    corners = _corners(size)
    return bool(np.abs(corners @ matrix.T + start - corners).max() <= _SAME_PLACE)


def describe_geometry(geometry: Geometry) -> str:
    """Give origin, spacing and direction in readable form.

    Example:
        >>> describe_geometry(Geometry.calibrated((0.2, 0.1)))
        'origin (0, 0), spacing (0.1, 0.2), direction (1, 0; 0, 1)'
    """
    rank = len(geometry.spacing)
    rows = [geometry.direction[row * rank : (row + 1) * rank] for row in range(rank)]
    direction = "; ".join(", ".join(_short(value) for value in row) for row in rows)
    return (
        f"origin ({', '.join(map(_short, geometry.origin))}), "
        f"spacing ({', '.join(map(_short, geometry.spacing))}), direction ({direction})"
    )


class _DifferentSpaces(Exception):
    """A flat geometry, and one in space that does not lie in the plane of x and y."""


def _index_transform(
    source: Geometry, target: Geometry
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give matrix and offset that turn (x, y, z) indices of one grid into those of another.

    A flat geometry knows no z: the other is then taken at its own z.
    """
    if len(source.spacing) != len(target.spacing):
        flat, deep = sorted((source, target), key=lambda one: len(one.spacing))
        through = np.array(deep.direction).reshape(3, 3)[:, 2]
        if abs(through[2]) < 1 - 1e-3:
            raise _DifferentSpaces
        lifted = _lift(flat, deep.spacing[2], deep.origin[2], math.copysign(1.0, through[2]))
        source, target = (lifted, deep) if source is flat else (deep, lifted)
    from_matrix, from_start = _affine(source)
    to_matrix, to_start = _affine(target)
    inverse = np.linalg.inv(to_matrix)
    matrix: NDArray[np.float64] = inverse @ from_matrix
    start: NDArray[np.float64] = inverse @ (from_start - to_start)
    return matrix, start


def _lift(flat: Geometry, spacing: float, origin: float, sign: float) -> Geometry:
    a, b, c, d = flat.direction
    return Geometry(
        (*flat.spacing, spacing),
        (*flat.origin, origin),
        (a, b, 0.0, c, d, 0.0, 0.0, 0.0, sign),
        physical=flat.physical,
    )


def _affine(geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give matrix and offset that turn (x, y, z) indices into LPS positions."""
    rank = len(geometry.spacing)
    matrix, start = np.eye(3), np.zeros(3)
    direction = np.array(geometry.direction, float).reshape(rank, rank)
    matrix[:rank, :rank] = direction * np.array(geometry.spacing)
    start[:rank] = geometry.origin
    return matrix, start


def _nearest_slice(mask: Geometry, mask_size: Size, image: Geometry, frames: int) -> Geometry:
    """Give the geometry of that frame of a cine which lies nearest to a mask of one slice."""
    try:
        matrix, start = _index_transform(mask, image)
    except _DifferentSpaces:
        return image
    centre = (np.array(mask_size[::-1]) - 1) / 2
    place = float((matrix @ centre + start)[2])
    return image.slice(min(max(round(place), 0), frames - 1))


def _at_offset(mask: NDArray[Any], offset: Size, size: Size) -> NDArray[Any]:
    """Lay a part on an image without a place in space, at (x, y, z) pixels from its first one."""
    first = offset[::-1]
    ends = tuple(start + length for start, length in zip(first, mask.shape, strict=True))
    if min(first) < 0 or any(end > length for end, length in zip(ends, size, strict=True)):
        raise ImageError(
            f"the segmentation has {_times(mask.shape)} pixels from {_times(first)} on, its image "
            f"{_times(size)} (frames x height x width); draw it on this image"
        )
    result = np.zeros(size, mask.dtype)
    result[tuple(slice(start, end) for start, end in zip(first, ends, strict=True))] = mask
    return result


def _equal_size(mask: NDArray[Any], image_size: Size) -> NDArray[Any]:
    if mask.shape != image_size:
        raise ImageError(
            f"the mask has {_times(mask.shape)} pixels, its image {_times(image_size)} "
            "(frames x height x width); they must be equal"
        )
    return mask


def _is_covered(
    to_mask: tuple[NDArray[np.float64], NDArray[np.float64]],
    mask_size: Size,
    image_size: Size,
    *,
    cropped: bool,
) -> bool:
    """Tell whether the mask covers the image, or, when cropped, the image covers the mask."""
    matrix, start = to_mask
    inner, outer = image_size, mask_size
    # Half a pixel of the image, in voxels of the mask.
    tolerance = _HALF * np.abs(matrix).sum(axis=1)
    if cropped:
        matrix = np.linalg.inv(matrix)
        start = -matrix @ start
        inner, outer = mask_size, image_size
        tolerance = np.full(3, _HALF)
    corners = _edges(inner) @ matrix.T + start
    low = -_HALF - tolerance - _SAME_PLACE
    high = np.array(outer[::-1]) - _HALF + tolerance + _SAME_PLACE
    return bool(((corners >= low) & (corners <= high)).all())


def _reorder(
    mask: NDArray[Any], to_mask: tuple[NDArray[np.float64], NDArray[np.float64]], image_size: Size
) -> NDArray[Any] | None:
    """Turn and permute the axes of a mask, None where that alone does not give the image."""
    matrix, start = to_mask
    rounded = np.rint(matrix)
    if not (np.abs(rounded).sum(axis=0) == 1).all() or not (np.abs(rounded).sum(axis=1) == 1).all():
        return None
    order = np.abs(rounded).argmax(axis=0)  # axis of the mask for each axis of the image
    signs = rounded.sum(axis=0)
    # Array axes count from z: axis n of (x, y, z) is array axis 2 - n.
    turned = mask.transpose([2 - order[2 - axis] for axis in range(3)])
    turned = turned[tuple(slice(None, None, int(signs[2 - axis])) for axis in range(3))]
    if turned.shape != image_size:
        return None
    exact_start = np.zeros(3)
    lengths = np.array(mask.shape[::-1])
    for axis in range(3):
        if signs[axis] < 0:
            exact_start[order[axis]] = lengths[order[axis]] - 1
    corners = _corners(image_size)
    difference = corners @ (matrix - rounded).T + start - exact_start
    if np.abs(difference).max() > _HALF:
        return None
    return np.ascontiguousarray(turned)


def _resample(
    mask: NDArray[Any], to_mask: tuple[NDArray[np.float64], NDArray[np.float64]], image_size: Size
) -> NDArray[Any]:
    """Give each pixel of the image the class of the nearest voxel, background outside."""
    frames, height, width = image_size
    result = np.zeros(image_size, mask.dtype)
    columns = np.arange(width)[None, :]
    for frame, first in itertools.product(range(frames), range(0, height, _ROWS)):
        rows = np.arange(first, min(first + _ROWS, height))[:, None]
        index, inside = [], np.True_
        for (x, y, z), start, length in zip(*to_mask, mask.shape[::-1], strict=True):
            place = x * columns + y * rows + (z * frame + start)
            low, high = -_HALF - _SAME_PLACE, length - _HALF + _SAME_PLACE
            inside = inside & (place >= low) & (place <= high)
            index.append(np.clip(np.floor(place + _HALF), 0, length - 1).astype(np.int64))
        block = result[frame, first : first + _ROWS]
        block[inside] = mask[index[2], index[1], index[0]][inside]
    return result


def _corners(size: Size) -> NDArray[np.float64]:
    """Give the (x, y, z) indices of the pixels at the corners."""
    frames, height, width = size
    return np.array(
        list(itertools.product((0, width - 1), (0, height - 1), (0, frames - 1))), float
    )


def _edges(size: Size) -> NDArray[np.float64]:
    """Give the corners of the extent, half a pixel outside the outermost centres."""
    frames, height, width = size
    ranges = [(-_HALF, length - _HALF) for length in (width, height, frames)]
    return np.array(list(itertools.product(*ranges)), float)


def _is_absent(geometry: Geometry) -> bool:
    """Tell whether a geometry is that of a format without one, as of a picture."""
    return not geometry.physical and _is_unplaced(geometry)


def _is_unplaced(geometry: Geometry) -> bool:
    """Tell whether it has unit steps at the origin along LPS, or along RAS as in NIfTI."""
    rank = len(geometry.spacing)
    upright = np.eye(rank)
    turned = np.diag([-1.0, -1.0, 1.0][:rank])
    direction = np.array(geometry.direction).reshape(rank, rank)
    return (
        set(geometry.spacing) == {1.0}
        and not any(geometry.origin)
        and (np.array_equal(direction, upright) or np.array_equal(direction, turned))
    )


def _elsewhere(mask: Geometry, mask_size: Size, image: Geometry, image_size: Size) -> ImageError:
    return ImageError(
        "the mask lies elsewhere in space than its image; "
        f"mask: {_times(mask_size)} pixels, {describe_geometry(mask)}; "
        f"image: {_times(image_size)} pixels, {describe_geometry(image)}; "
        "draw the mask on this image, or export it with the geometry of the image"
    )


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def _short(value: float) -> str:
    return f"{value + 0.0:.6g}" if abs(value) > 1e-9 else "0"
