"""What else could this image be? Clicks that a mask follows, other masks, bands of uncertainty.

All of it starts from one forward pass, kept as `Possibilities`: a second click costs algebra only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from lfusion.errors import CounterfactualError
from lfusion.image import UltrasoundImage
from lfusion.model.input import resample
from lfusion.predictor import Predictor
from lfusion.types import FloatMap, LabelMap, Probabilities
from lfusion.uncertainty.conditioning import UNSAID, correct, on_grid
from lfusion.uncertainty.contrasts import ContrastDistribution
from lfusion.uncertainty.counterfactual import Mode, adopt, principal_modes, walk
from lfusion.uncertainty.smooth import with_smooth_error

BAND_QUANTILES = (0.75, 0.95)
"""Of the map within the boundary band: where "unsure" and "very unsure" begin in an image when
the calibration's `bands` do not say. Every image then has such pixels, also a clear one."""

LEAD, NOISE = 1.0, 0.5
"""Of `correct`, in logits: a hint rather than a command. Chosen on HC18 validation images, where it
is good for clicks amid an error as for clicks at the true edge."""

_BAND_SHARE = 0.02
"""Half width of the boundary band, as a share of the image's longer side."""


@dataclass(frozen=True, eq=False)
class Possibilities:
    """The logits of one image as Gaussians, on the feature grid.

    Attributes:
        head: what the stochastic head says: other segmentations of this image.
        learnt: the same with the widened posterior over the head's weights and a smooth error as
            what pixels share: what a correction teaches about the rest of the image.
        size: (rows, columns) of the image.
    """

    head: ContrastDistribution
    learnt: ContrastDistribution
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask in native pixels and the probabilities of the logits that it was taken from."""

    mask: LabelMap
    probabilities: Probabilities


@torch.inference_mode()
def possibilities(predictor: Predictor, image: UltrasoundImage) -> Possibilities:
    """Run the network once.

    Args:
        predictor: of the model to ask.
        image: to ask about.

    Raises:
        CounterfactualError: the model's posterior is not of the structure `full`.
    """
    seen = predictor.fields(image)
    covariance = predictor.checkpoint.posterior.covariance
    weights = ContrastDistribution.of_weights(seen.logits, seen.features, covariance)
    rows, columns = image.pixels.shape
    return Possibilities(
        head=ContrastDistribution.of(seen.logits),
        learnt=with_smooth_error(weights),
        size=(rows, columns),
    )


@torch.inference_mode()
def corrected(seen: Possibilities, said: Mapping[int, Sequence[tuple[int, int]]]) -> Segmentation:
    """Return the mask that follows from what an annotator said.

    What was said stands in the mask. The rest follows it, except from pixels outside the
    ultrasound sector, where the model has nothing to learn from.

    Args:
        seen: of the image.
        said: (row, column) by class number, native pixels; a later class wins over an earlier.

    Raises:
        ValueError: a class number that the model does not have.
        CounterfactualError: a pixel outside of the image.
    """
    classes = len(seen.learnt.mean) + 1
    native = torch.full(seen.size, UNSAID)
    for number, pixels in said.items():
        for row, column in pixels:
            if not (0 <= row < seen.size[0] and 0 <= column < seen.size[1]):
                raise CounterfactualError(
                    f"expected pixels of an image of {seen.size[0]} x {seen.size[1]} (rows x "
                    f"columns), got row {row}, column {column}"
                )
            native[row, column] = number
    mean = seen.learnt.mean
    cells = on_grid(native.to(mean.device), classes, (mean.shape[-2], mean.shape[-1]))
    inside = seen.learnt.residual.any(1).any(0)
    heard = torch.where(inside, cells, UNSAID)
    logits = correct(seen.learnt, heard, lead=LEAD, noise=NOISE).logits
    return _segmentation(logits, seen.size, native.to(mean.device))


@torch.inference_mode()
def modes(seen: Possibilities) -> list[Mode]:
    """Return the directions in which the head's logits vary most, the largest first."""
    return principal_modes(seen.head)


@torch.inference_mode()
def step_along(seen: Possibilities, mode: Mode, t: float) -> Segmentation:
    """Return the mask at t standard deviations along a mode, all else at its mean."""
    return _segmentation(walk(seen.head, mode, (t,))[0].logits, seen.size)


@torch.inference_mode()
def sample(seen: Possibilities, seed: int) -> Segmentation:
    """Return one coherent mask drawn from the head's distribution; a seed repeats it."""
    generator = torch.Generator(seen.head.mean.device).manual_seed(seed)
    return _segmentation(seen.head.sample(2, generator)[0], seen.size)


def bands(uncertainty: FloatMap, thresholds: Sequence[float]) -> LabelMap:
    """Return how many of the thresholds each pixel exceeds.

    Args:
        uncertainty: [height, width], nats.
        thresholds: ascending.

    Example:
        >>> bands(np.array([[0.1, 0.2, 0.3]], np.float32), (0.1, 0.25)).tolist()
        [[0, 1, 2]]
    """
    if list(thresholds) != sorted(thresholds):
        raise ValueError(f"expected ascending thresholds, got {list(thresholds)}")
    found: LabelMap = np.digitize(
        uncertainty, np.asarray(thresholds, np.float32), right=True
    ).astype(np.uint8)
    return found


def boundary_thresholds(
    uncertainty: FloatMap, mask: LabelMap, quantiles: Sequence[float] = BAND_QUANTILES
) -> tuple[float, ...]:
    """Return quantiles of an uncertainty map over the image's own boundary band.

    The band is what lies within 2 % of the longer side from a change of class; without any, the
    whole image. They rank places within an image and compare no images.

    Args:
        uncertainty: [height, width], nats.
        mask: of the prediction, same size.
        quantiles: ascending, 0 to 1.
    """
    near = _boundary_distance(mask) <= max(1.0, _BAND_SHARE * max(mask.shape))
    values = uncertainty[near] if near.any() else uncertainty
    return tuple(float(value) for value in np.quantile(values, quantiles))


def _boundary_distance(mask: LabelMap) -> NDArray[np.float64]:
    """Pixels to the next pixel with a neighbour of another class; inf without any."""
    edge = np.zeros(mask.shape, bool)
    rows, columns = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edge[1:] |= rows
    edge[:-1] |= rows
    edge[:, 1:] |= columns
    edge[:, :-1] |= columns
    if not edge.any():
        return np.full(mask.shape, math.inf)
    distance: NDArray[np.float64] = distance_transform_edt(~edge)
    return distance


def _segmentation(
    logits: Tensor, size: tuple[int, int], said: Tensor | None = None
) -> Segmentation:
    native = resample(logits[None], size)[0]
    mask = adopt(native, size, said)
    return Segmentation(mask.cpu().numpy(), native.softmax(0).cpu().numpy())
