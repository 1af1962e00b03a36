"""Fetal biometry from segmentations: pure geometry, no torch."""

from __future__ import annotations

from lfusion.biometry.ellipse import Ellipse, ellipse_circumference, fit_ellipse
from lfusion.biometry.head import HeadBiometry, measure_head

__all__ = [
    "Ellipse",
    "HeadBiometry",
    "ellipse_circumference",
    "fit_ellipse",
    "measure_head",
]
