"""What is not to be trained stands still, and lower precision stays inside the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lfusion.image import Dataset
from lfusion.model import EncoderConfig, NetworkConfig, SegmentationNetwork
from lfusion.model.input import InputSpec
from lfusion.training import TrainingConfig, TrainingProgress
from lfusion.training.config import Precision, Trained
from lfusion.training.data import Sample, load_samples
from lfusion.training.fit import fit_network
from lfusion.training.optimizer import optimizer_of
from lfusion.training.precision import reduced_precision

CONFIG = TrainingConfig(steps=3, batch_size=2, learning_rate=1e-2, ssn_samples=4, average_decay=0.5)


@pytest.fixture(scope="module")
def samples(heads: Path) -> list[Sample]:
    return load_samples(Dataset.read(heads).split("test"), InputSpec(64), stride=2, classes=2)


def _network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(NetworkConfig(EncoderConfig("tiny"), feature_dim=8, rank=2))


def _moved(samples: list[Sample], trained: Trained) -> set[str]:
    network = fit_network(_network(), samples, replace(CONFIG, steps=1))  # norms are centred now
    before = {k: v.clone() for k, v in network.named_parameters()}
    fit_network(network, samples, replace(CONFIG, trained=trained))
    assert all(p.requires_grad for p in network.parameters())
    return {k for k, v in network.named_parameters() if not torch.equal(v, before[k])}


def test_only_what_is_trained_moves(samples: list[Sample]) -> None:
    names = {k for k, _ in _network().named_parameters()}
    assert _moved(samples, "all") == names
    decoder = {k for k in names if k.startswith(("decoder.", "head."))}
    assert _moved(samples, "decoder") == decoder
    assert _moved(samples, "last_block") == {
        k for k in decoder if not k.startswith("decoder.blocks.0")
    }


def test_any_number_of_steps_has_a_schedule() -> None:
    for steps in range(1, 31):
        optimizer, schedule = optimizer_of(_network(), replace(CONFIG, steps=steps))
        for _ in range(steps - 1):
            optimizer.step()
            schedule.step()
        rates = [group["lr"] for group in optimizer.param_groups]
        assert all(0 < rate <= CONFIG.learning_rate * 1.001 for rate in rates), steps


def test_adapters_are_for_an_encoder_that_is_trained() -> None:
    with pytest.raises(ValueError, match="expected trained='all' beside adapters of rank 4"):
        TrainingConfig(trained="decoder", lora_rank=4)


def test_lower_precision_learns_the_same_and_leaves_float32_weights(samples: list[Sample]) -> None:
    losses: dict[str, float] = {}
    choices: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in choices:
        config = replace(CONFIG, steps=40, precision=precision)
        seen: list[TrainingProgress] = []
        network = fit_network(_network(), samples, config, on_progress=seen.append)
        assert seen[0].loss is not None
        assert seen[-1].loss is not None
        assert seen[-1].loss < 0.8 * seen[0].loss
        losses[precision] = seen[-1].loss
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]


def test_strided_depthwise_convolutions_keep_their_precision() -> None:
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(4, 4, 3, groups=4, stride=2), torch.nn.Conv2d(4, 4, 3, groups=4)
    )
    x = torch.rand(1, 4, 9, 9)
    with reduced_precision(layers, "bfloat16"):
        inside = layers[0](x)
        assert (inside.dtype, layers(x).dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(inside, layers[0](x))
    assert layers(x).dtype == torch.float32


def test_a_failure_in_lower_precision_leaves_the_network_as_it_was() -> None:
    layer = torch.nn.Conv2d(4, 4, 3, groups=4, stride=2)
    with pytest.raises(RuntimeError), reduced_precision(layer, "bfloat16"):
        layer(torch.rand(1, 3, 9, 9))
    assert "forward" not in vars(layer)
