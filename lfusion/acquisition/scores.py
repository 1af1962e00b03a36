"""All scores of an image by name, and which strategy ranks by which."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from lfusion.acquisition.aggregation import AGGREGATIONS, shape_misfit, soft_dice_loss
from lfusion.types import FloatMap, LabelMap, Probabilities

STRATEGIES: Mapping[str, str | None] = {
    "epistemic": "epistemic_per_sqrt_area",
    "aleatoric": "aleatoric_per_sqrt_area",
    "entropy": "total_per_sqrt_area",
    "random": None,
}
"""Strategy → the image score it ranks by; None draws from the id alone."""

INFORMATION_GAIN = "information_gain"
"""Image score: what a label would tell about the weights of the head, nats."""

PLANNED: Mapping[str, str | None] = {
    "epistemic_spread": "epistemic_per_sqrt_area",
    "information_gain": INFORMATION_GAIN,
    "egad": "total_per_sqrt_area",
    "coreset": None,
    "typiclust": None,
    "stratified_random": None,
}
"""Strategy that plans a batch → the image score that orders what no plan holds yet, None draws."""


def image_scores(
    maps: Mapping[str, FloatMap], probabilities: Probabilities, mask: LabelMap
) -> dict[str, float]:
    """Return all scores of one image, the larger the worse.

    Args:
        maps: term → map, nats.
        probabilities: of the same grid.
        mask: most probable class there.

    Returns:
        `TERM_AGGREGATION` for each map, `soft_dice_loss` and `shape_misfit`.
    """
    scores = {
        f"{term}_{name}": aggregate(values, mask)
        for term, values in maps.items()
        for name, aggregate in AGGREGATIONS.items()
    }
    scores["soft_dice_loss"] = soft_dice_loss(probabilities, mask)
    scores["shape_misfit"] = shape_misfit(probabilities)
    return scores


def random_score(image_id: str, seed: int = 0) -> float:
    """Return a number in [0, 1) that depends on the id and the seed alone."""
    digest = sha256(f"{seed}:{image_id}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56
