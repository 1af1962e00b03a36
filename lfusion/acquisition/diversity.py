"""Batches that cover the pool by what images look like; none of them needs a label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from lfusion.acquisition.batch import Embeddings, Pick, order_of_ids
from lfusion.acquisition.clusters import k_means, squared_distances
from lfusion.acquisition.scores import random_score

NEIGHBOURS = 20
"""Nearest images that the typicality of one is measured on."""

MAX_CLUSTERS = 500
STRATA = 10
_CHUNK = 512


def k_center_greedy(
    ids: Sequence[str],
    embeddings: Embeddings,
    count: int,
    known: Embeddings,
    weights: NDArray[np.float64] | None = None,
) -> list[Pick]:
    """Pick image after image, each the farthest from all that are labelled or picked.

    With weights it is the largest product of weight and distance: of two images that look alike
    the second has little left, however uncertain it is.

    Args:
        ids: of the candidates.
        embeddings: of the candidates, [candidates, features].
        count: picks at most.
        known: of the labelled images, [labelled, features]; without any, the first pick is the
            candidate nearest to the mean of all, or the heaviest one.
        weights: of the candidates, not negative; None for the distance alone.

    Returns:
        Picks with their distance to the nearest labelled or picked image (the first one without
        labels: to the mean), times their weight if there are any; ties by id.

    Source:
        O. Sener and S. Savarese, Active learning for convolutional neural networks: a core-set
        approach, ICLR 2018, arXiv 1708.00489, algorithm 1.
    """
    order = order_of_ids(ids)
    rows = embeddings[order]
    heavy = np.ones(len(rows))
    if weights is not None:
        heavy = np.maximum(weights[order], np.finfo(np.float64).tiny)
    nearest = np.full(len(rows), np.inf)
    for start in range(0, len(known), _CHUNK):
        nearest = np.minimum(nearest, cdist(rows, known[start : start + _CHUNK]).min(1))
    picks: list[Pick] = []
    while len(picks) < min(count, len(rows)):
        if picks or len(known):
            product = heavy * nearest
            place = int(product.argmax())
            value = product[place]
        elif weights is not None:
            place = int(heavy.argmax())
            value = heavy[place]
        else:
            central = cdist(rows, rows.mean(0, keepdims=True))[:, 0]
            place = int(central.argmin())
            value = central[place]
        picks.append(Pick(ids[order[place]], float(value)))
        nearest = np.minimum(nearest, cdist(rows, rows[place : place + 1])[:, 0])
        nearest[place] = -np.inf  # behind a duplicate of a picked image, whose distance is 0
    return picks


def uncertain_spread(
    ids: Sequence[str],
    embeddings: Embeddings,
    count: int,
    known: Embeddings,
    scores: NDArray[np.float64],
) -> list[Pick]:
    """Pick uncertain images far from all that are labelled or picked: √score times distance.

    Scores differ by much larger factors than distances; the root lets both count.

    Args:
        ids: of the candidates.
        embeddings: of the candidates, [candidates, features].
        count: picks at most.
        known: of the labelled images, [labelled, features].
        scores: of the candidates, not negative, the larger the less certain.

    Returns:
        Picks as `k_center_greedy` gives them with √score as weight.
    """
    return k_center_greedy(ids, embeddings, count, known, np.sqrt(scores))


def typiclust(
    ids: Sequence[str], embeddings: Embeddings, count: int, known: Embeddings, seed: int = 0
) -> list[Pick]:
    """Pick the most typical image of the cluster that has fewest labels, the largest first.

    Args:
        ids: of the candidates.
        embeddings: of the candidates, [candidates, features].
        count: picks at most.
        known: of the labelled images, [labelled, features].
        seed: of the clustering.

    Returns:
        Picks with their typicality, the inverse mean distance to their nearest neighbours in the
        cluster (0 for an image that is alone in its own); ties by id.

    Source:
        G. Hacohen, A. Dekel and D. Weinshall, Active learning on a budget: opposite strategies
        suit high and low budgets, ICML 2022, arXiv 2202.02794.
    """
    if not ids:
        return []
    order = order_of_ids(ids)
    rows = np.concatenate((embeddings[order], known))
    assigned = k_means(rows, min(len(known) + count, MAX_CLUSTERS), seed)
    clusters = np.bincount(assigned)
    labels = np.bincount(assigned[len(ids) :], minlength=len(clusters))
    waiting = {}
    for cluster in np.unique(assigned[: len(ids)]):
        members = np.flatnonzero(assigned == cluster)
        typical = _typicality(rows[members], int((members < len(ids)).sum()))
        falling = np.argsort(-typical, kind="stable")
        waiting[int(cluster)] = [(members[place], typical[place]) for place in falling][::-1]
    picks: list[Pick] = []
    while waiting and len(picks) < count:
        cluster = min(waiting, key=lambda c: (labels[c], -clusters[c], c))
        place, value = waiting[cluster].pop()
        picks.append(Pick(ids[order[place]], float(value)))
        labels[cluster] += 1
        if not waiting[cluster]:
            del waiting[cluster]
    return picks


def stratified(
    ids: Sequence[str], embeddings: Embeddings, count: int, known: Embeddings, seed: int = 0
) -> list[Pick]:
    """Draw at random, but from each kind of image in proportion to how frequent it is.

    Kinds are clusters of embeddings. The next image is drawn from the kind of which the smallest
    share is labelled or picked, the most frequent first.

    Args:
        ids: of the candidates.
        embeddings: of the candidates, [candidates, features].
        count: picks at most.
        known: of the labelled images, [labelled, features].
        seed: of the clustering and the draw.

    Returns:
        Picks with the share of all images that are of their kind, in [0, 1].
    """
    if not ids:
        return []
    order = order_of_ids(ids)
    assigned = k_means(np.concatenate((embeddings[order], known)), STRATA, seed)
    sizes = np.bincount(assigned)
    labels = np.bincount(assigned[len(ids) :], minlength=len(sizes))
    waiting: dict[int, list[str]] = {}
    for place, stratum in enumerate(assigned[: len(ids)]):
        waiting.setdefault(int(stratum), []).append(ids[order[place]])
    for drawn in waiting.values():
        drawn.sort(key=lambda image_id: random_score(image_id, seed))
    picks: list[Pick] = []
    while waiting and len(picks) < count:
        stratum = min(waiting, key=lambda s: (labels[s] / sizes[s], -sizes[s], s))
        picks.append(Pick(waiting[stratum].pop(), float(sizes[stratum] / len(assigned))))
        labels[stratum] += 1
        if not waiting[stratum]:
            del waiting[stratum]
    return picks


def _typicality(members: Embeddings, candidates: int) -> NDArray[np.float64]:
    """Return the typicality of the first rows of a cluster."""
    neighbours = min(NEIGHBOURS, len(members) - 1)
    if not neighbours:
        return np.zeros(candidates)
    found = []
    for start in range(0, candidates, _CHUNK):
        stop = min(start + _CHUNK, candidates)
        squared = squared_distances(members[start:stop], members)
        squared[np.arange(stop - start), np.arange(start, stop)] = np.inf  # not its own neighbour
        nearest = np.partition(squared, neighbours - 1, axis=1)[:, :neighbours]
        found.append(1 / (np.sqrt(nearest).mean(1) + 1e-5))
    return np.concatenate(found)
