"""Fetal biometry from segmentations: pure geometry, no torch."""

from __future__ import annotations

from lfusion.biometry.angle import AngleOfProgression, measure_angle
from lfusion.biometry.ellipse import Ellipse, ellipse_circumference, fit_ellipse
from lfusion.biometry.head import HeadBiometry, measure_head

__all__ = [
    "AngleOfProgression",
    "Ellipse",
    "HeadBiometry",
    "ellipse_circumference",
    "fit_ellipse",
    "measure_angle",
    "measure_head",
]
