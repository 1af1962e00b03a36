"""How much a label would tell the posterior of the head, and the batch that tells it most.

The information of an image is A_x = Fᵀ g_x F / κ: its curvature between class contrasts, in units
of the posterior F Fᵀ. Labels do not enter it, so an image that was labelled after the posterior
was fitted counts exactly, and so does one that is only planned.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.acquisition.batch import Pick, order_of_ids

_CHUNK = 1024
"""Images whose determinants are computed at a time; bounds the memory."""


def packed(information: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the upper triangle [n(n + 1)/2] of a symmetric matrix [n, n], row by row."""
    return information[np.triu_indices(len(information))].astype(np.float32)


def unpacked(triangles: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return symmetric matrices [..., n, n] of their upper triangles [..., n(n + 1)/2]."""
    size = (math.isqrt(8 * triangles.shape[-1] + 1) - 1) // 2
    rows, columns = np.triu_indices(size)
    matrices = np.empty((*triangles.shape[:-1], size, size))
    matrices[..., rows, columns] = triangles
    matrices[..., columns, rows] = triangles
    return matrices


def information_gain(information: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return ½ log det(I + A) in nats: what a label tells about the weights of the head.

    Args:
        information: A [..., n, n], symmetric, positive semi-definite.

    Source:
        D. J. C. MacKay, Information-based objective functions for active data selection, Neural
        Computation 4 (1992), doi:10.1162/neco.1992.4.4.590, of a Gaussian posterior.
    """
    identity = np.eye(information.shape[-1])
    gains = np.asarray(0.5 * np.linalg.slogdet(identity + information)[1])
    return gains


def greedy_batch(
    ids: Sequence[str],
    triangles: NDArray[np.floating[Any]],
    count: int,
    known: NDArray[np.floating[Any]] | None = None,
) -> list[Pick]:
    """Pick image after image, each by what it tells once those before it are labelled.

    What a picked image has told is not told again, as far as it has settled the weights: where
    one image settles little (all eigenvalues of A below 1), its near-duplicate tells almost as
    much. The gain of an image can only fall with each pick, so most need no second look.

    Args:
        ids: of the candidates.
        triangles: their information, packed, [candidates, n(n + 1)/2].
        count: picks at most.
        known: information, packed, summed over images that have a label the posterior has not
            seen, [n(n + 1)/2].

    Returns:
        Picks with their gain at that moment, in nats; ties by id.

    Source:
        M. Minoux, Accelerated greedy algorithms for maximizing submodular set functions, 1978,
        doi:10.1007/BFb0006528; log det(I + Σ A) is submodular. A. Kirsch et al., BatchBALD,
        NeurIPS 2019, arXiv 1906.08158, picks greedily by the same quantity.
    """
    if not ids:
        return []
    order = order_of_ids(ids)
    total = unpacked(np.zeros(triangles.shape[1]) if known is None else known)
    base = float(information_gain(total))
    waiting: list[tuple[float, int, int]] = []  # (−gain, place by id, picks when it was computed)
    for start in range(0, len(order), _CHUNK):
        chunk = unpacked(triangles[order[start : start + _CHUNK]])
        gains = information_gain(total + chunk) - base
        waiting += [(-float(gain), start + place, 0) for place, gain in enumerate(gains)]
    heapq.heapify(waiting)
    picks: list[Pick] = []
    while waiting and len(picks) < count:
        gain, place, seen = heapq.heappop(waiting)
        image = unpacked(triangles[order[place]])
        if seen < len(picks):
            renewed = base - float(information_gain(total + image))
            heapq.heappush(waiting, (renewed, place, len(picks)))
            continue
        picks.append(Pick(ids[order[place]], max(-gain, 0.0)))
        total += image
        base = float(information_gain(total))
    return picks
