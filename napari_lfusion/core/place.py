"""Whether two files lie in the same place, so that their pixels may be laid over each other."""

from __future__ import annotations

import numpy as np

from lfusion.image import Geometry

TOLERANCE = 1e-3
"""Of a pixel and of a unit vector: NIfTI rounds its affine to float32."""


def coincide(first: Geometry, second: Geometry) -> bool:
    """Whether two planes have the same pixels in space; a flat file and a volume of it do.

    Args:
        first: Of a file.
        second: Of another.

    Returns:
        Whether pixel size, position and direction agree, within a thousandth of a pixel.

    Example:
        >>> grid, flipped = Geometry.grid(), Geometry((1, 1), (0, 0), (-1, 0, 0, 1), False)
        >>> coincide(grid, grid), coincide(grid, flipped)
        (True, False)
    """
    axes = min(len(first.spacing), len(second.spacing))
    pixel = min(first.spacing[:2])
    return all(
        np.allclose(np.asarray(a), np.asarray(b), rtol=0, atol=TOLERANCE * scale)
        for a, b, scale in (
            (first.spacing[:2], second.spacing[:2], pixel),
            (first.origin[:axes], second.origin[:axes], pixel),
            (_directions(first, axes), _directions(second, axes), 1.0),
        )
    )


def _directions(geometry: Geometry, axes: int) -> list[float]:
    """The unit vectors of columns and rows, in as many dimensions."""
    size = len(geometry.spacing)
    matrix = np.asarray(geometry.direction, dtype=np.float64).reshape(size, size)
    vectors: list[float] = matrix[:axes, :2].ravel().tolist()
    return vectors
