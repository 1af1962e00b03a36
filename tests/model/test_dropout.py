from __future__ import annotations

import pytest
import torch
from torch import nn

from lfusion.model import EncoderConfig, NetworkConfig, SegmentationNetwork
from lfusion.model.dropout import ChannelDropout

RATE = 0.3
GRID = (16, 20)


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    config = NetworkConfig(EncoderConfig("tiny"), feature_dim=8, rank=2, dropout=RATE)
    return SegmentationNetwork(config).eval()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(1, 1, 32, 40, generator=torch.Generator().manual_seed(1))


def _source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_whole_channels_are_dropped_at_the_rate_and_the_others_scaled() -> None:
    values = ChannelDropout(RATE, _source())(torch.ones(40, 50, 2, 3))
    kept = values[values != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - RATE)))
    assert (values == values[..., :1, :1]).all()
    assert float((values == 0).float().mean()) == pytest.approx(RATE, abs=0.03)


def test_a_pass_repeats_with_its_generator_and_the_next_one_differs(
    network: SegmentationNetwork, image: torch.Tensor
) -> None:
    with torch.inference_mode():
        pyramid = network.encode(image)
        again, source = _source(), _source()
        first = network.dropout_features(pyramid, GRID, source)
        second = network.dropout_features(pyramid, GRID, source)
        assert torch.equal(first, network.dropout_features(pyramid, GRID, again))
    assert not torch.equal(first, second)


def test_passes_are_those_of_the_network_in_training(
    network: SegmentationNetwork, image: torch.Tensor
) -> None:
    """Mean and spread of φ as `train()` gives them: same places, same rate, same scale."""
    torch.manual_seed(5)
    passes = 1500
    with torch.inference_mode():
        pyramid, source = network.encode(image), _source()
        ours = torch.cat([network.dropout_features(pyramid, GRID, source) for _ in range(passes)])
        decoder = SegmentationNetwork(network.config).train()
        decoder.load_state_dict(network.state_dict())
        theirs = torch.cat([decoder.head.dropout(decoder.decoder(pyramid)) for _ in range(passes)])
    assert ours.shape == theirs.shape
    error = theirs.std(0) / passes**0.5
    assert ((ours.mean(0) - theirs.mean(0)).abs() <= 6 * error + 1e-3).all()
    torch.testing.assert_close(ours.std(0).mean(), theirs.std(0).mean(), rtol=0.05, atol=0)


def test_neither_the_module_nor_the_global_random_state_changes(
    network: SegmentationNetwork, image: torch.Tensor
) -> None:
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    state = torch.get_rng_state()
    with torch.inference_mode():
        network.dropout_features(network.encode(image), GRID, _source())
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_the_size_is_that_of_the_plain_features(network: SegmentationNetwork) -> None:
    image = torch.rand(1, 1, 37, 53)
    with torch.inference_mode():
        plain = network.features(image)
        dropped = network.dropout_features(network.encode(image), network.grid(image), _source())
    assert dropped.shape == plain.shape


def test_training_still_drops_by_the_mode(image: torch.Tensor) -> None:
    network = SegmentationNetwork(NetworkConfig(EncoderConfig("tiny"), feature_dim=8, rank=2))
    assert isinstance(network.decoder.dropout, nn.Dropout2d)
    torch.manual_seed(3)
    with torch.inference_mode():
        first, second = network.train().features(image), network.features(image)
    assert not torch.equal(first, second)
