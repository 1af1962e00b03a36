"""Pseudo-outliers: normal images made unusual on purpose, to calibrate and to test.

Each artefact is drawn once (`draw_artefact`: every random number is in its fields) and applied as
often as needed (`artefact(image)`); severity runs from 1 (hardly seen) to 5 (gross). No labels
of disease are involved: what changed is known because it was made here.
"""

from __future__ import annotations

from lfusion.image.artefacts.draw import ARTEFACTS, SEVERITIES, draw_artefact
from lfusion.image.artefacts.geometry import Artefact, Spoilt
from lfusion.image.artefacts.lesion import PastedLesion
from lfusion.image.artefacts.physics import Gain, Reverberation, Shadow, Speckle

__all__ = [
    "ARTEFACTS",
    "SEVERITIES",
    "Artefact",
    "Gain",
    "PastedLesion",
    "Reverberation",
    "Shadow",
    "Speckle",
    "Spoilt",
    "draw_artefact",
]
