"""Plain vision transformers become pyramids of true strides, whatever their patch and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from lfusion.errors import EncoderError
from lfusion.model import (
    EncoderConfig,
    NetworkConfig,
    SegmentationNetwork,
    build_encoder,
    load_encoder_weights,
)
from lfusion.model.encoders.transformers import resample_bias

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 4, "num_heads": 3}
DINO_V2 = "vit_small_patch14_dinov2"
CLIP = "vit_base_patch16_clip_224"
NAMES = [
    DINO_V2,
    "vit_small_patch16_dinov3",
    CLIP,
    "vit_base_patch8_224",
    "vit_base_patch32_224",
    "deit_tiny_patch16_224",
    "beit_base_patch16_224",
]


def randomise(module: nn.Module) -> None:
    """Give every parameter its own value, also those that a new model starts at 0 or 1."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize("name", NAMES)
def test_any_plain_transformer_has_strides_of_4_to_32(name: str) -> None:
    encoder = build_encoder(EncoderConfig(f"timm:{name}", SMALL)).eval()
    assert encoder.reductions == (4, 8, 16, 32)
    with torch.inference_mode():
        maps = encoder(torch.rand(2, 1, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(encoder.channels, encoder.reductions, strict=True)
    ]


def test_a_network_takes_any_size_with_a_patch_of_14() -> None:
    config = NetworkConfig(EncoderConfig(f"timm:{DINO_V2}", SMALL), feature_dim=8, rank=2)
    network = SegmentationNetwork(config).eval()
    with torch.inference_mode():
        assert network.features(torch.rand(1, 1, 45, 70)).shape == (1, 8, 12, 18)


def test_a_size_off_the_strides_is_refused_with_the_padding_to_use() -> None:
    encoder = build_encoder(EncoderConfig(f"timm:{CLIP}", SMALL))
    with pytest.raises(ValueError, match="got 40 x 64; pad by 24 and 0"):
        encoder(torch.rand(1, 1, 40, 64))


def test_a_level_sees_only_the_blocks_up_to_its_own() -> None:
    encoder = build_encoder(EncoderConfig(f"timm:{CLIP}", {**SMALL, "depth": 8})).eval()
    image = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        before = encoder(image)
        cast("Any", encoder.body).vit.blocks[4].mlp.fc2.bias.add_(torch.randn(48))
        after = encoder(image)
    unchanged = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert unchanged == [True, True, False, False]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", [DINO_V2, "vit_small_patch16_dinov3", "beit_base_patch16_224"])
def test_weights_of_a_whole_classifier_give_its_tokens(
    tmp_path: Path, name: str, suffix: str
) -> None:
    torch.manual_seed(0)
    model: Any = timm.create_model(name, img_size=64 if "16" in name else 56, **SMALL).eval()
    randomise(model)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save({"model": model.state_dict(), "epoch": 3}, path)
    size = model.patch_embed.img_size
    options = {**SMALL, "img_size": size}
    encoder = build_encoder(EncoderConfig(f"timm:{name}", options)).eval()
    neck = {k: v.clone() for k, v in encoder.state_dict().items() if ".levels." in k}
    load_encoder_weights(encoder, path)
    image = torch.rand(2, 3, *size)
    with torch.inference_mode():
        expected = model.forward_intermediates(image, [0, 1, 2, 3], intermediates_only=True)
        for ours, theirs in zip(encoder.body(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert neck
    assert all(torch.equal(encoder.state_dict()[k], v) for k, v in neck.items())


def test_a_position_embedding_of_another_size_is_resampled(tmp_path: Path) -> None:
    model: Any = timm.create_model(CLIP, img_size=128, **SMALL)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    encoder = build_encoder(EncoderConfig(f"timm:{CLIP}", SMALL))
    load_encoder_weights(encoder, tmp_path / "weights.safetensors")
    loaded = cast("Any", encoder.body).vit.pos_embed
    assert loaded.shape == (1, 14 * 14 + 1, 48)
    torch.testing.assert_close(loaded[:, 0], model.pos_embed[:, 0])


def test_a_transformer_of_another_width_is_refused(tmp_path: Path) -> None:
    model = timm.create_model(CLIP, **{**SMALL, "embed_dim": 36})
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(EncoderError, match=r"expected .* of shape \(.*48.*\), found \(.*36.*\)"):
        load_encoder_weights(
            build_encoder(EncoderConfig(f"timm:{CLIP}", SMALL)), tmp_path / "weights.safetensors"
        )


def test_a_model_of_one_stride_that_is_no_plain_transformer_is_refused() -> None:
    with pytest.raises(EncoderError, match="has stride 16 only"):
        build_encoder(EncoderConfig("timm:xcit_nano_12_p16_224"))


sides = st.integers(1, 6)


class TestResampleBias:
    @settings(max_examples=25, deadline=None)
    @given(window=st.tuples(sides, sides), grid=st.tuples(sides, sides))
    def test_a_constant_stays_and_so_does_the_class_token(
        self, window: tuple[int, int], grid: tuple[int, int]
    ) -> None:
        rows = (2 * window[0] - 1) * (2 * window[1] - 1)
        table = torch.cat((torch.full((rows, 2), 0.7), torch.rand(3, 2)))
        resampled = resample_bias(table, window, grid)
        assert resampled.shape == ((2 * grid[0] - 1) * (2 * grid[1] - 1) + 3, 2)
        torch.testing.assert_close(resampled[:-3], torch.full_like(resampled[:-3], 0.7))
        assert torch.equal(resampled[-3:], table[-3:])

    def test_the_same_grid_is_the_same_table(self) -> None:
        table = torch.rand(5 * 7 + 3, 2)
        assert resample_bias(table, (3, 4), (3, 4)) is table

    def test_the_bias_of_no_offset_stays_in_the_middle(self) -> None:
        # a table that is symmetric about no offset stays symmetric
        half = torch.tensor([0.0, 1.0, 4.0])
        column = torch.cat((half, half.flip(0)[1:]))
        table = torch.cat((column[:, None], torch.zeros(3, 1)))  # window (3, 1)
        resampled = resample_bias(table, (3, 1), (5, 1))[:-3, 0]
        torch.testing.assert_close(resampled, resampled.flip(0))
        assert int(resampled.argmax()) == 4
