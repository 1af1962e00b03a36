"""Kept features are those of the encoder, and a folder of them may be spoilt at any time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lfusion.image import Dataset
from lfusion.model import EncoderConfig, NetworkConfig, SegmentationNetwork
from lfusion.model.input import InputSpec
from lfusion.training import TrainingConfig
from lfusion.training.cached_features import VIEWS, FeatureCache, repeated_views
from lfusion.training.data import Sample, load_samples
from lfusion.training.fit import fit_network

CONFIG = TrainingConfig(steps=4, batch_size=2, ssn_samples=4, trained="decoder")


def _network() -> SegmentationNetwork:
    torch.manual_seed(0)
    kind = NetworkConfig(EncoderConfig("tiny"), feature_dim=8, rank=2)
    return SegmentationNetwork(kind).eval()


@pytest.fixture(scope="module")
def samples(heads: Path) -> list[Sample]:
    return load_samples(Dataset.read(heads).split("test"), InputSpec(64), stride=2, classes=2)


def test_what_is_kept_is_what_the_encoder_says(tmp_path: Path) -> None:
    network, images = _network(), torch.rand(3, 1, 48, 64)
    cache = FeatureCache(tmp_path, network, "float32")
    expected = network.encode(images)
    cache.encode(network, images[:2])
    assert len(list(tmp_path.iterdir())) == 2
    for _ in range(2):  # two of three are kept, then all
        for own, level in zip(cache.encode(network, images), expected, strict=True):
            torch.testing.assert_close(own, level)
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 3

    kept[0].write_bytes(b"half a file")
    again = FeatureCache(tmp_path, network, "float32")
    torch.testing.assert_close(again.encode(network, images)[0], expected[0])
    with torch.no_grad():
        next(network.encoder.parameters()).add_(1)
    other = FeatureCache(tmp_path, network, "float32")
    torch.testing.assert_close(other.encode(network, images), list(network.encode(images)))
    assert len(list(tmp_path.iterdir())) == 6


def test_a_folder_that_goes_away_costs_time_and_nothing_else(tmp_path: Path) -> None:
    network, image = _network(), torch.rand(1, 1, 48, 64)
    cache = FeatureCache(tmp_path / "kept", network, "float32")
    (tmp_path / "kept").rmdir()
    torch.testing.assert_close(cache.encode(network, image), list(network.encode(image)))


def test_encoders_that_scale_grey_values_otherwise_share_nothing(tmp_path: Path) -> None:
    network, image = _network(), torch.rand(1, 1, 48, 64)
    dark = SegmentationNetwork(
        replace(network.config, encoder=replace(network.config.encoder, mean=(0.9,) * 3))
    ).eval()
    dark.load_state_dict(network.state_dict())
    for own in (network, dark):
        cache = FeatureCache(tmp_path, own, "float32")
        torch.testing.assert_close(cache.encode(own, image), list(own.encode(image)))
    assert len(list(tmp_path.iterdir())) == 2


def test_earlier_trainings_leave_no_more_than_the_limit(tmp_path: Path) -> None:
    network = _network()
    cache = FeatureCache(tmp_path, network, "float32")
    for number in range(4):
        cache.encode(network, torch.full((1, 1, 32, 32), number / 4))
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    latest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    FeatureCache(tmp_path, network, "float32", limit_bytes=size // 2)
    left = list(tmp_path.iterdir())
    assert len(left) == 2
    assert latest in left


def test_an_image_has_the_same_few_views_in_every_training(samples: list[Sample]) -> None:
    seen: set[bytes] = set()
    for seed in range(2):
        chance = torch.Generator().manual_seed(seed)
        views = [repeated_views(samples[:1], (64, 64), chance)[0] for _ in range(12 * VIEWS)]
        seen |= {view.numpy().tobytes() for view in views}
    assert len(seen) == VIEWS


def test_a_training_from_kept_features_is_the_same_one(
    samples: list[Sample], tmp_path: Path
) -> None:
    fit_network(network := _network(), samples, replace(CONFIG, trained="all", steps=1))
    states = []
    for _ in range(2):
        copied = _network()
        copied.load_state_dict(network.state_dict())
        cache = FeatureCache(tmp_path, copied, "float32")
        states.append(fit_network(copied, samples, CONFIG, features=cache).state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, msg=name)
    assert not torch.equal(states[0]["head.mean.weight"], network.state_dict()["head.mean.weight"])
