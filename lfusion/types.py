"""Array aliases with named axes; the torch-free vocabulary of all packages.

Under a type checker an alias is a plain NumPy array type; at run time it is a
jaxtyping annotation, so that the test suite checks shapes and dtypes.

Axes: `height` counts rows downwards, `width` columns to the right, `classes`
starts with the background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    GreyImage: TypeAlias = NDArray[np.float32]
    """[height, width], echo amplitude after log compression, in [0, 1]."""
    FloatMap: TypeAlias = NDArray[np.float32]
    """[height, width], one real number a pixel (nats for uncertainty maps)."""
    LabelMap: TypeAlias = NDArray[np.uint8]
    """[height, width], class number a pixel; 0 is background."""
    BoolMap: TypeAlias = NDArray[np.bool_]
    """[height, width]."""
    Probabilities: TypeAlias = NDArray[np.float32]
    """[classes, height, width], sums to one over classes."""
else:
    from jaxtyping import Bool, Float32, UInt8

    GreyImage = Float32[np.ndarray, "height width"]
    FloatMap = Float32[np.ndarray, "height width"]
    LabelMap = UInt8[np.ndarray, "height width"]
    BoolMap = Bool[np.ndarray, "height width"]
    Probabilities = Float32[np.ndarray, "classes height width"]

PixelSize: TypeAlias = tuple[float, float]
"""Size of a pixel in mm along (row, column), that is (vertical, horizontal)."""
