"""Masks as polygons, the way MONAI Label's CVAT plugin reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from skimage import measure

from lfusion.types import LabelMap

_measure: Any = measure  # has no types
_TOLERANCE_PX = 0.3
"""How far a polygon may leave the outline of the mask; straight edges need no corners."""


def outlines(mask: LabelMap, labels: Mapping[str, int]) -> list[dict[str, Any]]:
    """The outlines of all structures in a mask.

    Args:
        mask: [height, width] class numbers.
        labels: Class number by name.

    Returns:
        What MONAI Label calls annotations: polygons of [x, y] by label, where pixel
        (row 0, column 0) reaches from 0 to 1, as CVAT draws it.

    Example:
        >>> square = np.pad(np.ones((2, 3), np.uint8), 4)
        >>> [found] = outlines(square, {"head": 1})[0]["annotation"]["elements"]
        >>> [outline] = found["contours"]
        >>> np.min(outline, 0).tolist(), np.max(outline, 0).tolist()
        ([4, 4], [7, 6])
    """
    elements = []
    for name, number in labels.items():
        # A frame of background closes the outline of what touches the border.
        found = _measure.find_contours(np.pad(mask == number, 1).astype(np.float32), 0.5)
        polygons = [_measure.approximate_polygon(line - 0.5, _TOLERANCE_PX) for line in found]
        contours = [np.floor(polygon[:, ::-1] + 0.5).astype(int).tolist() for polygon in polygons]
        if contours:
            elements.append({"label": name, "contours": contours})
    return [{"annotation": {"elements": elements}}] if elements else []
