"""Simulated ultrasound scans of the fetal head, with their truth.

Torch-free: numpy and scipy only, float64 until the last rounding to 8 bits.
"""

from __future__ import annotations

from lfusion.image.phantom.conditions import DETAILS, Condition, Detail
from lfusion.image.phantom.generate import Phantom, generate_phantom, plan, write_phantoms
from lfusion.image.phantom.scene import HeadEllipse

__all__ = [
    "DETAILS",
    "Condition",
    "Detail",
    "HeadEllipse",
    "Phantom",
    "generate_phantom",
    "plan",
    "write_phantoms",
]
