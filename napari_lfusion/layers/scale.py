"""The fixed colour scales of the maps."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lfusion.types import FloatMap
from napari_lfusion.layers.roles import Role

_USUAL = 99.5
"""Percentile of a case's own epistemic map that ends its scale when nothing better is known."""
_SMALLEST = 1e-6
"""Nats; a scale must not be empty, not even for a map of zeros."""


class MapLimits(NamedTuple):
    """Ends of a colour scale, in nats.

    Attributes:
        lower: Always 0.
        upper: Where the colours end.
        source: Where `upper` comes from, for people.
    """

    lower: float
    upper: float
    source: str


def map_limits(
    role: Role, values: FloatMap, classes: int, epistemic_scale: float | None = None
) -> MapLimits:
    """The colour scale of a map.

    Aleatoric and total end at ln C, their largest possible value, so that colours mean the same
    on every image. The epistemic part of a trained model is a hundredth of that and would be
    invisible: it ends at the server's calibrated scale, else at the case's own percentile.

    Args:
        role: Which map.
        values: The map.
        classes: Number of classes with the background.
        epistemic_scale: `Capabilities.epistemic_scale`.

    Returns:
        The scale.

    Example:
        >>> map_limits(Role.TOTAL, np.zeros((2, 2), np.float32), classes=2).upper == math.log(2)
        True
    """
    if role is not Role.EPISTEMIC:
        return MapLimits(0.0, math.log(classes), f"ln {classes}")
    if epistemic_scale is not None:
        return MapLimits(0.0, max(epistemic_scale, _SMALLEST), "calibrated")
    usual = float(np.percentile(values, _USUAL))
    return MapLimits(0.0, max(usual, _SMALLEST), f"{_USUAL:g} % of this image")
