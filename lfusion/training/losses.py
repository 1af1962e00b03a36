"""The two losses of a stochastic segmentation network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lfusion.model import LogitDistribution

NOT_ANNOTATED = -1.0
"""In a target, all over the image, the share of a class that nobody looked for there."""


def ssn_loss(
    distribution: LogitDistribution,
    target: Tensor,
    valid: Tensor,
    samples: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the Monte Carlo negative log-likelihood of whole masks, in nats per valid pixel.

    −log (1/M) Σ_m exp Σ_i Σ_c y_ic log softmax(η_i^(m))_c, averaged over the batch and divided
    by the number of valid pixels, which keeps it comparable between image sizes.

    Args:
        distribution: logits on the grid of `target`.
        target: y [batch, classes, height, width], shares that sum to one, or `NOT_ANNOTATED`.
        valid: [batch, 1, height, width], 1 where a pixel counts.
        samples: M, even.
        generator: source of the noise.

    Source:
        Monteiro et al., NeurIPS 2020, arXiv 2006.06015, eq. 7.
    """
    logits = distribution.sample(samples, generator).log_softmax(2)
    log_likelihood = (_merged(logits, target) * (target.clamp_min(0) * valid)).sum((2, 3, 4))
    per_image = math.log(samples) - torch.logsumexp(log_likelihood, 0)
    return (per_image / valid.sum((1, 2, 3)).clamp_min(1)).mean()


def _merged(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """Return ln p where the background takes in the classes that are `NOT_ANNOTATED`.

    What is drawn as background may be one of those: its likelihood is that of all of them.

    Args:
        log_probabilities: [sample, batch, classes, height, width].
        target: [batch, classes, height, width].
    """
    missing = target[:, :, :1, :1] < 0
    if not missing.any():
        return log_probabilities
    missing[:, 0] = True  # background is among what background may be
    possible = log_probabilities.masked_fill(~missing, -torch.inf)
    background = possible.logsumexp(2, keepdim=True)
    return torch.cat((background, log_probabilities[:, :, 1:]), 2)


def soft_cross_entropy(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return −Σ_c y_c ln p_c, averaged over pixels and images, in nats.

    Args:
        probabilities: p [batch, classes, height, width]; one of zero counts as the smallest float.
        target: y, same shape, shares that sum to one.
    """
    smallest = torch.finfo(probabilities.dtype).tiny
    return -(target * probabilities.clamp_min(smallest).log()).sum(1).mean()


def soft_dice_loss(probabilities: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return 1 − soft Dice, averaged over images and all foreground classes.

    Args:
        probabilities: [batch, classes, height, width].
        target: same shape, shares that sum to one; a class that is `NOT_ANNOTATED` costs nothing.
        valid: [batch, 1, height, width].
    """
    valid = valid * (target[:, 1:] >= 0)
    p, y = probabilities[:, 1:] * valid, target[:, 1:] * valid
    overlap = 2 * (p * y).sum((2, 3)) + 1
    return 1 - (overlap / ((p + y).sum((2, 3)) + 1)).mean()
