"""B-mode physics: from tissue on the beam grid to an 8-bit sector image.

The echo is simulated as a complex baseband signal. Diffuse tissue is a white circular
Gaussian process scaled by its reflectivity, so that its envelope is Rayleigh distributed
(fully developed speckle); interfaces add a coherent part. Both pass the same separable
point-spread function: a pulse along the beam and a Gaussian beam across it whose width
grows away from the focus.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates
from scipy.signal import lfilter

from lfusion.image.phantom.scene import HEIGHT_PX, WIDTH_PX, Probe, Scene
from lfusion.image.phantom.tissue import BeamGrid, Map, Tissue
from lfusion.types import BoolMap

Echo = NDArray[np.complex128]
SAMPLES, BEAMS = 640, 256
_SIDE_LOBES = 0.10
_RING_MM, _RING_DB = 1.2, -13.0
_SPEED_MM_PER_US = 1.54


def beam_grid(scene: Scene) -> BeamGrid:
    """Place the beams of the probe: equal angles, equal steps in depth from the face.

    Args:
        scene: Its probe and pixel size are used.

    Returns:
        Positions and directions, [SAMPLES, BEAMS].
    """
    probe = scene.probe
    angle = np.linspace(-probe.half_angle_rad, probe.half_angle_rad, BEAMS)
    depth = np.linspace(probe.start_mm, probe.depth_mm, SAMPLES)
    radius = probe.radius_mm + depth[:, None]
    dx, dy = np.sin(angle), np.cos(angle)
    return BeamGrid(probe.apex_x_mm + radius * dx, probe.apex_y_mm + radius * dy, depth, dx, dy)


def complex_noise(shape: tuple[int, int], rng: np.random.Generator) -> Echo:
    """White circular complex Gaussian process of unit power."""
    pair = rng.standard_normal((2, *shape))
    return np.asarray((pair[0] + 1j * pair[1]) * math.sqrt(0.5))


def point_spread(echo: Echo, axial_samples: float, lateral_beams: NDArray[np.float64]) -> Echo:
    """Blur with the pulse along the beam and the beam profile across it.

    Args:
        echo: [samples, beams] reflectors.
        axial_samples: Standard deviation of the pulse envelope.
        lateral_beams: [samples] standard deviation of the beam at each depth.

    Returns:
        [samples, beams]; the kernel sums to one, so a long interface keeps its amplitude.
    """
    along = gaussian_filter1d(echo.real, axial_samples, axis=0, mode="constant") + (
        1j * gaussian_filter1d(echo.imag, axial_samples, axis=0, mode="constant")
    )
    beams = echo.shape[1]
    size = fft.next_fast_len(beams + 32)
    frequency = 2.0 * math.pi * fft.fftfreq(size)
    exponent = -0.5 * (frequency[None, :] * lateral_beams[:, None]) ** 2
    response = (1.0 - _SIDE_LOBES) * np.exp(exponent) + _SIDE_LOBES * np.exp(16.0 * exponent)
    spectrum = fft.fft(along, size, axis=1, workers=1)
    return np.asarray(fft.ifft(spectrum * response, axis=1, workers=1)[:, :beams])


def beam_width_beams(probe: Probe, depth_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of the two-way beam at each depth, in beam spacings.

    A Gaussian beam: waist = wavelength x f-number at the focus, hyperbolic away from it.
    """
    wavelength = _SPEED_MM_PER_US / probe.frequency_mhz
    waist = 0.6 * wavelength * probe.f_number
    sigma = waist * np.sqrt(1.0 + ((depth_mm - probe.focus_mm) / probe.focal_zone_mm) ** 2)
    spacing = (probe.radius_mm + depth_mm) * 2.0 * probe.half_angle_rad / (BEAMS - 1)
    return np.asarray(sigma / spacing)


def transmission_db(tissue: Tissue, grid: BeamGrid, width: NDArray[np.float64]) -> Map:
    """Accumulated two-way loss along each beam; the aperture softens the sides of shadows."""
    step = grid.depth_mm[1] - grid.depth_mm[0]
    loss = np.cumsum(tissue.loss_db_per_mm, axis=0) * step
    return np.asarray(
        gaussian_filter1d(loss, float(2.0 * np.median(width)), axis=1, mode="nearest")
    )


