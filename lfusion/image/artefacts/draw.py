"""Drawing artefacts: which random numbers belong to which severity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from lfusion.image.artefacts.geometry import Artefact
from lfusion.image.artefacts.lesion import PastedLesion
from lfusion.image.artefacts.physics import Gain, Reverberation, Shadow, Speckle

SEVERITIES = (1, 2, 3, 4, 5)
"""From hardly seen to gross."""


def draw_artefact(kind: str, severity: int, rng: np.random.Generator) -> Artefact:
    """Draw the random numbers of an artefact.

    Args:
        kind: One of `ARTEFACTS`.
        severity: 1 to 5.
        rng: Source of all random numbers.

    Raises:
        ValueError: Another kind or severity.

    Example:
        >>> draw_artefact("shadow", 3, np.random.default_rng(0)).width
        0.24
    """
    if kind not in ARTEFACTS:
        raise ValueError(f"expected an artefact of {', '.join(ARTEFACTS)}; got {kind!r}")
    if severity not in SEVERITIES:
        raise ValueError(f"expected a severity from 1 to 5; got {severity}")
    return ARTEFACTS[kind](severity, rng)


def _shadow(severity: int, rng: np.random.Generator) -> Shadow:
    return Shadow(
        beam=float(rng.uniform(0.25, 0.75)),
        width=0.08 * severity,
        start=float(rng.uniform(0.0, 0.25)),
        loss=min(0.55 + 0.1 * severity, 0.97),
    )


def _gain(severity: int, rng: np.random.Generator) -> Gain:
    sign = 1.0 if rng.random() < 0.5 else -1.0
    return Gain(
        offset=sign * 0.07 * severity, slope=float(rng.choice((-1.0, 1.0))) * 0.05 * severity
    )


def _reverberation(severity: int, rng: np.random.Generator) -> Reverberation:
    return Reverberation(
        spacing=float(rng.uniform(0.08, 0.16)), strength=0.15 * severity, decay=0.85
    )


def _speckle(severity: int, rng: np.random.Generator) -> Speckle:
    return Speckle(
        grain=float(rng.uniform(0.004, 0.008)),
        strength=0.2 * severity,
        seed=int(rng.integers(2**31)),
    )


def _lesion(severity: int, rng: np.random.Generator) -> PastedLesion:
    return PastedLesion(
        row=float(rng.uniform(0.3, 0.7)),
        column=float(rng.uniform(0.3, 0.7)),
        radius=0.05 * severity,
        aspect=float(rng.uniform(1.0, 1.6)),
        angle_rad=float(rng.uniform(0.0, math.pi)),
        contrast=float(rng.uniform(0.25, 0.5)),
        roll=(float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8))),
    )


ARTEFACTS: Mapping[str, Callable[[int, np.random.Generator], Artefact]] = {
    "shadow": _shadow,
    "gain": _gain,
    "reverberation": _reverberation,
    "speckle": _speckle,
    "lesion": _lesion,
}
"""Kind → (severity, random numbers) → artefact."""
