"""Augmentation of ultrasound: how a probe, a preset and a patient vary.

Random parameters are drawn apart from their application, so that an augmentation can be
repeated and tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lfusion.training.data import Sample, with_background
from lfusion.training.losses import NOT_ANNOTATED


@dataclass(frozen=True)
class Augmentation:
    """One draw.

    Attributes:
        flip: mirrored left to right.
        angle: rotation, radians.
        scale: (vertical, horizontal) magnification.
        shift: (up, left) displacement of the content as a share of half the side.
        gamma: exponent of the grey values.
        gain: factor of the grey values at the top and at the bottom (time-gain compensation).
        blur: σ of a Gaussian blur, px; 0 for none.
        speckle: standard deviation of the multiplicative noise.
        shadow: (position, width, depth of darkening) of an acoustic shadow, or None.
        seed: of the noise.
    """

    flip: bool
    angle: float
    scale: tuple[float, float]
    shift: tuple[float, float]
    gamma: float
    gain: tuple[float, float]
    blur: float
    speckle: float
    shadow: tuple[float, float, float] | None
    seed: int


def draw_augmentation(generator: torch.Generator) -> Augmentation:
    """Draw the parameters of one augmentation."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    zoom, stretch = math.exp(uniform(-0.3, 0.3)), math.exp(uniform(-0.08, 0.08))
    return Augmentation(
        flip=uniform(0, 1) < 0.5,
        angle=math.radians(uniform(-35, 35)),
        scale=(zoom * stretch, zoom / stretch),
        shift=(uniform(-0.12, 0.12), uniform(-0.12, 0.12)),
        gamma=math.exp(uniform(-0.5, 0.5)),
        gain=(uniform(0.6, 1.3), uniform(0.6, 1.3)),
        blur=uniform(0.3, 1.2) if uniform(0, 1) < 0.2 else 0.0,
        speckle=uniform(0, 0.2),
        shadow=(uniform(0.1, 0.9), uniform(0.04, 0.15), uniform(0.4, 0.95))
        if uniform(0, 1) < 0.25
        else None,
        seed=int(torch.randint(2**31, (), generator=generator)),
    )


def apply_augmentation(
    sample: Sample, augmentation: Augmentation, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Apply one draw and place the sample in the middle of a canvas.

    Args:
        sample: on the working grid.
        augmentation: the draw.
        size: (height, width) of the canvas, px.

    Returns:
        image [1, h, w], sector [1, h, w], target [C, h, w] with the background first and
        `NOT_ANNOTATED` for classes that nobody looked for, and
        valid [1, h, w], what a pixel counts: 0 where the canvas does not show the sample, else 1
        or the sample's weight.
    """
    weight = torch.ones_like(sample.image) if sample.weight is None else sample.weight
    shown = torch.ones_like(sample.image)
    planes = torch.cat((sample.image, sample.sector, shown, weight, sample.target))
    warped = functional.grid_sample(
        planes[None],
        _sampling_grid(augmentation, (planes.shape[-2], planes.shape[-1]), size),
        align_corners=False,
    )[0]
    sector, valid = (warped[1:2] > 0.5).float(), (warped[2:3] > 0.5).float()
    appearance = change_appearance(warped[:1], augmentation)
    counted = valid if sample.weight is None else valid * warped[3:4]
    target = with_background(warped[4:])
    target[list(sample.not_annotated)] = NOT_ANNOTATED
    return appearance * valid, sector, target, counted


def canvas_of(samples: Sequence[Sample]) -> tuple[int, int]:
    """Return the (height, width) that holds each of the samples."""
    return max(s.image.shape[-2] for s in samples), max(s.image.shape[-1] for s in samples)


def augmented_batch(samples: Sequence[Sample], chance: torch.Generator) -> tuple[Tensor, ...]:
    """Draw and apply one augmentation for each sample, on a canvas that holds the largest.

    Returns:
        What `apply_augmentation` returns, stacked.
    """
    canvas = canvas_of(samples)
    views = [apply_augmentation(s, draw_augmentation(chance), canvas) for s in samples]
    return tuple(torch.stack(parts) for parts in zip(*views, strict=True))


def _sampling_grid(a: Augmentation, source: tuple[int, int], canvas: tuple[int, int]) -> Tensor:
    """Where each canvas pixel looks in the source, in the normalised units of grid_sample."""
    cos, sin = math.cos(a.angle), math.sin(a.angle)
    (sy, sx), (ty, tx) = a.scale, a.shift
    mirror = -1.0 if a.flip else 1.0
    # canvas offset from the centre, in px -> source offset from the centre, in px
    matrix = torch.tensor([[mirror * cos / sx, mirror * sin / sx], [-sin / sy, cos / sy]])
    half_canvas = torch.tensor([canvas[1] / 2, canvas[0] / 2])
    half_source = torch.tensor([source[1] / 2, source[0] / 2])
    theta = torch.cat((matrix * half_canvas / half_source[:, None], torch.tensor([[tx], [ty]])), 1)
    return functional.affine_grid(theta[None], [1, 1, *canvas], align_corners=False)


def change_appearance(image: Tensor, a: Augmentation) -> Tensor:
    """Apply gamma, gain, blur, speckle and shadow to [1, h, w] in [0, 1]."""
    _, height, width = image.shape
    depth = torch.linspace(0, 1, height)[:, None]
    out = image.clamp_min(0) ** a.gamma * (a.gain[0] + (a.gain[1] - a.gain[0]) * depth)
    if a.shadow is not None:
        position, spread, darkening = a.shadow
        across = torch.linspace(0, 1, width)[None]
        out = out * (1 - darkening * torch.exp(-0.5 * ((across - position) / spread) ** 2) * depth)
    if a.blur:
        out = _blur(out, a.blur)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(a.seed))
    return (out * (1 + a.speckle * _blur(noise, 0.7) * 2)).clamp(0, 1)


def _blur(image: Tensor, sigma: float) -> Tensor:
    offsets = torch.arange(-3, 4, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(image[None], (3, 3, 3, 3), mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, -1, 1))
    return functional.conv2d(rows, kernel.view(1, 1, 1, -1))[0]
