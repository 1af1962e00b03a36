"""The ways to choose what to label next that a simulation compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lfusion.acquisition import (
    Pick,
    egad,
    greedy_batch,
    k_center_greedy,
    random_score,
    stratified,
    typiclust,
    uncertain_spread,
)
from lfusion.acquisition.clusters import k_means
from lfusion.simulation.candidates import Candidates

_LEAST_FITTED = 8
"""Images below which no dependence on the size is fitted."""

Strategy = Callable[[Candidates, int], list[str]]
"""(candidates, number to choose) → ids."""


def _top(ids: list[str], scores: NDArray[np.float64], count: int) -> list[str]:
    """Return the ids of the highest scores, ties by id."""
    order = sorted(range(len(ids)), key=lambda place: (-scores[place], ids[place]))
    return [ids[place] for place in order[:count]]


def _random(candidates: Candidates, count: int) -> list[str]:
    draws = np.array([random_score(image_id, candidates.seed) for image_id in candidates.ids])
    return _top(candidates.ids, draws, count)


def _by_score(name: str, candidates: Candidates, count: int) -> list[str]:
    return _top(candidates.ids, candidates.scores[name], count)


def _by_dropout(name: str, candidates: Candidates, count: int) -> list[str]:
    return _top(candidates.ids, candidates.by_dropout[name], count)


def _power(name: str, candidates: Candidates, count: int) -> list[str]:
    """Draw without replacement, each image with a probability in proportion to its score.

    Source:
        A. Kirsch et al., Stochastic batch acquisition, TMLR 2023, arXiv 2106.12059: the highest
        ln s + g with Gumbel noise g.
    """
    scores = candidates.scores[name]
    noise = np.random.default_rng(candidates.seed).gumbel(size=len(scores))
    smallest = np.finfo(np.float64).tiny
    return _top(candidates.ids, np.log(np.maximum(scores, smallest)) + noise, count)


def _per_kind(name: str, candidates: Candidates, count: int) -> list[str]:
    """Take the highest score of each of `count` kinds of image: uncertain, and not alike."""
    kinds = k_means(candidates.looks[0], count, candidates.seed)
    scores = candidates.scores[name]
    best: dict[int, int] = {}
    for place, kind in enumerate(kinds):
        before = best.get(int(kind))
        if before is None or scores[place] > scores[before]:
            best[int(kind)] = place
    chosen = [candidates.ids[place] for place in best.values()]
    left = [i for i in _by_score(name, candidates, count + len(chosen)) if i not in chosen]
    return (chosen + left)[:count]


def _for_its_size(term: str, candidates: Candidates, count: int) -> list[str]:
    """Take the images that are more uncertain than others of the pool with as much foreground.

    Any fixed division by a power of the area asks for one size of the structure; here the pool
    says what is usual: a parabola of ln Σu over ln A.
    """
    total, scaled = (candidates.scores[f"{term}_{how}"] for how in ("mean", "per_sqrt_area"))
    smallest = np.finfo(np.float64).tiny
    heights = np.log(np.maximum(total, smallest))
    areas = 2 * (heights - np.log(np.maximum(scaled, smallest)))
    if len(areas) < _LEAST_FITTED or np.ptp(areas) == 0:
        return _top(candidates.ids, scaled, count)
    usual = np.polyval(np.polyfit(areas, heights, 2), areas)
    return _top(candidates.ids, heights - usual, count)


def _information_gain(candidates: Candidates, count: int) -> list[str]:
    return [pick.id for pick in greedy_batch(candidates.ids, candidates.information, count)]


def _stratified_random(candidates: Candidates, count: int) -> list[str]:
    unknown, known = candidates.looks
    return [p.id for p in stratified(candidates.ids, unknown, count, known, candidates.seed)]


def _coreset(candidates: Candidates, count: int) -> list[str]:
    unknown, known = candidates.looks
    return [pick.id for pick in k_center_greedy(candidates.ids, unknown, count, known)]


def _spread(choose: Callable[..., list[Pick]], candidates: Candidates, count: int) -> list[str]:
    """Take uncertain images far from all labelled ones and from each other."""
    unknown, known = candidates.looks
    scores = candidates.scores["epistemic_per_sqrt_area"]
    return [pick.id for pick in choose(candidates.ids, unknown, count, known, scores)]


def _typiclust(candidates: Candidates, count: int) -> list[str]:
    unknown, known = candidates.looks
    return [p.id for p in typiclust(candidates.ids, unknown, count, known, candidates.seed)]


def _egad(candidates: Candidates, count: int) -> list[str]:
    unknown, known = candidates.looks
    summed = candidates.scores["total_mean"]
    chosen = [pick.id for pick in egad(candidates.ids, summed, unknown, count, known)]
    left = [
        image_id for image_id in _top(candidates.ids, summed, 2 * count) if image_id not in chosen
    ]
    return (chosen + left)[:count]  # its first stage leaves a third, of a small pool too few


STRATEGIES: Mapping[str, Strategy] = {
    "random": _random,
    "stratified_random": _stratified_random,
    "coreset": _coreset,
    "typiclust": _typiclust,
    "entropy": partial(_by_score, "total_per_sqrt_area"),
    "entropy_mean": partial(_by_score, "total_mean"),
    "entropy_patch_max": partial(_by_score, "total_patch_max"),
    "aleatoric": partial(_by_score, "aleatoric_per_sqrt_area"),
    "epistemic": partial(_by_score, "epistemic_per_sqrt_area"),
    "epistemic_mean": partial(_by_score, "epistemic_mean"),
    "epistemic_patch_max": partial(_by_score, "epistemic_patch_max"),
    "epistemic_power": partial(_power, "epistemic_per_sqrt_area"),
    "epistemic_per_kind": partial(_per_kind, "epistemic_per_sqrt_area"),
    "epistemic_spread": partial(_spread, uncertain_spread),
    "epistemic_spread_linear": partial(_spread, k_center_greedy),
    "entropy_per_kind": partial(_per_kind, "total_per_sqrt_area"),
    "epistemic_for_its_size": partial(_for_its_size, "epistemic"),
    "entropy_for_its_size": partial(_for_its_size, "total"),
    "information_gain": _information_gain,
    "soft_dice_loss": partial(_by_score, "soft_dice_loss"),
    "egad": _egad,
    "bald_dropout": partial(_by_dropout, "bald"),
    "monai_entropy": partial(_by_dropout, "monai_entropy"),
    "monai_variance": partial(_by_dropout, "monai_variance"),
}
"""Name → strategy. A score without another word is per √area; method.md §7."""
