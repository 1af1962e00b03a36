"""A model for other structures: what it knew stays, what is new is empty until it is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lfusion.checkpoint import Checkpoint, with_structures
from lfusion.checkpoint.structures import UNLIKELY
from lfusion.errors import CheckpointError
from lfusion.evaluation.metrics import dice
from lfusion.image import Dataset
from lfusion.predictor import Predictor
from lfusion.training import TrainingConfig, train


@pytest.fixture(scope="module")
def start(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def grown(start: Checkpoint) -> Checkpoint:
    """The head first, then a new structure."""
    return with_structures(start, {"fetal head": 1, "symphysis": 2})


def test_the_same_structures_are_the_same_model(start: Checkpoint) -> None:
    assert with_structures(start, {"fetal head": 1}) is start


def test_old_structures_keep_their_mask(start: Checkpoint, grown: Checkpoint, heads: Path) -> None:
    case = Dataset.read(heads).split("test").cases[0]
    before, after = (Predictor(model, "cpu")(case.read()) for model in (start, grown))
    assert (before.mask != after.mask).mean() < 0.002
    assert not (after.mask == 2).any()
    assert after.probabilities[2].max() < 0.5


def test_old_structures_keep_weights_and_posterior_wherever_their_number_goes(
    start: Checkpoint,
) -> None:
    moved = with_structures(start, {"symphysis": 1, "fetal head": 2})
    before, after = start.network.head, moved.network.head
    for old, new in ((0, 0), (1, 2)):
        torch.testing.assert_close(after.mean.weight[new], before.mean.weight[old])
        rank = before.rank
        torch.testing.assert_close(
            after.factor.weight[new * rank : (new + 1) * rank],
            before.factor.weight[old * rank : (old + 1) * rank],
        )
    assert before.mean.bias is not None
    assert after.mean.bias is not None
    assert float(after.mean.bias[1] - before.mean.bias[0]) == pytest.approx(-UNLIKELY, abs=0.01)
    dim = start.posterior.weight.shape[1]
    ggn = moved.posterior.ggn.reshape(3, dim, 3, dim)
    torch.testing.assert_close(
        ggn[[0, 2]][:, :, [0, 2]].reshape(2 * dim, 2 * dim), start.posterior.ggn
    )
    assert not ggn[1].any()
    assert not ggn[:, :, 1].any()


def test_a_model_of_other_structures_alone_draws_nothing(start: Checkpoint, heads: Path) -> None:
    empty = with_structures(start, {"symphysis": 1, "pelvis": 2})
    found = Predictor(empty, "cpu")(Dataset.read(heads).cases[0].read())
    assert not found.mask.any()
    assert empty.unlearned == ("symphysis", "pelvis")
    assert found.percentiles == {}


def test_what_is_unlearned_is_in_the_file(grown: Checkpoint, tmp_path: Path) -> None:
    grown.save(tmp_path / "grown.safetensors")
    loaded = Checkpoint.load(tmp_path / "grown.safetensors")
    assert loaded.unlearned == ("symphysis",)
    assert loaded.id == grown.id
    torch.testing.assert_close(loaded.posterior.weight, grown.posterior.weight)


@pytest.mark.parametrize("labels", [{}, {"head": 2}, {"head": 1, "bone": 1}, {"head": 0}])
def test_numbers_with_gaps_are_refused(start: Checkpoint, labels: dict[str, int]) -> None:
    with pytest.raises(CheckpointError, match="numbered from 1 without gaps"):
        with_structures(start, labels)


def test_a_new_structure_is_learned_from_nothing(start: Checkpoint, heads: Path) -> None:
    data = replace(Dataset.read(heads), labels={"skull": 1})
    config = TrainingConfig(
        steps=60, batch_size=4, learning_rate=1e-2, ssn_samples=4, average_decay=0.9
    )
    empty = with_structures(start, data.labels)
    learned = train(data.split("train"), config, start=empty, device="cpu")
    assert learned.unlearned == ()
    assert "epistemic" in learned.calibration.bands
    case = data.split("test").cases[0]
    assert dice(Predictor(learned, "cpu")(case.read()).mask == 1, case.read_mask() == 1) > 0.85


def test_a_structure_that_no_mask_shows_stays_unlearned(grown: Checkpoint, heads: Path) -> None:
    data = replace(Dataset.read(heads), labels=dict(grown.labels))
    few = replace(data, cases=data.cases[:2])
    ids = {case.id: (2,) for case in few}
    config = replace(TrainingConfig.quick(), steps=2)
    trained = train(few, config, start=grown, not_annotated=ids, device="cpu")
    assert trained.unlearned == ("symphysis",)
    case = few.cases[0]
    assert not np.any(Predictor(trained, "cpu")(case.read()).mask == 2)
