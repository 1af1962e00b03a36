"""One number an image, from its maps; the aggregation is part of the name.

The sum of any uncertainty over an image grows with the length of the boundary, so a plain mean
ranks big heads first; dividing by the root of the predicted area undoes that (method.md §7).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import sha256

import numpy as np

from lfusion.types import FloatMap, LabelMap

MIN_AREA_SHARE = 0.01
"""A predicted foreground below this share of the image counts as this much: smaller is no head,
and a vanishing area must not make its score infinite."""

STRATEGIES: Mapping[str, str | None] = {
    "epistemic": "epistemic_per_sqrt_area",
    "aleatoric": "aleatoric_per_sqrt_area",
    "entropy": "total_per_sqrt_area",
    "random": None,
}
"""Strategy → the image score it ranks by; None draws from the id alone."""


def mean_score(uncertainty: FloatMap) -> float:
    """Return the mean of a map over all pixels, nats per pixel."""
    return float(np.mean(uncertainty, dtype=np.float64))


def per_sqrt_area_score(uncertainty: FloatMap, mask: LabelMap) -> float:
    """Return Σ u / √(N · A) for a map u of N pixels and a foreground of A pixels.

    Scale-free: the same image at another resolution keeps its score.

    Args:
        uncertainty: nats.
        mask: predicted labels on the same grid.
    """
    share = max(float(np.count_nonzero(mask)) / mask.size, MIN_AREA_SHARE)
    return mean_score(uncertainty) / math.sqrt(share)


def image_scores(maps: Mapping[str, FloatMap], mask: LabelMap) -> dict[str, float]:
    """Return `TERM_mean` and `TERM_per_sqrt_area` for each map."""
    scores: dict[str, float] = {}
    for term, values in maps.items():
        scores[f"{term}_mean"] = mean_score(values)
        scores[f"{term}_per_sqrt_area"] = per_sqrt_area_score(values, mask)
    return scores


def random_score(image_id: str, seed: int = 0) -> float:
    """Return a number in [0, 1) that depends on the id and the seed alone."""
    digest = sha256(f"{seed}:{image_id}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56
