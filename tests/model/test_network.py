from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.model import EncoderConfig, LogitDistribution, NetworkConfig, SegmentationNetwork
from lfusion.model.input import InputSpec, resample
from lfusion.uncertainty.gauge import contrast_basis

TINY = NetworkConfig(EncoderConfig("tiny"), classes=3, feature_dim=8, rank=2)


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(TINY).eval()


@given(st.integers(1, 70), st.integers(1, 70))
@settings(max_examples=20, deadline=None)
def test_a_size_that_does_not_divide_is_padded_and_cut_back(height: int, width: int) -> None:
    network = SegmentationNetwork(TINY).eval()
    with torch.inference_mode():
        features = network.features(torch.rand(1, 1, height, width))
    assert features.shape == (1, 8, -(-height // 2), -(-width // 2))


def test_a_batch_equals_its_elements(network: SegmentationNetwork) -> None:
    images, sector = torch.rand(3, 1, 32, 40), torch.ones(3, 1, 16, 20)
    with torch.inference_mode():
        together = network(images, sector).mean
        alone = torch.cat([network(images[i : i + 1], sector[:1]).mean for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_there_is_no_covariance_outside_the_sector(network: SegmentationNetwork) -> None:
    sector = torch.ones(1, 1, 16, 16)
    sector[..., :8] = 0
    with torch.inference_mode():
        distribution = network(torch.rand(1, 1, 32, 32), sector)
    covariance = distribution.contrast_covariance(contrast_basis(3, torch.zeros(())))
    assert (covariance[..., :8] == 0).all()
    assert (covariance.diagonal(dim1=1, dim2=2)[:, :, 8:] > 0).all()


def test_one_class_is_no_segmentation() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        SegmentationNetwork(NetworkConfig(EncoderConfig("tiny"), classes=1))


def test_the_config_survives_a_round_trip() -> None:
    config = NetworkConfig(
        EncoderConfig("timm:resnet18", {"pad_type": "same"}, (0.1, 0.2, 0.3)), 4, 16, 5, 0.2
    )
    assert NetworkConfig.from_dict(config.as_dict()) == config


def test_antithetic_samples_have_exactly_the_mean_and_nearly_the_covariance() -> None:
    chance = torch.Generator().manual_seed(0)
    distribution = LogitDistribution(
        torch.randn(1, 2, 2, 3, generator=chance),
        torch.rand(1, 2, 2, 3, generator=chance),
        torch.randn(1, 2, 4, 2, 3, generator=chance),
    )
    samples = distribution.sample(40_000, chance)
    torch.testing.assert_close(samples.mean(0), distribution.mean, rtol=0, atol=1e-3)
    basis = contrast_basis(2, distribution.mean)
    contrast = torch.einsum("sbchw,ck->sbkhw", samples, basis)[:, 0, 0]
    exact = distribution.contrast_covariance(basis)[0, 0, 0]
    torch.testing.assert_close(contrast.var(0), exact, rtol=0.05, atol=0.01)


def test_samples_are_coherent_over_the_image() -> None:
    """One factor for all pixels: a draw moves all of them together."""
    distribution = LogitDistribution(
        torch.zeros(1, 2, 1, 5), torch.zeros(1, 2, 1, 5), torch.ones(1, 2, 1, 1, 5)
    )
    samples = distribution.sample(10, torch.Generator().manual_seed(0))
    assert (samples == samples[..., :1]).all()


@pytest.mark.parametrize("n", [0, 3, -2])
def test_antithetic_samples_come_in_pairs(n: int) -> None:
    distribution = LogitDistribution(*(torch.zeros(1, 2, 1, 1),) * 2, torch.zeros(1, 2, 1, 1, 1))
    with pytest.raises(ValueError, match="even number of samples"):
        distribution.sample(n)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([1, 2, 4]))
def test_the_working_grid_divides_and_keeps_the_shape(height: int, width: int, stride: int) -> None:
    rows, columns = InputSpec(320).working_size(height, width, stride)
    assert rows % stride == columns % stride == 0
    assert max(rows, columns) == 320
    scale = 320 / max(height, width)
    assert abs(rows - height * scale) <= stride
    assert abs(columns - width * scale) <= stride


def test_resampling_keeps_the_place_of_an_edge() -> None:
    """There and back: the half-way crossing of a step stays where it was."""
    step = torch.zeros(1, 1, 8, 60)
    step[..., 20:] = 1
    back = resample(resample(step, (4, 30)), (8, 60))[0, 0, 4]
    crossing = int((back > 0.5).nonzero()[0])
    assert crossing == 20
