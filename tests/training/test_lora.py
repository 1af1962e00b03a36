"""Low-rank adapters change an encoder's large layers by little and leave plain weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lfusion.checkpoint import Checkpoint
from lfusion.errors import TrainingError
from lfusion.image import Dataset
from lfusion.model import EncoderConfig, NetworkConfig, SegmentationNetwork, build_encoder
from lfusion.model.input import InputSpec
from lfusion.training import TrainingConfig, train
from lfusion.training.data import load_samples
from lfusion.training.fit import fit_network
from lfusion.training.lora import low_rank_adapters

RANK = 2
SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 4, "num_heads": 2}
CONFIG = TrainingConfig(
    encoder=EncoderConfig("timm:vit_tiny_patch16_224", SMALL),
    input=InputSpec(64),
    feature_dim=8,
    rank=2,
    steps=3,
    batch_size=2,
    learning_rate=1e-2,
    ssn_samples=4,
    lora_rank=RANK,
)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "beit_base_patch16_224"]
)
def test_every_attention_layer_moves_by_a_matrix_of_the_rank_and_nothing_else(
    heads: Path, name: str
) -> None:
    encoder = EncoderConfig(f"timm:{name}", SMALL)
    network = SegmentationNetwork(NetworkConfig(encoder, feature_dim=8, rank=2))
    dataset = Dataset.read(heads).split("test")
    samples = load_samples(dataset, CONFIG.input, network.stride, classes=2)
    before = {k: v.clone() for k, v in network.encoder.state_dict().items()}
    fit_network(network, samples, CONFIG)
    after = network.encoder.state_dict()
    assert list(after) == list(before)
    adapted = [k for k in before if k.endswith(("attn.qkv.weight", "attn.proj.weight"))]
    assert len(adapted) == 8
    for key in adapted:
        moved = after[key] - before[key]
        assert moved.abs().max() > 1e-6, key
        assert torch.linalg.matrix_rank(moved.double(), rtol=1e-3) <= RANK, key
    still = [k for k in before if ".tokens." in k and k not in adapted]
    assert all(torch.equal(after[k], before[k]) for k in still)
    assert any(not torch.equal(after[k], before[k]) for k in before if ".levels." in k)
    assert all(p.requires_grad for p in network.parameters())


def test_adapters_do_not_change_what_the_encoder_says() -> None:
    encoder = build_encoder(EncoderConfig("timm:beit_base_patch16_224", SMALL)).eval()
    image = torch.rand(1, 1, 64, 64)

    def maps() -> list[Tensor]:
        with torch.inference_mode():
            out: list[Tensor] = encoder(image)
        return out

    before = maps()
    with low_rank_adapters(encoder, RANK):
        within = maps()
        with torch.no_grad():
            for name, parameter in encoder.named_parameters():
                if "lora_B" in name:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        moved = maps()
    torch.testing.assert_close(within, before)
    torch.testing.assert_close(maps(), moved)  # merging changes nothing either
    assert not torch.allclose(moved[-1], before[-1], rtol=1e-3)


def test_a_checkpoint_of_adapters_is_a_plain_one(heads: Path, tmp_path: Path) -> None:
    dataset = Dataset.read(heads)
    made = train(dataset.split("test"), CONFIG, device="cpu")
    again = train(dataset.split("test"), CONFIG, device="cpu")
    assert made.save(tmp_path / "lora.safetensors") == again.id
    read = Checkpoint.load(tmp_path / "lora.safetensors")
    assert read.fingerprint.config["lora_rank"] == RANK
    assert not any("lora" in key for key in read.network.state_dict())


def test_without_attention_the_pointwise_convolutions_are_adapted(heads: Path) -> None:
    network = SegmentationNetwork(
        NetworkConfig(EncoderConfig("timm:mobilenetv2_035"), feature_dim=8, rank=2)
    )
    samples = load_samples(Dataset.read(heads).split("test"), CONFIG.input, network.stride, 2)
    fit_network(network, samples, replace(CONFIG, steps=1))  # recentres norms without statistics
    before = {k: v.clone() for k, v in network.encoder.state_dict().items()}
    fit_network(network, samples, CONFIG)
    after = network.encoder.state_dict()
    moved = {k: after[k] - before[k] for k in before if not torch.equal(after[k], before[k])}
    assert moved
    for key, change in moved.items():
        assert change.shape[2:] == (1, 1), key
        assert torch.linalg.matrix_rank(change.flatten(1).double(), rtol=1e-3) <= RANK, key


def test_an_encoder_with_nothing_to_adapt_is_refused(heads: Path) -> None:
    config = replace(CONFIG, encoder=EncoderConfig("tiny"))
    with pytest.raises(TrainingError, match="expected an encoder with attention, 1×1 conv"):
        train(Dataset.read(heads).split("test"), config, device="cpu")
