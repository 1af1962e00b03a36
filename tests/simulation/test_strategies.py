"""What strategies choose, through a trained model."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lfusion.simulation import STRATEGIES, Simulation, first_labels
from lfusion.simulation.candidates import Candidates


@pytest.fixture(scope="module")
def model(simulation: Callable[[], Simulation]) -> Callable[[int], Candidates]:
    """Candidates of the pool after three labels, drawn with a seed."""
    played = simulation()
    labelled = first_labels(played.pool, 3, 0)
    samples = [image.sample for image in played.pool if image.id in labelled]
    checkpoint = played.learner(0).learn(samples, 0)
    return lambda seed: Candidates(played.pool, labelled, checkpoint, seed)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_chooses_unlabelled_images_and_the_same_ones_again(
    name: str, model: Callable[[int], Candidates]
) -> None:
    candidates = model(5)
    chosen = STRATEGIES[name](candidates, 3)
    assert len(set(chosen)) == 3
    assert set(chosen) <= set(candidates.ids)
    assert STRATEGIES[name](model(5), 3) == chosen


def test_a_score_chooses_its_highest(model: Callable[[int], Candidates]) -> None:
    candidates = model(0)
    scores = candidates.scores["total_per_sqrt_area"]
    best = [candidates.ids[place] for place in np.argsort(-scores)[:2]]
    assert STRATEGIES["entropy"](candidates, 2) == best


def test_draws_follow_the_seed(model: Callable[[int], Candidates]) -> None:
    first = {tuple(STRATEGIES["random"](model(seed), 2)) for seed in range(6)}
    assert len(first) > 1
    noised = {tuple(STRATEGIES["epistemic_power"](model(seed), 2)) for seed in range(6)}
    assert len(noised) > 1


def test_monai_labels_scores_are_those_of_its_own_code(
    model: Callable[[int], Candidates], monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring = pytest.importorskip("monailabel.tasks.scoring.epistemic_v2").EpistemicScoring
    theirs = scoring(SimpleNamespace(dimension=2, description=""), simulation_size=5)
    passes = []
    softmax = torch.Tensor.softmax

    def recorded(logits: torch.Tensor, dim: int) -> torch.Tensor:
        found = softmax(logits, dim)
        if dim == 0:
            passes.append(found)
        return found

    monkeypatch.setattr(torch.Tensor, "softmax", recorded)
    own = model(0).by_dropout
    stack = torch.stack(passes[:5])  # [passes, classes, rows, columns] of the first candidate
    entropy = float(np.nanmean(theirs.entropy_volume(stack.clone())))
    variance = float(np.nanmean(theirs.variance_volume(stack.clone())))
    assert own["monai_entropy"][0] == pytest.approx(entropy, rel=1e-3)
    assert own["monai_variance"][0] == pytest.approx(variance, rel=1e-2, abs=1e-6)
    assert (own["bald"] >= 0).all()
