"""What if? Other segmentations that the logits of an image allow, and how probable they are.

A walk along a principal mode of the covariance between pixels needs the eigenvectors of an R×R
matrix, R the rank of the shared factor; nothing is N×N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lfusion.model.input import resample
from lfusion.uncertainty.conditioning import UNSAID
from lfusion.uncertainty.contrasts import ContrastDistribution


@dataclass(frozen=True, eq=False)
class Mode:
    """A direction in which all pixels move together.

    Attributes:
        deviation: of the logits, for one standard deviation; +1 grows the expected foreground.
        variance_share: part of the variance of all contrasts of the image, 0 to 1.
    """

    deviation: Float[Tensor, "classes height width"]
    variance_share: float


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """One step of a walk along a mode.

    Attributes:
        t: standard deviations from the mean.
        logits: there; their `argmax` is one coherent mask.
    """

    t: float
    logits: Float[Tensor, "classes height width"]

    @property
    def density_ratio(self) -> float:
        """Density of the logits here over that of the mean, exp(−t²/2)."""
        return math.exp(-(self.t**2) / 2)

    @property
    def tail_probability(self) -> float:
        """P(|s| ≥ |t|), s ~ N(0, 1): to be this far along the mode or farther, either way."""
        return math.erfc(abs(self.t) / math.sqrt(2))


def principal_modes(logits: ContrastDistribution) -> list[Mode]:
    """Return the principal components of the shared factor A, the largest first.

    With AᵀA = V diag(λ) Vᵀ (R×R), mode k is A v_k: its left singular vector times √λ_k. Modes
    without variance are left out, so a deterministic head has none.
    """
    factor = logits.factor.double()
    gram = torch.einsum("krhw,kshw->rs", factor, factor)
    variances, vectors = torch.linalg.eigh(gram)
    total = variances.sum() + logits.residual.double().square().sum()
    modes = []
    for variance, vector in zip(variances.flip(0), vectors.T.flip(0), strict=True):
        if variance <= len(gram) * torch.finfo(logits.factor.dtype).eps * variances[-1]:
            break
        deviation = logits.as_logits(torch.einsum("krhw,r->khw", factor, vector))
        sign = -1.0 if _background_growth(logits.logits.double(), deviation) > 0 else 1.0
        modes.append(Mode((sign * deviation).to(logits.mean), float(variance / total)))
    return modes


def walk(
    logits: ContrastDistribution, mode: Mode, steps: Sequence[float] = (-2.0, -1.0, 0.0, 1.0, 2.0)
) -> list[Counterfactual]:
    """Return the logits at t standard deviations along a mode, all else at its mean.

    Args:
        logits: of one image.
        mode: one of its `principal_modes`.
        steps: the values of t.
    """
    return [Counterfactual(t, logits.logits + t * mode.deviation) for t in steps]


def adopt(
    logits: Float[Tensor, "classes height width"],
    size: tuple[int, int],
    said: Int[Tensor, "rows columns"] | None = None,
) -> UInt8[Tensor, "rows columns"]:
    """Return the mask in native pixels that an annotator takes over.

    It is the most probable class of the logits shown: the mean of a conditioned distribution, a
    sample, or a step of a walk. Whatever was said by hand stands, even where the model's few
    modes could not follow it.

    Args:
        logits: on the feature grid.
        size: (rows, columns) of the image.
        said: class numbers in native pixels, `UNSAID` elsewhere.
    """
    mask = resample(logits[None], size)[0].argmax(0)
    if said is not None:
        mask = torch.where(said == UNSAID, mask, said)
    return mask.to(torch.uint8)


def _background_growth(logits: Tensor, deviation: Tensor) -> Tensor:
    """Return the derivative of the expected number of background pixels along a deviation."""
    probabilities = logits.softmax(0)
    relative = deviation[0] - (probabilities * deviation).sum(0)
    return (probabilities[0] * relative).sum()
