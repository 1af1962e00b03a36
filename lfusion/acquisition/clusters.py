"""Groups of similar images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfusion.acquisition.batch import Embeddings

_MAX_ROUNDS = 30


def k_means(embeddings: Embeddings, clusters: int, seed: int = 0) -> NDArray[np.intp]:
    """Assign each row to a cluster.

    Args:
        embeddings: [images, features], at least one row.
        clusters: how many at most; some may stay empty.
        seed: of the first centres.

    Returns:
        Number of the cluster [images].

    Source:
        D. Arthur and S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007,
        and S. Lloyd, Least squares quantization in PCM, 1982, doi:10.1109/TIT.1982.1056489.
    """
    centres = _spread_centres(embeddings, min(clusters, len(embeddings)), seed)
    assigned: NDArray[np.intp] = squared_distances(embeddings, centres).argmin(1)
    for _ in range(_MAX_ROUNDS):
        sizes = np.bincount(assigned, minlength=len(centres))
        sums = np.zeros_like(centres)
        np.add.at(sums, assigned, embeddings)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
        renewed = squared_distances(embeddings, centres).argmin(1)
        if (renewed == assigned).all():
            break
        assigned = renewed
    return assigned


def squared_distances(rows: Embeddings, others: Embeddings) -> NDArray[np.float64]:
    """Return squared Euclidean distances [rows, others]; never negative."""
    lengths = np.square(rows).sum(1)[:, None] + np.square(others).sum(1)
    distances: NDArray[np.float64] = np.maximum(lengths - 2 * (rows @ others.T), 0)
    return distances


def _spread_centres(embeddings: Embeddings, count: int, seed: int) -> NDArray[np.float64]:
    """Draw rows, each with a chance that grows with its distance from those before it."""
    generator = np.random.default_rng(seed)
    chosen = [int(generator.integers(len(embeddings)))]
    nearest = np.square(embeddings - embeddings[chosen[0]]).sum(1)
    while len(chosen) < count and nearest.sum() > 0:
        chosen.append(int(generator.choice(len(embeddings), p=nearest / nearest.sum())))
        nearest = np.minimum(nearest, np.square(embeddings - embeddings[chosen[-1]]).sum(1))
    centres: NDArray[np.float64] = embeddings[chosen].astype(np.float64)
    return centres
