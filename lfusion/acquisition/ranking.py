"""Scores of many images → the order in which to label them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lfusion.errors import NonFiniteError


@dataclass(frozen=True)
class RankedImage:
    """An image in its place; rank 1 is labelled first."""

    id: str
    score: float
    rank: int


def rank(scores: Mapping[str, float]) -> list[RankedImage]:
    """Order images by falling score, ties by id, so that two runs agree.

    Args:
        scores: image id → score.

    Raises:
        NonFiniteError: a score is NaN or infinite; the message names the image.

    Example:
        >>> [image.id for image in rank({"b": 1.0, "a": 1.0, "c": 2.0})]
        ['c', 'a', 'b']
    """
    for image_id, score in scores.items():
        if not math.isfinite(score):
            raise NonFiniteError(f"{image_id}: expected a finite score to rank by, got {score}")
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [RankedImage(i, s, n) for n, (i, s) in enumerate(ordered, start=1)]
