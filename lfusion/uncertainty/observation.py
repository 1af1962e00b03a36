"""What one batch of images tells about a linear head, summed in float64 and bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.errors import PosteriorError
from lfusion.uncertainty.ggn import CURVATURES
from lfusion.uncertainty.structure import Curvature, Structure

CHUNK = 1 << 14
"""Pixels that are summed at a time; bounds the memory whatever the size of the image."""


@dataclass(frozen=True, eq=False)
class Observation:
    """The input of a linear head for a batch of images.

    Attributes:
        features: φ.
        pixel_weight: how much each pixel counts, 0 leaves it out; all count 1 by default.
        logits: samples of a stochastic head, over which the curvature is averaged; by default
            the logits are those of the linear head.
    """

    features: Float[Tensor, "batch dim height width"]
    pixel_weight: Float[Tensor, "batch 1 height width"] | None = None
    logits: Float[Tensor, "sample batch classes height width"] | None = None


def observe(
    observation: Observation | Tensor,
    weight: Float[Tensor, "classes dim"],
    structure: Structure,
    *,
    pixels: int | None = None,
    seed: int = 0,
) -> Curvature:
    """Return the curvature of a batch of images, on the device of `weight`.

    With `pixels`, that many are drawn from each image, uniformly and without replacement among
    those of positive weight, and count for all of them: the sums are then unbiased (that of
    `KRON` in each of its factors). Image b of the batch is drawn with `seed + b` and nothing
    else, so that the same image and seed always give the same contribution.

    Args:
        observation: the images, or their plain features φ [batch, D, height, width].
        weight: MAP weights [C, D + 1], the bias last, float64.
        structure: of the result.
        pixels: most pixels of an image to use; all by default.
        seed: of the first image's draw.

    Raises:
        PosteriorError: features that do not fit the head or are not finite, or no images.
    """
    if isinstance(observation, Tensor):
        observation = Observation(observation)
    _check(observation, weight)
    if pixels is not None and pixels < 1:
        raise ValueError(f"expected at least 1 pixel of each image, got {pixels}")
    total: Curvature | None = None
    for image in range(len(observation.features)):
        for rows in _rows(observation, image, weight, pixels, seed + image):
            part = CURVATURES[structure].of_pixels(*rows).to(weight)
            total = part if total is None else total + part
    assert total is not None
    return total


def _check(observation: Observation, weight: Tensor) -> None:
    features, logits = observation.features, observation.logits
    if not len(features):
        raise PosteriorError("expected at least one image, got a batch of none")
    if features.shape[1] != weight.shape[1] - 1:
        raise PosteriorError(
            f"expected features of {weight.shape[1] - 1} channels for this head, "
            f"got {features.shape[1]}"
        )
    if logits is not None and logits.shape[2] != len(weight):
        raise PosteriorError(
            f"expected sampled logits of {len(weight)} classes, got {logits.shape[2]}"
        )
    for name in ("features", "pixel_weight", "logits"):
        values = getattr(observation, name)
        if values is not None and not torch.isfinite(values).all():
            raise PosteriorError(f"the {name} of an observation are not finite")


def _rows(
    observation: Observation, image: int, weight: Tensor, pixels: int | None, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield φ̃ [n, d], probabilities [M, n, C] and weights [n] of one image in chunks, float64."""
    features = observation.features[image].flatten(1).T
    device = features.device
    if observation.pixel_weight is None:
        counts = features.new_ones(len(features))
    else:
        counts = observation.pixel_weight[image].flatten().to(device)
    chosen = counts.nonzero().flatten()
    scale = 1.0
    if pixels is not None and pixels < len(chosen):
        scale = len(chosen) / pixels
        # drawn on the CPU, so that every device sees the same pixels
        order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))
        chosen = chosen[order[:pixels].to(device)]
    head = weight.to(device)
    for part in torch.split(chosen, CHUNK):
        phi = features[part].double()
        phi = torch.cat((phi, phi.new_ones(len(phi), 1)), 1)
        if observation.logits is None:
            logits = (phi @ head.T)[None]
        else:
            logits = observation.logits[:, image].flatten(2)[..., part].mT.double().to(device)
        yield phi, logits.softmax(-1), counts[part].double() * scale
