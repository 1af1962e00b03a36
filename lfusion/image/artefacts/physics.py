"""Artefacts of the beam and of the machine: shadow, gain, reverberation, speckle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lfusion.image.artefacts.geometry import Artefact, beam_coordinates
from lfusion.types import BoolMap, GreyImage


@dataclass(frozen=True)
class Shadow(Artefact):
    """Beams lost behind bone or bad contact.

    Attributes:
        beam: Middle of the shadow across the fan, 0 to 1.
        width: Of the fan, 0 to 1.
        start: Depth at which it begins, 0 to 1.
        loss: Share of the grey value that is lost, 0 to 1.
    """

    beam: float
    width: float
    start: float
    loss: float

    def change(self, pixels: GreyImage, sector: BoolMap) -> tuple[GreyImage, BoolMap]:
        """Darken the beams behind `start`, with soft edges."""
        beam, depth = beam_coordinates(sector)
        across = np.clip((self.width / 2 - np.abs(beam - self.beam)) / 0.02 + 0.5, 0.0, 1.0)
        along = np.clip((depth - self.start) / 0.04 + 0.5, 0.0, 1.0)
        strength = across * along
        return (pixels * (1.0 - self.loss * strength)).astype(np.float32), strength > 0.5


@dataclass(frozen=True)
class Gain(Artefact):
    """A wrong overall gain and a wrong depth compensation; clipped as the machine clips.

    Attributes:
        offset: Added to the log-compressed grey value, −1 to 1.
        slope: Further offset from the probe's face to the deepest echo, −1 to 1.
    """

    offset: float
    slope: float

    def change(self, pixels: GreyImage, sector: BoolMap) -> tuple[GreyImage, BoolMap]:
        """Shift the grey values; black stays black where nothing came back."""
        depth = beam_coordinates(sector)[1]
        shift = self.offset + self.slope * (depth - 0.5)
        shifted = pixels + shift * np.minimum(pixels / 0.05, 1.0)
        return np.clip(shifted, 0.0, 1.0).astype(np.float32), sector


@dataclass(frozen=True)
class Reverberation(Artefact):
    """The near field echoed again and again at multiples of a depth.

    Attributes:
        spacing: Depth between the echoes, as a share of the image height.
        strength: Of the first echo, 0 to 1; each next one is `decay` times as strong.
        decay: 0 to 1.
    """

    spacing: float
    strength: float
    decay: float

    def change(self, pixels: GreyImage, sector: BoolMap) -> tuple[GreyImage, BoolMap]:
        """Add shifted, smeared copies of the shallow part."""
        height = len(pixels)
        step = max(round(self.spacing * height), 1)
        top = int(np.flatnonzero(sector.any(1))[0])
        echo = np.zeros_like(pixels)
        echo[top : top + step] = pixels[top : top + step]
        echo = ndimage.gaussian_filter(echo, (0.004 * height, 0.012 * height))
        peak = float(echo.max()) or 1.0
        out, added, strength = pixels.copy(), np.zeros_like(pixels), self.strength
        for shift in range(step, height - top, step):
            added[shift:] += strength / peak * echo[: height - shift]
            strength *= self.decay
        out = 1.0 - (1.0 - out) * (1.0 - np.clip(added, 0.0, 1.0))
        return out.astype(np.float32), added > 0.05


@dataclass(frozen=True)
class Speckle(Artefact):
    """Multiplicative noise with grains, as of another probe or a low frame average.

    Attributes:
        grain: Size of a speckle as a share of the image height.
        strength: Standard deviation of the factor's logarithm.
        seed: Of the noise field.
    """

    grain: float
    strength: float
    seed: int

    def change(self, pixels: GreyImage, sector: BoolMap) -> tuple[GreyImage, BoolMap]:
        """Multiply by log-normal noise, wider across the beam than along it."""
        rng = np.random.default_rng(self.seed)
        size = self.grain * len(pixels)
        noise = ndimage.gaussian_filter(
            rng.standard_normal(pixels.shape, np.float32), (0.6 * size, size)
        )
        factor = np.exp(self.strength * noise / max(float(noise.std()), 1e-12))
        return np.clip(pixels * factor, 0.0, 1.0).astype(np.float32), sector
