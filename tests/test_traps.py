"""Mistakes seen in other code for uncertainty in segmentation; each test fails on its mistake."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lfusion.acquisition import rank
from lfusion.checkpoint import Checkpoint
from lfusion.errors import DropoutError, NonFiniteError, PosteriorError
from lfusion.image import Dataset
from lfusion.model.distribution import LogitDistribution
from lfusion.predictor import Predictor
from lfusion.uncertainty import (
    FullCurvature,
    LastLayerLaplace,
    decompose,
    decompose_monte_carlo,
    sample_weights,
)

_SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"


def _logits(foreground: float) -> Tensor:
    """One pixel of two classes with this probability of foreground."""
    return torch.tensor([0.0, math.log(foreground / (1 - foreground))]).view(1, 2, 1, 1)


def _variance(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1, 1), value)


@pytest.mark.parametrize("foreground", [0.01, 0.3, 0.5, 0.9])
def test_the_entropy_counts_both_classes(foreground: float) -> None:
    """−p ln p of one sigmoid channel has its maximum at 1/e and is not symmetric."""
    both = -sum(p * math.log(p) for p in (foreground, 1 - foreground))
    terms = decompose(_logits(foreground), _variance(0.0), _variance(0.0))
    assert float(terms.predictive_entropy) == pytest.approx(both, rel=1e-5)


def test_softmax_is_applied_once() -> None:
    """Twice it would make 0.9 of it 0.69, and not at all no distribution."""
    terms = decompose(_logits(0.9), _variance(0.0), _variance(0.0))
    assert terms.probabilities.flatten().tolist() == pytest.approx([0.1, 0.9])


def test_epistemic_is_not_the_entropy_of_the_mean() -> None:
    """A model that is sure of an ambiguous pixel has nothing to learn about it."""
    terms = decompose(_logits(0.5), _variance(0.0), _variance(1.0))
    assert float(terms.mutual_information) == 0.0
    assert float(terms.predictive_entropy) == pytest.approx(math.log(2), rel=1e-3)


def test_sampling_leaves_the_module_as_it_was(tiny_checkpoint: Path) -> None:
    """Weights drawn into the live module and never put back make every later mask a sample."""
    predictor = Predictor(Checkpoint.load(tiny_checkpoint), "cpu")
    network = predictor.checkpoint.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    features = torch.randn(1, network.config.feature_dim, 6, 6)
    with torch.inference_mode():
        sample_weights(predictor.checkpoint.posterior, 3)
        decompose_monte_carlo(
            features,
            network.head(features, torch.ones(1, 1, 6, 6)),
            predictor.checkpoint.posterior,
            theta_samples=4,
            eta_samples=2,
        )
        predictor(torch.rand(40, 60).numpy(), dropout_passes=2)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert modes == [module.training for module in network.modules()]


def test_a_covariance_that_fails_is_told_and_not_dropped(tiny_checkpoint: Path) -> None:
    """A bare except that goes on with the mean shows certainty where there is none."""
    posterior = Checkpoint.load(tiny_checkpoint).posterior
    indefinite = LastLayerLaplace(
        posterior.weight,
        FullCurvature(-1e6 * torch.eye(posterior.weight.numel(), dtype=torch.float64)),
    )
    with pytest.raises(PosteriorError, match="not positive definite"):
        _ = indefinite.covariance
    broken = Checkpoint.load(tiny_checkpoint)
    with torch.no_grad():
        assert broken.network.head.mean.bias is not None
        broken.network.head.mean.bias.fill_(math.nan)
    with pytest.raises(NonFiniteError):
        Predictor(broken, "cpu").moments(Dataset.read(_SAMPLE).cases[0].read())


def test_dropout_of_a_model_trained_without_is_refused(tiny_checkpoint: Path) -> None:
    """Its features have never seen a mask, so their spread under one means nothing."""
    checkpoint = Checkpoint.load(tiny_checkpoint)
    config = replace(checkpoint.network.config, dropout=0.0)
    checkpoint.network.config = config
    with pytest.raises(DropoutError):
        Predictor(checkpoint, "cpu", dropout_passes=4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_no_zero(value: float) -> None:
    """As 0 the image would never be offered, as 10000 always."""
    with pytest.raises(NonFiniteError, match="scan 7"):
        rank({"scan 1": 0.3, "scan 7": value})


def test_the_first_of_the_ranking_are_the_top_k_whatever_came_first() -> None:
    scores = {f"scan {number}": (number * 7) % 5 / 5 for number in range(20)}
    ranking = [image.id for image in rank(scores)]
    assert {scores[name] for name in ranking[:4]} == {0.8}
    assert ranking == [image.id for image in rank(dict(reversed(scores.items())))]


def test_no_examination_is_in_two_splits(shared_data: Path) -> None:
    """Drawn image by image, the test set of HC18 would hold examinations that were trained on."""
    dataset = Dataset.read(shared_data / "hc18")
    groups = {name: {case.group for case in dataset.split(name)} for name in dataset.splits}
    assert all(None not in own for own in groups.values())
    names = sorted(groups)
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            assert not groups[name] & groups[other]


def test_the_spread_of_an_ssn_needs_no_fallback() -> None:
    """A low-rank factor without spread is a distribution, not a failure."""
    still = LogitDistribution(
        mean=torch.zeros(1, 2, 3, 3),
        scale=torch.zeros(1, 2, 3, 3),
        factor=torch.zeros(1, 2, 1, 3, 3),
    )
    assert torch.equal(still.sample(2, torch.Generator()), torch.zeros(2, 1, 2, 3, 3))
