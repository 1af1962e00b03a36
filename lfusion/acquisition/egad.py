"""EGAD: uncertain images first, of those the ones least like what is labelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.acquisition.batch import Embeddings, Pick, order_of_ids

BINS = 20
SHARE = 3
"""One in so many candidates passes the first stage."""


def egad(
    ids: Sequence[str],
    entropy: NDArray[np.floating[Any]],
    embeddings: Embeddings,
    count: int,
    known: Embeddings,
) -> list[Pick]:
    """Pick among the third of highest entropy the images least redundant with the labelled ones.

    Implemented as the paper describes it, on embeddings; its released code differs (method.md §7).

    Args:
        ids: of the candidates.
        entropy: predictive entropy summed over the pixels of one grid, [candidates].
        embeddings: of the candidates, [candidates, features].
        count: picks at most; a third of the candidates is there to pick from.
        known: of the labelled images, [labelled, features].

    Returns:
        Picks with 2 − ½·cosine − ½·mutual information, both scaled to [0, 1] over the third;
        ties, and with them everything without labelled images, by entropy and then by id.

    Source:
        EGAD, arXiv 2601.17460.
    """
    order = order_of_ids(ids)
    stage = order[np.argsort(-entropy[order], kind="stable")][: math.ceil(len(ids) / SHARE)]
    values = 2 - 0.5 * _scaled(mean_cosine(embeddings[stage], known))
    values -= 0.5 * _scaled(mean_mutual_information(embeddings[stage], known))
    best = np.argsort(-values, kind="stable")[:count]
    return [Pick(ids[stage[place]], float(values[place])) for place in best]


def mean_cosine(embeddings: Embeddings, known: Embeddings) -> NDArray[np.float64]:
    """Return the mean cosine similarity of each row to all known ones; 0 without any.

    A row of zeros is similar to none.
    """
    if not len(known):
        return np.zeros(len(embeddings))
    directions, others = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        for rows in (embeddings.astype(np.float64), known.astype(np.float64))
    )
    similarity: NDArray[np.float64] = directions @ others.mean(0)
    return similarity


def mean_mutual_information(embeddings: Embeddings, known: Embeddings) -> NDArray[np.float64]:
    """Return the mean mutual information of each row with all known ones; 0 without any.

    That of two embeddings is read off the histogram of their pairs of features.

    Args:
        embeddings: [candidates, features].
        known: [labelled, features].

    Returns:
        nats, [candidates].
    """
    if not len(known):
        return np.zeros(len(embeddings))
    others = _binned(known)
    apart = np.arange(len(others))[:, None] * BINS * BINS
    found = np.empty(len(embeddings))
    for place, bins in enumerate(_binned(embeddings)):
        cells = (apart + bins * BINS + others).ravel()
        joint = np.bincount(cells, minlength=len(others) * BINS * BINS) / embeddings.shape[1]
        joint = joint.reshape(len(others), BINS, BINS)
        product = joint.sum(2, keepdims=True) * joint.sum(1, keepdims=True)
        filled = joint > 0
        terms = joint[filled] * np.log(joint[filled] / product[filled])
        found[place] = terms.sum() / len(others)
    return found


def _binned(rows: Embeddings) -> NDArray[np.intp]:
    """Return the bin of each feature, between the smallest and the largest one of its row."""
    low = rows.min(1, keepdims=True)
    span = rows.max(1, keepdims=True) - low
    shares = (rows - low) / np.where(span > 0, span, 1)
    bins: NDArray[np.intp] = np.minimum((shares * BINS).astype(np.intp), BINS - 1)
    return bins


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return min-max scaled values; 0 when all are the same."""
    if not len(values):
        return values
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)
