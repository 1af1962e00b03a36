"""What all planners of a batch share: picks, and an order of the input that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Embeddings: TypeAlias = NDArray[np.floating[Any]]
"""One row per image."""


@dataclass(frozen=True)
class Pick:
    """An image of a batch.

    Attributes:
        id: of the image.
        value: why it was picked, in the unit of its planner.
    """

    id: str
    value: float


def order_of_ids(ids: Sequence[str]) -> NDArray[np.intp]:
    """Return the places of the ids in rising order: ties are then broken by the first place."""
    return np.array(sorted(range(len(ids)), key=lambda place: ids[place]), dtype=np.intp)


def standardised(embeddings: Embeddings, *others: Embeddings) -> tuple[NDArray[np.float64], ...]:
    """Return embeddings whose features all have mean 0 and variance 1 over all rows together.

    Args:
        embeddings: [images, features].
        others: more rows of the same features; any may be empty.

    Returns:
        The same arrays; a feature that never changes is 0.
    """
    parts = (embeddings, *others)
    together = np.concatenate([part.astype(np.float64) for part in parts])
    if not len(together):
        return tuple(part.astype(np.float64) for part in parts)
    mean, deviation = together.mean(0), together.std(0)
    scale = np.where(deviation > 0, deviation, 1.0)
    return tuple((part - mean) / scale for part in parts)