def receive(tissue: Tissue, scene: Scene, grid: BeamGrid, rng: np.random.Generator) -> Map:
    """Envelope of the received echo after time-gain compensation.

    Args:
        tissue: Acoustic maps.
        scene: Its probe is used.
        grid: The beam grid.
        rng: Source of scatterers, roughness and electronic noise.

    Returns:
        [samples, beams] amplitude; 1 saturates the display.
    """
    probe = scene.probe
    step = float(grid.depth_mm[1] - grid.depth_mm[0])
    shape = (grid.depth_mm.size, grid.direction_x.size)
    pulse = 0.8 * _SPEED_MM_PER_US / probe.frequency_mhz / step + 0.5
    width = beam_width_beams(probe, grid.depth_mm)
    power = 10.0 ** (tissue.backscatter_db / 10.0) + _haze(tissue.specular**2, probe, step)
    # A kernel that sums to one lowers white noise by its energy; undo it for the diffuse part.
    energy = np.sqrt(4.0 * math.pi * pulse * width)[:, None]
    rough = complex_noise(shape, rng)
    rough = gaussian_filter(rough.real, (1.0, 3.0)) + 1j * gaussian_filter(rough.imag, (1.0, 3.0))
    interface = tissue.specular * (0.8 + 2.2 * rough)
    loss = transmission_db(tissue, grid, width) + _contact_db(probe, shape[1])[None, :]
    passed = 10.0 ** (-loss / 20.0)
    floor = 10.0 ** (probe.noise_db / 20.0)
    envelope = np.zeros(shape)
    for _ in range(probe.looks):  # spatial compounding: looks with scatterer noise of their own
        echo = complex_noise(shape, rng) * np.sqrt(power) * energy + interface
        thermal = gaussian_filter1d(rng.standard_normal((2, *shape)), 1.0, axis=1) * floor
        received = point_spread(echo, pulse, width) * passed + thermal[0] + 1j * thermal[1]
        envelope += np.abs(received) / probe.looks
    return envelope * 10.0 ** (_compensation_db(probe, grid.depth_mm)[:, None] / 20.0)


def _haze(power: Map, probe: Probe, step_mm: float) -> Map:
    """Reverberation in bone and layers: each strong echo is followed by a decaying haze.

    A short ring-down thickens the echo; a long one veils the hemisphere next to the probe.
    """
    haze = np.zeros_like(power)
    for length_mm, level_db in (
        (_RING_MM, _RING_DB),
        (probe.reverberation_mm, probe.reverberation_db),
    ):
        gain = 10.0 ** (level_db / 10.0) * step_mm / length_mm
        haze += lfilter([gain], [1.0, -math.exp(-step_mm / length_mm)], power, axis=0)
    return haze


def _contact_db(probe: Probe, beams: int) -> NDArray[np.float64]:
    if not probe.contact_loss_db:
        return np.zeros(beams)
    knots = np.linspace(0.0, 1.0, len(probe.contact_loss_db))
    return np.asarray(np.interp(np.linspace(0.0, 1.0, beams), knots, probe.contact_loss_db))


def _compensation_db(probe: Probe, depth_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Time-gain compensation for average tissue, with the operator's eight sliders a bit off."""
    sliders = np.linspace(0.0, probe.depth_mm, len(probe.tgc_error_db))
    slope = 0.1 * probe.tgc_db_per_cm_mhz * probe.frequency_mhz
    error = np.interp(depth_mm, sliders, probe.tgc_error_db)
    return np.asarray(slope * (depth_mm - probe.start_mm) + error + probe.gain_db)


def display(envelope: Map, scene: Scene) -> tuple[NDArray[np.uint8], BoolMap]:
    """Log compression and scan conversion.

    Args:
        envelope: [samples, beams] amplitude, 1 saturates.
        scene: Its probe and pixel size are used.

    Returns:
        8-bit image [HEIGHT_PX, WIDTH_PX], black outside the fan; and the fan.
    """
    probe, mm = scene.probe, scene.pixel_size_mm
    level = 20.0 * np.log10(envelope + 1e-12)
    grey = np.clip(1.0 + level / probe.dynamic_range_db, 0.0, 1.0) ** probe.grey_gamma
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX].astype(np.float64)
    dx, dy = x * mm - probe.apex_x_mm, y * mm - probe.apex_y_mm
    span = probe.depth_mm - probe.start_mm
    row = (np.hypot(dx, dy) - probe.radius_mm - probe.start_mm) / span * (SAMPLES - 1)
    angle = np.arctan2(dx, dy)
    column = (angle / probe.half_angle_rad + 1.0) / 2.0 * (BEAMS - 1)
    fan = (row >= 0) & (row <= SAMPLES - 1) & (column >= 0) & (column <= BEAMS - 1)
    shown = map_coordinates(grey, [row, column], order=1, mode="constant")
    shown = gaussian_filter(shown, probe.smoothing_px)
    image = np.where(fan, np.rint(255.0 * shown), 0.0).astype(np.uint8)
    return image, fan
