"""What planning a batch needs of an image: how it looks, and what its label would tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lfusion.acquisition import INFORMATION_GAIN, information_gain, packed, unpacked
from lfusion.predictor.fields import Fields
from lfusion.uncertainty import LastLayerLaplace, expected_curvature, full_ggn
from lfusion.uncertainty.curvature import CURVATURE_SAMPLES
from lfusion.uncertainty.information import whitened_information

_SEED = 0
"""Of the logit samples: an image always tells the same."""


@dataclass(frozen=True, eq=False)
class ScoredImage:
    """What is stored of an image of the pool.

    Attributes:
        scores: those of `Prediction.scores` and `information_gain`, the larger the worse.
        embedding: how it looks to the frozen encoder or, without one, to the network, [features].
        information: A of its pixels between class contrasts, packed, [n(n + 1)/2].
    """

    scores: Mapping[str, float]
    embedding: NDArray[np.float32]
    information: NDArray[np.float32]


def described(
    scores: Mapping[str, float], seen: Fields, posterior: LastLayerLaplace
) -> ScoredImage:
    """Return an image as planning needs it.

    Args:
        scores: of the image.
        seen: its forward pass, on any device.
        posterior: of the checkpoint.
    """
    information = information_of(seen, posterior)
    gain = float(information_gain(unpacked(information)))
    return ScoredImage({**scores, INFORMATION_GAIN: gain}, embedding_of(seen), information)


def embedding_of(seen: Fields) -> NDArray[np.float32]:
    """Return the statistics of the frozen encoder.

    Without one, mean and standard deviation of φ over the sector; all of the image counts where
    the sector is empty.
    """
    if seen.appearance is not None:
        known: NDArray[np.float32] = seen.appearance.statistics.float().cpu().numpy()
        return known
    inside = seen.sector.flatten() > 0.5
    features = seen.features[0].flatten(1)
    cells = features[:, inside] if inside.any() else features
    pooled = torch.cat((cells.mean(1), cells.std(1, correction=0)))
    found: NDArray[np.float32] = pooled.float().cpu().numpy()
    return found


def information_of(seen: Fields, posterior: LastLayerLaplace) -> NDArray[np.float32]:
    """Return the information of an image as `acquisition.greedy_batch` takes it.

    The curvature is that which training adds up: averaged over logit samples, inside the sector.
    """
    noise = torch.Generator(seen.features.device).manual_seed(_SEED)
    logits = seen.logits.sample(CURVATURE_SAMPLES, noise)
    ggn = full_ggn(seen.features, expected_curvature(logits), seen.sector).cpu()
    return packed(whitened_information(ggn, posterior).numpy())
